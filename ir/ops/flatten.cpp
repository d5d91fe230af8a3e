// y[n, c*H*W + h*W + w] = x[n,c,h,w]
#include "ir/op.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

// One index for each dimension behind the batch: a, b, c, ...
std::string formula(const OpCall& op)
{
  const Shape& shape = op.shape(0);
  std::string from = "n", to;
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 1;) {
    std::string index = fmt::format("i{}", d);
    from.insert(1, "," + index);
    to = fmt::format("{}*{}{}{}", index, stride, to.empty() ? "" : " + ", to);
    stride *= shape[d].size; // the product is the element count: checked when the type was made
  }
  return fmt::format("y[n, {}] = x[{}]", to.empty() ? "0" : to, from);
}

} // namespace

extern const OpDef op_flatten{
    .name = "flatten",
    .doc = "each image's elements in one row, in the order in which they lie",
    .inputs = {"x[N,...]"},
    .outputs = {"y"},
    .make_formula = formula,
    .is_view = true,
};

} // namespace cnnc
