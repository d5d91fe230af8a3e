// y = x^(-1/2)
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_rsqrt{
    .name = "rsqrt",
    .doc = "one over the square root",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = rsqrt(x[...])",
};

} // namespace cnnc
