// y = alpha * x + beta between 0 and 1, else the nearer of the two; NaN stays NaN
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_hard_sigmoid{
    .name = "hard_sigmoid",
    .doc = "a straight line between 0 and 1",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes =
        {{.name = "alpha", .kind = AttributeKind::real, .default_value = 0.2, .minimum = -1e9, .doc = "the slope"},
         {.name = "beta", .kind = AttributeKind::real, .default_value = 0.5, .minimum = -1e9, .doc = "the value at 0"}},
    .formula = "y[...] = max(min(alpha*x[...] + beta, 1), 0)",
    .gradient = "dx[...] = select(y[...] > 0 and y[...] < 1, alpha*dy[...], 0)",
};

} // namespace cnnc
