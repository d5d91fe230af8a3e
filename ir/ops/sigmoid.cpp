// y = 1 / (1 + exp(-x))
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_sigmoid{
    .name = "sigmoid",
    .doc = "squeezes numbers between 0 and 1",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = 1 / (1 + exp(-x[...]))",
    .gradient = "dx[...] = dy[...] * y[...] * (1 - y[...])",
    .is_monotone = true,
};

} // namespace cnnc
