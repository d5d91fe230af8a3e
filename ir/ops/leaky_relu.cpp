// y = x where x is positive, else slope * x
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_leaky_relu{
    .name = "leaky_relu",
    .doc = "keeps what is positive and a little of what is not",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "slope",
                    .kind = AttributeKind::real,
                    .default_value = 0.01,
                    .doc = "below zero"}}, // at least 0: the sign of y is that of x
    .formula = "y[...] = select(x[...] < 0, slope*x[...], x[...])",
    .gradient = "dx[...] = select(y[...] > 0, dy[...], slope*dy[...])",
    .is_monotone = true,
};

} // namespace cnnc
