// y = -x
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_neg{
    .name = "neg",
    .doc = "the number with the other sign",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = -x[...]",
};

} // namespace cnnc
