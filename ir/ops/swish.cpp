// y = x * sigmoid(beta * x), with beta = 1 also called SiLU
//
// Ramachandran, Zoph, Le, "Searching for Activation Functions", 2017.
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_swish{
    .name = "swish",
    .doc = "x * sigmoid(beta*x)",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "beta",
                    .kind = AttributeKind::real,
                    .default_value = 1.0,
                    .minimum = -1e9,
                    .doc = "how steep the sigmoid is"}},
    .formula = "y[...] = x[...] / (1 + exp(-(beta*x[...])))",
    .gradient = "s[...] = 1 / (1 + exp(-(beta*x[...])))\n"
                "dx[...] = dy[...] * (s[...] + beta*x[...] * s[...] * (1 - s[...]))",
};

} // namespace cnnc
