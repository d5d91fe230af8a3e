// y = x between 0 and 6, else the nearer of the two; NaN stays NaN
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_relu6{
    .name = "relu6",
    .doc = "keeps what is positive, up to 6",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = select(6 < x[...], 6, select(x[...] < 0, 0, x[...]))",
    .gradient = "dx[...] = select(y[...] > 0 and y[...] < 6, dy[...], 0)",
    .is_monotone = true,
};

} // namespace cnnc
