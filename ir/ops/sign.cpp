// y = -1, 0 or 1; NaN stays NaN, and so does the sign of a zero
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_sign{
    .name = "sign",
    .doc = "-1, 0 or 1; its slope is zero",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .make_formula =
        [](const OpCall& op) {
          return op.inputs[0].type->dtype == DType::u8
                     ? "y[...] = min(x[...], 1)"
                     : "y[...] = select(x[...] > 0, 1, select(x[...] < 0, -1, x[...]))";
        },
    .gradient = "dx[...] = 0 * dy[...]",
    .is_monotone = true,
};

} // namespace cnnc
