// y[n, k, h, w] = x[n, indices[k], h, w]
#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  const Shape& shape = op.shape(0);
  const size_t axis = axis_of(op.integer("axis"), shape.size());
  if (shape[axis].batch)
    throw Error({}, fmt::format("axis {} is the batch, whose extent is not known here", axis));
  std::vector<int64_t> from;
  const int64_t size = shape[axis].size;
  for (const int64_t index : op.integers("indices")) {
    if (index < -size || index >= size)
      throw Error({}, fmt::format("index {} of axis {}, which has {}", index, axis, size));
    from.push_back(index < 0 ? index + size : index);
  }
  if (from.empty())
    throw Error({}, "indices is empty");
  return gather_text("y", "x", shape, axis, from);
}

} // namespace

extern const OpDef op_gather{
    .name = "gather",
    .doc = "slices of a tensor, in an order that is known here",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "axis",
                    .default_value = int64_t{1},
                    .minimum = -16,
                    .maximum = 15,
                    .doc = "which dimension; below 0 counts from the end"},
                   {.name = "indices",
                    .kind = AttributeKind::integers,
                    .minimum = -1e9,
                    .doc = "which slices of it; below 0 counts from the end"}},
    .make_formula = formula,
};

} // namespace cnnc
