// y = true where both are true, shapes broadcast as in NumPy
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_and{
    .name = "and",
    .doc = "true where both are true; dimensions of 1 are repeated",
    .inputs = {"a[...]:bool", "b[...]:bool"},
    .outputs = {"y:bool"},
    .formula = "y[...] = a[...] and b[...]",
    .no_gradient = "a truth value has none",
};

} // namespace cnnc
