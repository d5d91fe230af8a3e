// y = the place of the largest x along an axis, of equal ones the first
#include "ir/reduction.h"

namespace cnnc {

extern const OpDef op_argmax{
    .name = "argmax",
    .doc = "where the largest is along an axis, as an i64",
    .inputs = {"x[...]"},
    .outputs = {"y:i64"},
    .attributes = arg_reduction_attributes(),
    .make_formula = reduction("m[{kept}], y max= x[{all}]"),
    .no_gradient = "a place in a tensor has none",
};

} // namespace cnnc
