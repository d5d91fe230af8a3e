// y = log(sum of exp(x) over the axes) = m + log(sum of exp(x - m)), m the largest x, or 0 where that is infinite
#include "ir/reduction.h"

namespace cnnc {

extern const OpDef op_reduce_log_sum_exp{
    .name = "reduce_log_sum_exp",
    .doc = "the logarithm of the sum of exponentials over axes: a soft maximum",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = reduction_attributes(),
    .make_formula = reduction("m[{kept}] max= x[{all}]\n"
                              "f[{kept}] = select(m[{kept}] - m[{kept}] == 0, m[{kept}], 0)\n"
                              "s[{kept}] += exp(x[{all}] - f[{kept}])\n"
                              "y[{kept}] = log(s[{kept}]) + f[{kept}]"),
    .make_gradient = reduction("dx[{all}] = dy[{kept}] * exp(x[{all}] - y[{kept}])"),
};

} // namespace cnnc
