// y = the largest x over the axes (of truth values: is one true?); the gradient goes to the first of equals
#include "ir/reduction.h"
#include "ir/shape_text.h"

namespace cnnc {

namespace {

// A truth value is compared as a number.
std::string make_reduce_max(const OpCall& op)
{
  if (op.inputs[0].type->dtype != DType::boolean)
    return reduction_text(op, "y[{kept}] max= x[{all}]");
  return "m: u8[" + extents(reduced_shape(op)) + "]\n" +
         reduction_text(op, "m[{kept}] max= cast(u8, x[{all}])\n"
                            "y[{kept}] = cast(bool, m[{kept}])");
}

} // namespace

extern const OpDef op_reduce_max{
    .name = "reduce_max",
    .doc = "the largest over axes",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = reduction_attributes(),
    .make_formula = make_reduce_max,
};

} // namespace cnnc
