// y = true where one of them is true, shapes broadcast as in NumPy
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_or{
    .name = "or",
    .doc = "true where one of them is true; dimensions of 1 are repeated",
    .inputs = {"a[...]:bool", "b[...]:bool"},
    .outputs = {"y:bool"},
    .formula = "y[...] = a[...] or b[...]",
    .no_gradient = "a truth value has none",
};

} // namespace cnnc
