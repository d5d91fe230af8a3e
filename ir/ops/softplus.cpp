// y = log(1 + exp(x)) = max(x, 0) + log(1 + e), e = exp(-|x|)
//
// Where e is small, what 1 + e rounds away is put back: log(1 + e) = log(u) + (e - (u - 1)) / u, u = fl(1 + e).
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_softplus{
    .name = "softplus",
    .doc = "a relu without the bend",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "e[...] = exp(-abs(x[...]))\n"
               "u[...] = 1 + e[...]\n"
               "y[...] = select(x[...] < 0, 0, x[...]) + (log(u[...]) + (e[...] - (u[...] - 1)) / u[...])",
    .gradient = "dx[...] = dy[...] / (1 + exp(-x[...]))",
    .is_monotone = true,
};

} // namespace cnnc
