// y[i0,i2,i1] = x[i0,i1,i2]     perm [0,2,1]
#include "ir/shape_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  const Texts from = index_names(op.shape(0).size());
  Texts to;
  for (const size_t axis : axes_of(op.integers("perm"), from.size()))
    to.push_back(from[axis]);
  if (to.empty())
    to.assign(from.rbegin(), from.rend());
  if (to.size() != from.size())
    throw Error({}, fmt::format("perm names {} axes, the input has {}", to.size(), from.size()));
  return fmt::format("y[{}] = x[{}]", list(to), list(from));
}

} // namespace

extern const OpDef op_transpose{
    .name = "transpose",
    .doc = "the dimensions in another order",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "perm",
                    .kind = AttributeKind::integers,
                    .default_value = std::vector<int64_t>{},
                    .minimum = -16,
                    .maximum = 15,
                    .doc = "for each dimension of the result which one of the input it is; [] turns them around"}},
    .make_formula = formula,
};

} // namespace cnnc
