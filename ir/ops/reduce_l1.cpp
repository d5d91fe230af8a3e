// y = sum of |x| over the axes
#include "ir/reduction.h"

namespace cnnc {

extern const OpDef op_reduce_l1{
    .name = "reduce_l1",
    .doc = "the sum of sizes over axes",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = reduction_attributes(),
    .make_formula = reduction("y[{kept}] += abs(x[{all}])"),
};

} // namespace cnnc
