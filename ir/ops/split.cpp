// y[n,c,h,w] = x[n, begin + c, h, w]     begin: the sizes of the parts before
#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  const Shape& shape = op.shape(0);
  const size_t axis = axis_of(op.integer("axis"), shape.size());
  const std::vector<int64_t>& sizes = op.integers("sizes");
  const auto part = static_cast<size_t>(op.integer("part"));
  if (shape[axis].batch)
    throw Error({}, fmt::format("axis {} is the batch, whose extent is not known here: it cannot be split", axis));
  if (part >= sizes.size())
    throw Error({}, fmt::format("part {} of {}: they are numbered from 0", part, sizes.size()));
  int64_t sum = 0, begin = 0;
  for (size_t k = 0; k < sizes.size(); ++k) {
    if (k == part)
      begin = sum;
    if (__builtin_add_overflow(sum, sizes[k], &sum))
      throw Error({}, "sizes are too large");
  }
  if (sum != shape[axis].size)
    throw Error({}, fmt::format("sizes add up to {}, axis {} has {}", sum, axis, shape[axis].size));
  const Texts to = index_names(shape.size());
  Texts from = to;
  from[axis] += plus(begin);
  Shape result = shape;
  result[axis].size = sizes[part];
  return fmt::format("y[{}] = x[{}]{}", list(to), list(from), where(ranges(to, result)));
}

} // namespace

extern const OpDef op_split{
    .name = "split",
    .doc = "one of the parts that lie behind each other along an axis",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "axis",
                    .default_value = int64_t{1},
                    .minimum = -16,
                    .maximum = 15,
                    .doc = "which dimension; below 0 counts from the end"},
                   {.name = "sizes",
                    .kind = AttributeKind::integers,
                    .doc = "the parts' extents along it, all of them"},
                   {.name = "part", .doc = "which one this is, from 0"}},
    .make_formula = formula,
};

} // namespace cnnc
