// y[n, C*k + c] = x[n,c]     k < the repeats of that axis
#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  const Shape& shape = op.shape(0);
  const std::vector<int64_t>& repeats = op.integers("repeats");
  if (repeats.size() != shape.size())
    throw Error({}, fmt::format("repeats has {} numbers, {} has {} dimensions", repeats.size(), to_string(shape),
                                shape.size()));
  Texts from = index_names(shape.size()), to = from;
  std::string range = ranges(from, shape);
  for (size_t d = 0; d < shape.size(); ++d) {
    if (repeats[d] == 1)
      continue;
    if (shape[d].batch)
      throw Error({}, "the batch cannot be repeated");
    int64_t size = 0;
    if (__builtin_mul_overflow(repeats[d], shape[d].size, &size) || size > element_limit)
      throw Error({}, fmt::format("axis {} would have more than 2^40 elements", d));
    to[d] = fmt::format("{} + {}", times(fmt::format("k{}", d), shape[d].size), from[d]);
    range += fmt::format(", k{} < {}", d, repeats[d]);
  }
  return fmt::format("y[{}] = x[{}]{}", list(to), list(from), where(range));
}

} // namespace

extern const OpDef op_tile{
    .name = "tile",
    .doc = "a tensor several times behind itself, along each axis",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "repeats", .kind = AttributeKind::integers, .doc = "how often, for every dimension"}},
    .make_formula = formula,
};

} // namespace cnnc
