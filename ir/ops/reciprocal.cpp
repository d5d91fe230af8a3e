// y = 1 / x
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_reciprocal{
    .name = "reciprocal",
    .doc = "one over x",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = 1 / x[...]",
    .gradient = "dx[...] = -dy[...] * y[...] * y[...]",
};

} // namespace cnnc
