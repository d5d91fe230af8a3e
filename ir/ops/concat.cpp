// y[n, off + c, h, w] = x[n,c,h,w]     off: the extents of the operands before
#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  const Shape& first = op.shape(0);
  const size_t axis = axis_of(op.integer("axis"), first.size());
  const Texts from = index_names(first.size());
  std::string text;
  int64_t offset = 0;
  for (const BoundInput& input : op.inputs) {
    const Shape& shape = input.type->shape;
    bool fits = shape.size() == first.size() && input.type->dtype == op.inputs[0].type->dtype;
    for (size_t d = 0; fits && d < shape.size(); ++d)
      fits = d == axis || shape[d] == first[d];
    if (!fits)
      throw Error({}, fmt::format("operands that do not meet beside axis {}: {} and {}", axis,
                                  to_string(*op.inputs[0].type), to_string(*input.type)));
    if (shape[axis].batch)
      throw Error({},
                  fmt::format("axis {} is the batch, whose extent is not known here: nothing stands behind it", axis));
    Texts to = from;
    to[axis] += plus(offset);
    text += fmt::format("y[{}] = {}[{}]\n", list(to), input.spec.name, list(from));
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
    .attributes = {{.name = "axis",
                    .default_value = int64_t{1},
                    .minimum = -16,
                    .maximum = 15,
                    .doc = "which dimension grows; below 0 counts from the end"}},
    .make_formula = formula,
};

} // namespace cnnc
