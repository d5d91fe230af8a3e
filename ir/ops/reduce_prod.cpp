// y = the product of x over the axes, by halves: of 5 elements
//   p[k] = x[k]*x[k + 3], p[2] = x[2];   q[k] = p[k]*p[k + 2], q[1] = p[1];   y = q[0]*q[1]
//
// So the gradient is a product of the other factors, and right where one of them is 0.
#include "ir/reduction.h"
#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string make_reduce_prod(const OpCall& op)
{
  Shape shape = op.shape(0);
  const Texts names = index_names(shape.size());
  std::string text, from = "x";
  int level = 0;
  for (const size_t axis : reduced_axes(op)) {
    if (shape[axis].batch)
      throw Error({}, "the product over the batch is not known before a call");
    if (shape[axis].size == 0)
      return fmt::format("y[{}] = 1{}", list(index_names(reduced_shape(op).size())),
                         where(ranges(index_names(reduced_shape(op).size()), reduced_shape(op))));
    while (shape[axis].size > 1) {
      const int64_t pairs = shape[axis].size / 2, half = shape[axis].size - pairs;
      const std::string to = fmt::format("p{}", level++);
      Texts left = names, right = names;
      right[axis] += plus(half);
      text += fmt::format("{0}[{1}] = {2}[{1}] * {2}[{3}] where {4} < {5}\n", to, list(left), from, list(right),
                          names[axis], pairs);
      if (half > pairs) {
        left[axis] = std::to_string(pairs);
        text += fmt::format("{0}[{1}] = {2}[{1}]\n", to, list(left), from);
      }
      shape[axis].size = half;
      from = to;
    }
  }
  Texts last = names;
  for (const size_t axis : reduced_axes(op))
    last[axis] = "0";
  return text + fmt::format("y[{}] = {}[{}]", list(kept_subscripts(op, names)), from, list(last));
}

} // namespace

extern const OpDef op_reduce_prod{
    .name = "reduce_prod",
    .doc = "the product over axes",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = reduction_attributes(),
    .make_formula = make_reduce_prod,
};

} // namespace cnnc
