// y = the smaller one of a and b, NaN where one is NaN, shapes broadcast as in NumPy
//
// Of equal ones a: the gradient goes there.
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_min{
    .name = "min",
    .doc = "the smaller one of two tensors, element by element; dimensions of 1 are repeated",
    .inputs = {"a[...]", "b[...]"},
    .outputs = {"y"},
    .formula = "y[...] = select(a[...] <= b[...] or not a[...] == a[...], a[...], b[...])",
};

} // namespace cnnc
