// y = x^(1/2); NaN below 0
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_sqrt{
    .name = "sqrt",
    .doc = "the square root",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = sqrt(x[...])",
};

} // namespace cnnc
