// y = x * hard_sigmoid(x), its slope 1/6 and its value at 0 1/2
//
// Howard et al., "Searching for MobileNetV3", ICCV 2019.
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_hard_swish{
    .name = "hard_swish",
    .doc = "x * hard_sigmoid(x) with slope 1/6",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = x[...] * max(min(x[...]/6 + 0.5, 1), 0)",
    .gradient = "dx[...] = dy[...] * select(x[...] < -3, 0, select(x[...] < 3, x[...]/3 + 0.5, 1))",
};

} // namespace cnnc
