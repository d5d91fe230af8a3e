// y = sum of x*x over the axes
#include "ir/reduction.h"

namespace cnnc {

extern const OpDef op_reduce_sum_square{
    .name = "reduce_sum_square",
    .doc = "the sum of squares over axes",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = reduction_attributes(),
    .make_formula = reduction("y[{kept}] += x[{all}] * x[{all}]"),
};

} // namespace cnnc
