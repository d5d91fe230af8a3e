// y = x * tanh(softplus(x)) = x * p / q, with w = exp(-|x|), which never overflows:
//
//   x < 0     p = w*w + 2*w   q = p + 2
//   else      p = 1 + 2*w     q = p + 2*w*w
//
// Its slope is p/q + x * (1 - (p/q)^2) * sigmoid(x), where 1 - p/q = (q - p)/q has nothing that cancels. Misra, "Mish:
// A Self Regularized Non-Monotonic Activation Function", BMVC 2020.
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_mish{
    .name = "mish",
    .doc = "x * tanh(softplus(x))",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "w[...] = exp(-abs(x[...]))\n"
               "p[...] = select(x[...] < 0, w[...]*w[...] + 2*w[...], 1 + 2*w[...])\n"
               "q[...] = p[...] + select(x[...] < 0, 2, 2*w[...]*w[...])\n"
               "y[...] = x[...] * (p[...] / q[...])",
    .gradient = "w[...] = exp(-abs(x[...]))\n"
                "p[...] = select(x[...] < 0, w[...]*w[...] + 2*w[...], 1 + 2*w[...])\n"
                "r[...] = select(x[...] < 0, 2, 2*w[...]*w[...])\n"
                "t[...] = p[...] / (p[...] + r[...])\n"
                "s[...] = select(x[...] < 0, w[...], 1) / (1 + w[...])\n"
                "dx[...] = dy[...] * (t[...] + x[...] * (r[...] / (p[...] + r[...])) * (1 + t[...]) * s[...])",
};

} // namespace cnnc
