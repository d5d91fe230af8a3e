// Arithmetic on shapes that have the batch in them.
//
//   Shape(x) = [n, 512, 7, 7];   Gather(., 0) = n;   Concat(Unsqueeze(n), [-1]) = [n, -1]
#include "compiler/onnx/node.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::vector<Dim> extents_of(const Operand& operand)
{
  if (operand.extents)
    return *operand.extents;
  std::vector<Dim> result;
  if (operand.is_known() && operand.rank() <= 1 && !is_float(operand.type.dtype))
    for (const int64_t value : integers_of(*operand.data))
      result.push_back({value, false});
  else
    throw Error({}, fmt::format("'{}' meets a shape that depends on the batch, and is no shape", operand.name));
  return result;
}

Dim combine(const OnnxCall& call, const Dim& a, const Dim& b)
{
  Dim result;
  bool overflow = false;
  if (call.node.op == "Mul" && !(a.batch && b.batch)) {
    overflow = __builtin_mul_overflow(a.size, b.size, &result.size);
    result.batch = a.batch || b.batch;
  } else if (call.node.op == "Div" && !b.batch && b.size != 0 && a.size % b.size == 0) {
    result = {a.size / b.size, a.batch};
  } else if (call.node.op == "Div" && a.batch && b.batch && b.size != 0 && a.size % b.size == 0) {
    result = {a.size / b.size, false};
  } else if ((call.node.op == "Add" || call.node.op == "Sub") && a.batch == b.batch) {
    overflow = call.node.op == "Add" ? __builtin_add_overflow(a.size, b.size, &result.size)
                                     : __builtin_sub_overflow(a.size, b.size, &result.size);
    result.batch = a.batch && result.size != 0;
  } else {
    throw Error({}, fmt::format("{} of {} and {} is no shape", call.node.op, to_string(a), to_string(b)));
  }
  if (overflow)
    throw Error({}, "a shape is too large");
  return result;
}

} // namespace

bool fold_extents(OnnxCall& call)
{
  bool open = false;
  for (const MaybeOperand& operand : call.operands)
    open = open || (operand && operand->extents && !operand->is_known());
  const std::string& op = call.node.op;
  if (!open)
    return false;
  OnnxBuilder& build = call.build;
  if (op == "Concat") {
    call.integer("axis");
    std::vector<Dim> all;
    for (size_t i = 0; i < call.inputs(); ++i)
      for (const Dim& dim : extents_of(call.in(i)))
        all.push_back(dim);
    call.give(build.integers(all));
    return true;
  }
  if (op == "Gather" && call.in(1).is_known()) {
    call.integer("axis", 0);
    const std::vector<Dim> from = extents_of(call.in(0));
    std::vector<Dim> picked;
    for (const int64_t index : integers_of(*call.in(1).data))
      picked.push_back(from.at(static_cast<size_t>(axis_of(index, static_cast<int64_t>(from.size())))));
    if (call.in(1).rank() > 1)
      return false;
    call.give(build.integers(picked, call.in(1).rank() == 0));
    return true;
  }
  if (op == "Slice" && call.opset >= 10) {
    const std::vector<Dim> from = extents_of(call.in(0));
    const auto size = static_cast<int64_t>(from.size());
    const std::vector<int64_t> starts = call.known_integers(1, "starts"), ends = call.known_integers(2, "ends");
    const int64_t step = call.has(4) ? call.known_integers(4, "steps").at(0) : 1;
    if (starts.size() != 1 || ends.size() != 1 || step != 1)
      return false;
    const auto place = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size); };
    const int64_t begin = place(std::max(starts[0], -size)), end = place(std::max(ends[0], -size));
    call.give(
        build.integers(begin < end ? std::vector<Dim>(from.begin() + begin, from.begin() + end) : std::vector<Dim>{}));
    return true;
  }
  if (op == "Identity") {
    call.give(call.in(0));
    return true;
  }
  if (op == "Mul" || op == "Div" || op == "Add" || op == "Sub") {
    const std::vector<Dim> a = extents_of(call.in(0)), b = extents_of(call.in(1));
    if (a.size() != b.size() && a.size() != 1 && b.size() != 1)
      throw Error({}, "shapes of different lengths");
    std::vector<Dim> result;
    for (size_t i = 0; i < std::max(a.size(), b.size()); ++i)
      result.push_back(combine(call, a[a.size() == 1 ? 0 : i], b[b.size() == 1 ? 0 : i]));
    call.give(build.integers(result, call.in(0).rank() == 0 && call.in(1).rank() == 0));
    return true;
  }
  if (op == "ReduceProd") {
    Dim product;
    for (const Dim& dim : extents_of(call.in(0)))
      if (__builtin_mul_overflow(product.size, dim.size, &product.size) || (product.batch && dim.batch))
        throw Error({}, "a shape is too large");
      else
        product.batch |= dim.batch;
    const bool keep = call.integer("keepdims", 1) != 0;
    call.integers("axes");
    call.give(build.integers({product}, !keep));
    return true;
  }
  return false; // Squeeze, Unsqueeze, Reshape, Cast; others refuse it as a tensor
}

} // namespace cnnc
