// y = (x - mean) / sqrt(var + epsilon)     over the given axes
#include "ir/norm_text.h"
#include "ir/shape_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

NormText text(const OpCall& op)
{
  const Shape& shape = op.shape(0);
  std::vector<bool> is_reduced(shape.size());
  for (const size_t axis : axes_of(op.integers("axes"), shape.size()))
    is_reduced[axis] = true;
  if (op.integers("axes").empty()) // all but the batch and the channels
    std::fill(is_reduced.begin() + std::min<std::ptrdiff_t>(2, std::ssize(shape)), is_reduced.end(), true);
  NormText t;
  std::string points;
  for (size_t d = 0; d < shape.size(); ++d) {
    t.x += fmt::format("{}i{}", d == 0 ? "" : ",", d);
    if (is_reduced[d])
      points += fmt::format("{}{}{}", points.empty() ? "" : "*", shape[d].size, shape[d].batch ? "*N" : "");
    else
      t.statistics += fmt::format("{}i{}", t.statistics.empty() ? "" : ",", d);
  }
  t.points = points.empty() ? "1" : "(" + points + ")";
  return t;
}

} // namespace

extern const OpDef op_mvn{
    .name = "mvn",
    .doc = "gives what lies along some axes mean 0 and deviation 1",
    .inputs = {"x[...]"},
    .outputs = {"y", "mean", "inverse"},
    .attributes = {{.name = "axes",
                    .kind = AttributeKind::integers,
                    .default_value = std::vector<int64_t>{},
                    .minimum = -64,
                    .maximum = 64,
                    .doc = "normalized together; all but the batch and the channels by default"},
                   epsilon_attribute(1e-9)},
    .make_formula = [](const OpCall& op) { return norm_formula(text(op)); },
    .make_gradient = [](const OpCall& op) { return norm_gradient(text(op)); },
    .kept = {"mean", "inverse"},
};

} // namespace cnnc
