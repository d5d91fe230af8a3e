// y = a / b, shapes broadcast as in NumPy; integers round towards zero, and by zero give zero
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_div{
    .name = "div",
    .doc = "the quotient of two tensors, integers rounded towards zero; dimensions of 1 are repeated",
    .inputs = {"a[...]", "b[...]"},
    .outputs = {"y"},
    .formula = "y[...] = a[...] / b[...]",
};

} // namespace cnnc
