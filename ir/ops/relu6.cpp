// y = x between 0 and 6, else the nearer of the two; NaN stays NaN
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_relu6{
    .name = "relu6",
    .doc = "keeps what is positive, up to 6",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = max(min(x[...], 6), 0)",
    .gradient = "dx[...] = select(y[...] > 0 and y[...] < 6, dy[...], 0)",
    .is_monotone = true,
};

} // namespace cnnc
