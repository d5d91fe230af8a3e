// y = the mean over the axes; of integers rounded towards zero
#include "ir/reduction.h"

namespace cnnc {

extern const OpDef op_reduce_mean{
    .name = "reduce_mean",
    .doc = "the mean over axes",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = reduction_attributes(),
    .make_formula = reduction("s[{kept}] += x[{all}]\n"
                              "y[{kept}] = s[{kept}] / {count}"),
};

} // namespace cnnc
