// y = a + b, shapes broadcast as in NumPy
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_add{
    .name = "add",
    .doc = "the sum of two tensors; dimensions of 1 are repeated",
    .inputs = {"a[...]", "b[...]"},
    .outputs = {"y"},
    .formula = "y[...] = a[...] + b[...]",
};

} // namespace cnnc
