// y = the mean over the axes; of integers rounded towards zero
//
// The sum of integers is taken in i64: that of few u8 is no u8.
#include "ir/reduction.h"

#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string make_reduce_mean(const OpCall& op)
{
  const DType dtype = op.inputs[0].type->dtype;
  if (is_float(dtype))
    return reduction_text(op, "s[{kept}] += x[{all}]\n"
                              "y[{kept}] = s[{kept}] / {count}");
  return fmt::format("s: i64[{}]\n", extents(reduced_shape(op))) +
         reduction_text(op, fmt::format("s[{{kept}}] += cast(i64, x[{{all}}])\n"
                                        "y[{{kept}}] = cast({}, s[{{kept}}] / ({}))",
                                        to_string(dtype), extent_text(reduced_count(op))));
}

} // namespace

extern const OpDef op_reduce_mean{
    .name = "reduce_mean",
    .doc = "the mean over axes",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = reduction_attributes(),
    .make_formula = make_reduce_mean,
};

} // namespace cnnc
