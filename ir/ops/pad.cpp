// y[n,c,h,w] = value;  y[n, c, h + top, w + left] = x[n,c,h,w]
//
// reflect [a b c] => c b [a b c] b a, edge a a [a b c] c c, wrap b c [a b c] a b: along one axis after the other, as a
// gather. Padding below zero takes away.
#include "ir/shape_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace cnnc {

namespace {

constexpr int64_t gathered_limit = int64_t{1} << 24; // positions along an axis

// Where in a row of `size` elements position `at` of the endless one lies.
int64_t source_of(int64_t at, int64_t size, const std::string& mode)
{
  if (mode == "edge")
    return std::clamp<int64_t>(at, 0, size - 1);
  const int64_t period = mode == "wrap" ? size : std::max<int64_t>(1, 2 * (size - 1));
  const int64_t phase = at - floor_div(at, period) * period;
  return phase < size ? phase : period - phase;
}

std::string formula(const OpCall& op)
{
  const std::string& mode = op.text("mode");
  const std::vector<int64_t>& padding = op.integers("padding");
  Shape shape = op.shape(0), padded = shape;
  const size_t rank = shape.size();
  if (padding.size() != 2 * rank)
    throw Error({}, fmt::format("padding wants {} numbers, {} before and {} behind the axes of {}, found {}", 2 * rank,
                                rank, rank, to_string(shape), padding.size()));
  for (size_t d = 0; d < rank; ++d) {
    const int64_t before = padding[d], behind = padding[rank + d];
    if (before == 0 && behind == 0)
      continue;
    if (shape[d].batch)
      throw Error({}, "the batch cannot be padded");
    padded[d].size += before + behind;
    if (padded[d].size < 0)
      throw Error({}, fmt::format("{} {} of axis {} of {} leave nothing", before, behind, d, to_string(shape)));
    if (mode != "constant" && padded[d].size > 0 && (shape[d].size == 0 || padded[d].size > gathered_limit))
      throw Error({}, fmt::format("axis {} of {} cannot be padded so", d, to_string(shape)));
  }
  elements(padded);
  const Texts indices = index_names(rank);
  if (mode == "constant") {
    Texts from, to;
    for (size_t d = 0; d < rank; ++d) {
      const int64_t before = padding[d], behind = padding[rank + d];
      from.push_back(indices[d] + plus(std::max<int64_t>(0, -before)));
      to.push_back(indices[d] + plus(std::max<int64_t>(0, before)));
      shape[d].size = std::max<int64_t>(0, shape[d].size + std::min<int64_t>(0, before) + std::min<int64_t>(0, behind));
    }
    std::string inner = fmt::format("y[{}] = x[{}]{}", list(to), list(from), where(ranges(indices, shape)));
    if (shape == padded)
      return inner;
    return fmt::format("y[{}] = value{}\n{}", list(indices), where(ranges(indices, padded)), inner);
  }
  std::string text, read = "x";
  std::vector<size_t> axes;
  for (size_t d = 0; d < rank; ++d)
    if (padding[d] != 0 || padding[rank + d] != 0)
      axes.push_back(d);
  for (const size_t axis : axes) {
    std::vector<int64_t> from;
    for (int64_t k = 0; k < padded[axis].size; ++k)
      from.push_back(source_of(k - padding[axis], shape[axis].size, mode));
    Shape next = shape;
    next[axis] = padded[axis];
    const std::string name = axis == axes.back() ? "y" : fmt::format("t{}", axis);
    if (name != "y")
      text += fmt::format("{}: {}[{}]\n", name, to_string(op.inputs[0].type->dtype), extents(next));
    text += from.empty() ? fmt::format("{}[{}] = {}[{}]{}\n", name, list(indices), read, list(Texts(rank, "0")),
                                       where(ranges(indices, next)))
                         : gather_text(name, read, shape, axis, from);
    shape = next;
    read = name;
  }
  return axes.empty() ? "y[...] = x[...]" : text;
}

} // namespace

extern const OpDef op_pad{
    .name = "pad",
    .doc = "more elements around a tensor",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "padding",
                    .kind = AttributeKind::integers,
                    .minimum = -1e9,
                    .doc = "how many before each axis, then how many behind each; below 0 takes away"},
                   {.name = "mode",
                    .kind = AttributeKind::text,
                    .default_value = std::string("constant"),
                    .doc = "what they are: value; mirrored at the first and the last one; these again; from the other "
                           "end",
                    .choices = {"constant", "reflect", "edge", "wrap"}},
                   {.name = "value",
                    .kind = AttributeKind::real,
                    .default_value = 0.0,
                    .minimum = -std::numeric_limits<double>::infinity(),
                    .maximum = std::numeric_limits<double>::infinity(),
                    .doc = "of mode constant"}},
    .make_formula = formula,
};

} // namespace cnnc
