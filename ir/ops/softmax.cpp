// y[n,c] = exp(x[n,c] - m[n]) / z[n]     m[n]: the largest x[n,c], so that nothing overflows;  z[n]: the sum
#include "ir/softmax_text.h"

namespace cnnc {

extern const OpDef op_softmax{
    .name = "softmax",
    .doc = "positive numbers that sum to one along an axis; a final one before the loss cross_entropy is left out in "
           "training, since that takes what softmax reads",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = axis_attribute(),
    .make_formula = along_axis("m[{rest}] max= x[{all}]\n"
                               "e[{all}] = exp(x[{all}] - m[{rest}])\n"
                               "z[{rest}] += e[{all}]\n"
                               "y[{all}] = e[{all}] / z[{rest}]"),
    .make_gradient = along_axis("s[{rest}] += dy[{all}] * y[{all}]\n"
                                "dx[{all}] = y[{all}] * (dy[{all}] - s[{rest}])"),
};

} // namespace cnnc
