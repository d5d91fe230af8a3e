// y[n,c] = x[n,c] - m[n] - log(z[n])     m[n]: the largest x[n,c];  z[n]: the sum of exp(x[n,c] - m[n])
#include "ir/softmax_text.h"

namespace cnnc {

extern const OpDef op_log_softmax{
    .name = "log_softmax",
    .doc = "the logarithm of softmax",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = axis_attribute(),
    .make_formula = along_axis("m[{rest}] max= x[{all}]\n"
                               "z[{rest}] += exp(x[{all}] - m[{rest}])\n"
                               "y[{all}] = x[{all}] - m[{rest}] - log(z[{rest}])"),
    .make_gradient = along_axis("s[{rest}] += dy[{all}]\n"
                                "dx[{all}] = dy[{all}] - exp(y[{all}]) * s[{rest}]"),
};

} // namespace cnnc
