// y = true where a < b, shapes broadcast as in NumPy; false where one is NaN
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_less{
    .name = "less",
    .doc = "true where a is below b; dimensions of 1 are repeated",
    .inputs = {"a[...]", "b[...]"},
    .outputs = {"y:bool"},
    .formula = "y[...] = a[...] < b[...]",
    .no_gradient = "a truth value has none",
};

} // namespace cnnc
