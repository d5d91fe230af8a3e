// y = x where x is positive, else 0; NaN stays NaN
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_relu{
    .name = "relu",
    .doc = "keeps what is positive",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = select(x[...] < 0, 0, x[...])",
    .gradient = "dx[...] = select(y[...] > 0, dy[...], 0)", // from the output: the input need not be kept
    .is_monotone = true,
};

} // namespace cnnc
