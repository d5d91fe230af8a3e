// y = x where x is positive, else alpha * (exp(x/alpha) - 1): its slope has no jump (elu.cpp has the way to exp - 1)
//
// Barron, "Continuously Differentiable Exponential Linear Units", 2017.
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_celu{
    .name = "celu",
    .doc = "keeps what is positive; below zero an exponential that ends at -alpha, without a bend",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "alpha",
                    .kind = AttributeKind::real,
                    .default_value = 1.0,
                    .minimum = 1e-6,
                    .doc = "below zero it ends at -alpha"}},
    .formula = "t[...] = tanh(0.5/alpha*x[...])\n"
               "y[...] = select(x[...] < 0, alpha * (2*t[...]) / (1 - t[...]), x[...])",
    .gradient = "dx[...] = select(x[...] < 0, dy[...] * exp(x[...] / alpha), dy[...])",
    .is_monotone = true,
};

} // namespace cnnc
