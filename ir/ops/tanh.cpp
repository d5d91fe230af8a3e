// y = tanh(x)
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_tanh{
    .name = "tanh",
    .doc = "squeezes numbers between -1 and 1",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = tanh(x[...])",
    .gradient = "dx[...] = dy[...] * (1 - y[...]*y[...])",
    .is_monotone = true,
};

} // namespace cnnc
