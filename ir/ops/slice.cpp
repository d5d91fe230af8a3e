// y[n,c,i] = x[n, c, start + step*i]
#include "ir/shape_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

// Beyond any dimension: "to the end".
constexpr int64_t far = INT32_MAX;

std::string formula(const OpCall& op)
{
  const Shape& shape = op.shape(0);
  const std::vector<int64_t>&starts = op.integers("starts"), &ends = op.integers("ends");
  std::vector<int64_t> given = op.integers("axes"), steps = op.integers("steps");
  if (given.empty())
    for (size_t d = 0; d < starts.size(); ++d)
      given.push_back(static_cast<int64_t>(d));
  if (steps.empty())
    steps.assign(starts.size(), 1);
  if (starts.size() != given.size() || ends.size() != given.size() || steps.size() != given.size())
    throw Error({}, fmt::format("axes, starts, ends and steps are not as many: {}, {}, {}, {}", given.size(),
                                starts.size(), ends.size(), steps.size()));
  const std::vector<size_t> axes = axes_of(given, shape.size());
  const Texts to = index_names(shape.size());
  Texts from = to;
  Shape result = shape;
  for (size_t k = 0; k < axes.size(); ++k) {
    const size_t axis = axes[k];
    if (shape[axis].batch) {
      if (starts[k] != 0 || ends[k] < far || steps[k] != 1)
        throw Error({}, fmt::format("axis {} is the batch, whose extent is not known here: it cannot be cut", axis));
      continue;
    }
    const int64_t size = shape[axis].size, step = steps[k];
    if (step == 0)
      throw Error({}, fmt::format("the step of axis {} is 0", axis));
    auto position = [&](int64_t at) { // between the places before the first element and behind the last one
      return std::clamp(at < 0 ? at + size : at, step < 0 ? int64_t{-1} : int64_t{0}, step < 0 ? size - 1 : size);
    };
    const int64_t start = position(starts[k]), end = position(ends[k]);
    const int64_t count = std::max<int64_t>(0, step > 0 ? ceil_div(end - start, step) : ceil_div(start - end, -step));
    result[axis] = {count, false};
    // A single element needs no step, which may be any number.
    from[axis] = count <= 1 ? std::to_string(count == 0 ? 0 : start)
                            : fmt::format("{} {} {}", start, step < 0 ? "-" : "+", times(to[axis], std::abs(step)));
  }
  return fmt::format("y[{}] = x[{}]{}", list(to), list(from), where(ranges(to, result)));
}

AttributeDef positions(std::string name, std::optional<AttributeValue> default_value, std::string doc)
{
  return {.name = std::move(name),
          .kind = AttributeKind::integers,
          .default_value = std::move(default_value),
          .minimum = -0x1p62,
          .maximum = 0x1p62,
          .doc = std::move(doc)};
}

} // namespace

extern const OpDef op_slice{
    .name = "slice",
    .doc = "a part of a tensor, or every so many-th element",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {positions("starts", std::nullopt, "the first element along each axis; below 0 counts from the end"),
                   positions("ends", std::nullopt, "behind the last one, likewise; more than there are is all"),
                   {.name = "axes",
                    .kind = AttributeKind::integers,
                    .default_value = std::vector<int64_t>{},
                    .minimum = -16,
                    .maximum = 15,
                    .doc = "which dimensions; the first ones where none is given"},
                   positions("steps", std::vector<int64_t>{}, "every so many-th element; below 0 goes backwards")},
    .make_formula = formula,
};

} // namespace cnnc
