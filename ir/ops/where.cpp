// y = a where the condition is true, else b, shapes broadcast as in NumPy
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_where{
    .name = "where",
    .doc = "the first tensor where a condition is true, else the second one; dimensions of 1 are repeated",
    .inputs = {"condition[...]:bool", "a[...]", "b[...]"},
    .outputs = {"y"},
    .formula = "y[...] = select(condition[...], a[...], b[...])",
    .make_type = [](const OpCall& op) { return op.inputs[1].type->dtype; },
};

} // namespace cnnc
