// [n,6,4] => [n,2,12]: y[n, a, 4*b + c] = x[n, 3*a + b, c]
#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  const Shape& from = op.shape(0);
  const std::vector<int64_t>& shape = op.integers("shape");
  Shape to;
  std::optional<size_t> open;
  Dim known; // the product of all but the open one
  for (size_t d = 0; d < shape.size(); ++d) {
    Dim dim{shape[d], false};
    if (shape[d] == 0) {
      if (d >= from.size())
        throw Error({}, fmt::format("shape has a 0 at {}, but {} has {} dimensions", d, to_string(from), from.size()));
      dim = from[d];
    } else if (shape[d] == -1) {
      if (open)
        throw Error({}, "shape has more than one -1");
      open = d;
      dim = {1, false};
    }
    if (dim.batch && known.batch)
      throw Error({}, "shape has the batch twice");
    if (__builtin_mul_overflow(known.size, dim.size, &known.size))
      throw Error({}, "shape is too large");
    known.batch = known.batch || dim.batch;
    to.push_back(dim);
  }
  if (open) {
    const int64_t have = elements(from);
    if (known.size == 0 || have % known.size != 0)
      throw Error(
          {}, fmt::format("{} does not divide into the shape {}", to_string(from), to_string(AttributeValue(shape))));
    to[*open] = {have / known.size, has_batch(from) && !known.batch};
  }
  if (has_batch(from) && !has_batch(to))
    throw Error({}, fmt::format("the shape {} has no place for the batch of {}: 0 keeps a dimension, -1 is the rest",
                                to_string(AttributeValue(shape)), to_string(from)));
  return reshape_text(op, to);
}

} // namespace

extern const OpDef op_reshape{
    .name = "reshape",
    .doc = "the same elements in the same order, in other dimensions",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "shape",
                    .kind = AttributeKind::integers,
                    .minimum = -1,
                    .doc = "0 keeps the dimension that stands there in the input, -1 is what remains"}},
    .make_formula = formula,
    .is_view = true,
};

} // namespace cnnc
