// y = e^x
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_exp{
    .name = "exp",
    .doc = "e to the power of x",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = exp(x[...])",
    .is_monotone = true,
};

} // namespace cnnc
