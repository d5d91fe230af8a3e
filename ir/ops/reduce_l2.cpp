// y = sqrt(sum of x*x over the axes); its gradient is 0 where y is
#include "ir/reduction.h"

namespace cnnc {

extern const OpDef op_reduce_l2{
    .name = "reduce_l2",
    .doc = "the length over axes: the root of the sum of squares",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = reduction_attributes(),
    .make_formula = reduction("s[{kept}] += x[{all}] * x[{all}]\n"
                              "y[{kept}] = sqrt(s[{kept}])"),
    .make_gradient = reduction("dx[{all}] = select(y[{kept}] == 0, 0, dy[{kept}] * x[{all}] / y[{kept}])"),
};

} // namespace cnnc
