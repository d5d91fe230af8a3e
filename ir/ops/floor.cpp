// y = the largest integer that is not above x
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_floor{
    .name = "floor",
    .doc = "rounds down; its slope is zero",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = floor(x[...])",
    .gradient = "dx[...] = 0 * dy[...]",
    .is_monotone = true,
};

} // namespace cnnc
