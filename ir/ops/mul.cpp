// y = a * b, shapes broadcast as in NumPy
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_mul{
    .name = "mul",
    .doc = "the product of two tensors, element by element; dimensions of 1 are repeated",
    .inputs = {"a[...]", "b[...]"},
    .outputs = {"y"},
    .formula = "y[...] = a[...] * b[...]",
};

} // namespace cnnc
