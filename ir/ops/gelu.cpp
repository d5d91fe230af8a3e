// y = x * P(a standard normal number is below x) = x/2 * (1 + erf(x / sqrt(2)))
//   tanh   its approximation x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715*x^3)))
//
// Hendrycks, Gimpel, "Gaussian Error Linear Units", 2016. Both factors are written out: sqrt(1/2) and sqrt(2/pi).
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_gelu{
    .name = "gelu",
    .doc = "x times the part of a normal distribution that lies below x",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "approximate",
                    .kind = AttributeKind::text,
                    .default_value = "none",
                    .doc = "none: by the error function; tanh: nearly that",
                    .choices = {"none", "tanh"}}},
    .make_formula =
        [](const OpCall& op) {
          return op.text("approximate") == "tanh"
                     ? "y[...] = 0.5*x[...] * (1 + tanh(0.79788456080286536*(x[...] + 0.044715*x[...]*x[...]*x[...])))"
                     : "y[...] = 0.5*x[...] * (1 + erf(0.70710678118654752*x[...]))";
        },
};

} // namespace cnnc
