// y = x / (1 + |x|)
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_softsign{
    .name = "softsign",
    .doc = "squeezes numbers between -1 and 1, slowly",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = x[...] / (1 + abs(x[...]))",
    .gradient = "d[...] = 1 + abs(x[...])\n"
                "dx[...] = dy[...] / (d[...] * d[...])",
    .is_monotone = true,
};

} // namespace cnnc
