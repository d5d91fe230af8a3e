// y = log(sum of x over the axes)
#include "ir/reduction.h"

namespace cnnc {

extern const OpDef op_reduce_log_sum{
    .name = "reduce_log_sum",
    .doc = "the logarithm of the sum over axes",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = reduction_attributes(),
    .make_formula = reduction("s[{kept}] += x[{all}]\n"
                              "y[{kept}] = log(s[{kept}])"),
};

} // namespace cnnc
