// y = true where x is false
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_not{
    .name = "not",
    .doc = "true for false and false for true",
    .inputs = {"x[...]:bool"},
    .outputs = {"y:bool"},
    .formula = "y[...] = not x[...]",
    .no_gradient = "a truth value has none",
};

} // namespace cnnc
