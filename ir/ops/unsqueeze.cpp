// y[n,0,c,0] = x[n,c]
#include "ir/shape_text.h"

#include <algorithm>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  const Shape& from = op.shape(0);
  const std::vector<int64_t>& given = op.integers("axes");
  const std::vector<size_t> axes = axes_of(given, from.size() + given.size());
  Shape to;
  for (size_t d = 0, next = 0; d < from.size() + axes.size(); ++d)
    to.push_back(std::find(axes.begin(), axes.end(), d) != axes.end() ? Dim{1, false} : from[next++]);
  return reshape_text(op, to);
}

} // namespace

extern const OpDef op_unsqueeze{
    .name = "unsqueeze",
    .doc = "with further dimensions of 1",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "axes",
                    .kind = AttributeKind::integers,
                    .minimum = -16,
                    .maximum = 15,
                    .doc = "where they stand in the result"}},
    .make_formula = formula,
    .is_view = true,
};

} // namespace cnnc
