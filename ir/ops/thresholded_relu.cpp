// y = x where x is above alpha, else 0
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_thresholded_relu{
    .name = "thresholded_relu",
    .doc = "keeps what is above a threshold",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes =
        {{.name = "alpha", .kind = AttributeKind::real, .default_value = 1.0, .minimum = -1e9, .doc = "the threshold"}},
    .formula = "y[...] = select(x[...] > alpha, x[...], 0)",
    .gradient = "dx[...] = select(x[...] > alpha, dy[...], 0)",
};

} // namespace cnnc
