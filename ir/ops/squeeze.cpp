// y[n,c] = x[n,c,0,0]
#include "ir/shape_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  const Shape& from = op.shape(0);
  const std::vector<size_t> axes = axes_of(op.integers("axes"), from.size());
  Shape to;
  for (size_t d = 0; d < from.size(); ++d) {
    const bool is_one = from[d] == Dim{1, false};
    const bool is_named = std::find(axes.begin(), axes.end(), d) != axes.end();
    if (is_named && !is_one)
      throw Error({}, fmt::format("axis {} of {} is not 1", d, to_string(from)));
    if (!is_named && !(axes.empty() && is_one))
      to.push_back(from[d]);
  }
  return reshape_text(op, to);
}

} // namespace

extern const OpDef op_squeeze{
    .name = "squeeze",
    .doc = "without dimensions of 1",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "axes",
                    .kind = AttributeKind::integers,
                    .default_value = std::vector<int64_t>{},
                    .minimum = -16,
                    .maximum = 15,
                    .doc = "which ones; all of them where none is given"}},
    .make_formula = formula,
    .is_view = true,
};

} // namespace cnnc
