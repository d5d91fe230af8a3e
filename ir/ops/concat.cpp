// y[n, off + c, h, w] = x[n,c,h,w]     off: the extents of the operands before
#include "ir/op.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  auto axis = static_cast<size_t>(op.integer("axis"));
  const Shape& first = op.shape(0);
  std::string text;
  int64_t offset = 0;
  for (const BoundInput& input : op.inputs) {
    const Shape& shape = input.type->shape;
    bool fits = axis < shape.size() && shape.size() == first.size() && !shape[axis].batch;
    for (size_t d = 0; fits && d < shape.size(); ++d)
      fits = d == axis || shape[d] == first[d];
    if (!fits)
      throw Error({}, fmt::format("operands that do not meet beside axis {}: {} and {}", axis, to_string(first),
                                  to_string(shape)));
    std::string from, to;
    for (size_t d = 0; d < shape.size(); ++d) {
      std::string index = fmt::format("i{}", d);
      from += (d == 0 ? "" : ",") + index;
      to += (d == 0 ? "" : ",") + (d == axis ? fmt::format("{} + {}", offset, index) : index);
    }
    text += fmt::format("y[{}] = {}[{}]\n", to, input.spec.name, from);
    offset += shape[axis].size;
  }
  return text;
}

} // namespace

extern const OpDef op_concat{
    .name = "concat",
    .doc = "tensors one behind the other along an axis, the channels where none is given",
    .inputs = {"x[...]*"},
    .outputs = {"y"},
    .attributes = {{.name = "axis", .default_value = int64_t{1}, .maximum = 15, .doc = "which dimension grows"}},
    .make_formula = formula,
};

} // namespace cnnc
