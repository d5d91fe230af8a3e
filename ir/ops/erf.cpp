// y = 2/sqrt(pi) * integral of exp(-t^2) from 0 to x
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_erf{
    .name = "erf",
    .doc = "the error function of the normal distribution",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = erf(x[...])",
    .is_monotone = true,
};

} // namespace cnnc
