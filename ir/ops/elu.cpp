// y = x where x is positive, else alpha * (exp(x) - 1)
//
// With t = tanh(x/2), exp(x) - 1 = 2*t / (1 - t): nothing cancels where x is near 0, and t is never positive here.
// Clevert, Unterthiner, Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear Units", ICLR 2016.
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_elu{
    .name = "elu",
    .doc = "keeps what is positive; below zero an exponential that ends at -alpha",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "alpha",
                    .kind = AttributeKind::real,
                    .default_value = 1.0,
                    .minimum = -1e9,
                    .doc = "below zero it ends at -alpha"}},
    .formula = "t[...] = tanh(0.5*x[...])\n"
               "y[...] = select(x[...] < 0, alpha * (2*t[...]) / (1 - t[...]), x[...])",
    .gradient = "dx[...] = select(x[...] < 0, dy[...] * alpha * exp(x[...]), dy[...])",
};

} // namespace cnnc
