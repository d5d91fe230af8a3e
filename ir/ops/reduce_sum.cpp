// y = the sum over the axes
#include "ir/reduction.h"

namespace cnnc {

extern const OpDef op_reduce_sum{
    .name = "reduce_sum",
    .doc = "the sum over axes",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = reduction_attributes(),
    .make_formula = reduction("y[{kept}] += x[{all}]"),
};

} // namespace cnnc
