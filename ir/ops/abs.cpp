// y = |x|
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_abs{
    .name = "abs",
    .doc = "the size of a number",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = abs(x[...])",
};

} // namespace cnnc
