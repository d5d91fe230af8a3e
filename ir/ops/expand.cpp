// y[n,c,h,w] = x[c,0,0]     to the given shape, as in NumPy
#include "ir/shape_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  const Shape& from = op.shape(0);
  const std::vector<int64_t>& wanted = op.integers("shape");
  const size_t rank = std::max(from.size(), wanted.size());
  const Texts to = index_names(rank);
  Texts source;
  Shape shape;
  for (size_t d = 0; d < rank; ++d) {
    // Aligned at the right.
    const Dim have = d + from.size() < rank ? Dim{1, false} : from[d + from.size() - rank];
    const int64_t want = d + wanted.size() < rank ? -1 : wanted[d + wanted.size() - rank];
    const bool is_one = have == Dim{1, false};
    if (!is_one && want != -1 && want != 1 && have != Dim{want, false})
      throw Error({}, fmt::format("{} does not broadcast to {}", to_string(from), to_string(AttributeValue(wanted))));
    shape.push_back(is_one && want != -1 ? Dim{want, false} : have);
    if (d + from.size() >= rank)
      source.push_back(is_one ? "0" : to[d]);
  }
  return fmt::format("y[{}] = x[{}]{}", list(to), list(source), where(ranges(to, shape)));
}

} // namespace

extern const OpDef op_expand{
    .name = "expand",
    .doc = "repeats what is 1 up to a shape",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "shape",
                    .kind = AttributeKind::integers,
                    .minimum = -1,
                    .doc = "of the result, aligned at the right; 1 and -1 keep what the input has there"}},
    .make_formula = formula,
};

} // namespace cnnc
