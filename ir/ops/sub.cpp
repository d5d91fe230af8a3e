// y = a - b, shapes broadcast as in NumPy
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_sub{
    .name = "sub",
    .doc = "the difference of two tensors; dimensions of 1 are repeated",
    .inputs = {"a[...]", "b[...]"},
    .outputs = {"y"},
    .formula = "y[...] = a[...] - b[...]",
};

} // namespace cnnc
