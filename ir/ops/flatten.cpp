// y[n, c*H*W + h*W + w] = x[n,c,h,w]     axis 1
#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  const Shape& from = op.shape(0);
  const int64_t axis = op.integer("axis"), rank = static_cast<int64_t>(from.size());
  if (axis < -rank || axis > rank)
    throw Error({}, fmt::format("axis {} of a tensor of {} dimensions", axis, rank));
  Shape to(2);
  for (int64_t d = 0; d < rank; ++d) {
    Dim& dim = to[d < (axis < 0 ? axis + rank : axis) ? 0 : 1];
    dim = {dim.size * from[static_cast<size_t>(d)].size, dim.batch || from[static_cast<size_t>(d)].batch};
  }
  return reshape_text(op, to);
}

} // namespace

extern const OpDef op_flatten{
    .name = "flatten",
    .doc = "each image's elements in one row, in the order in which they lie",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "axis",
                    .default_value = int64_t{1},
                    .minimum = -16,
                    .maximum = 16,
                    .doc = "where the row begins: the dimensions before it become one as well"}},
    .make_formula = formula,
    .is_view = true,
};

} // namespace cnnc
