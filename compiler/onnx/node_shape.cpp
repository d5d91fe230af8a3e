// Shapes, and what only moves elements.
#include "compiler/onnx/node.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace cnnc {

namespace {

std::vector<int64_t> axes_of_call(const OnnxCall& call, const std::vector<int64_t>& given, int64_t rank)
{
  std::vector<int64_t> axes;
  for (const int64_t axis : given)
    axes.push_back(axis_of(axis, rank));
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end())
    call.refuse("an axis is named twice");
  return axes;
}

// A shape of the file: 0 as in the input (unless it is allowed to mean 0), -1 the rest.
Shape resolve(const OnnxCall& call, const Shape& from, std::vector<Dim> to, bool zero_is_zero)
{
  std::optional<size_t> rest;
  // A leading 1 that was the batch of the file is the batch.
  if (!from.empty() && from[0] == Dim{1, true} && !to.empty() && to[0] == Dim{1, false})
    to[0] = from[0];
  Dim product;
  bool zero = false;
  for (size_t d = 0; d < to.size(); ++d) {
    if (to[d] == Dim{0, false} && !zero_is_zero) {
      if (d >= from.size())
        call.refuse(fmt::format("its shape has a 0 at {}, and the input is {}", d, to_string(from)));
      to[d] = from[d];
    }
    if (to[d] == Dim{-1, false}) {
      if (rest)
        call.refuse("its shape has more than one -1");
      rest = d;
      continue;
    }
    if (to[d].size < 0)
      call.refuse(fmt::format("its shape has {}", to[d].size));
    zero = zero || to[d].size == 0;
    if (to[d].batch && product.batch)
      call.refuse("its shape has the batch twice");
    if (!zero && __builtin_mul_overflow(product.size, to[d].size, &product.size))
      call.refuse("its shape is too large");
    product.batch |= to[d].batch;
  }
  if (rest) {
    const int64_t have = elements(from);
    if (zero || have % product.size != 0)
      call.refuse(fmt::format("{} does not divide into its shape", to_string(from)));
    to[*rest] = {have / product.size, has_batch(from) && !product.batch};
  }
  return to;
}

Operand empty_like(const OnnxCall& call, DType dtype, Shape shape)
{
  for (Dim& dim : shape) // how many images there are makes no difference to none
    dim.batch = false;
  return call.build.filled(dtype, shape, 0);
}

} // namespace

void onnx_Reshape(OnnxCall& call)
{
  const Operand& x = call.in(0);
  const bool zero_is_zero = call.integer("allowzero", 0) != 0;
  call.give(call.build.reshape(x, resolve(call, x.shape(), call.known_extents(1, "shape"), zero_is_zero)));
}

void onnx_Flatten(OnnxCall& call)
{
  const Operand& x = call.in(0);
  int64_t axis = call.integer("axis", 1);
  axis = axis == x.rank() ? axis : axis_of(axis, x.rank());
  Dim outer, inner;
  for (int64_t d = 0; d < x.rank(); ++d) {
    const Dim& dim = x.shape()[static_cast<size_t>(d)];
    (d < axis ? outer : inner).size *= dim.size;
    (d < axis ? outer : inner).batch |= dim.batch;
  }
  // The row says what a reader wants to see, where it does just that.
  if (axis == 1 && x.rank() > 2 && x.shape()[0].batch && !x.is_known())
    call.give(call.build.op("flatten", {x}));
  else
    call.give(call.build.reshape(x, {outer, inner}));
}

void onnx_Squeeze(OnnxCall& call)
{
  const Operand& x = call.in(0);
  const auto given = call.integers_since(13, "axes", 1);
  std::vector<int64_t> axes;
  if (given)
    axes = axes_of_call(call, *given, x.rank());
  else
    for (int64_t d = 0; d < x.rank(); ++d)
      if (x.shape()[static_cast<size_t>(d)] == Dim{1, false})
        axes.push_back(d);
  Shape shape;
  for (int64_t d = 0; d < x.rank(); ++d)
    if (!std::binary_search(axes.begin(), axes.end(), d))
      shape.push_back(x.shape()[static_cast<size_t>(d)]);
    else if (x.shape()[static_cast<size_t>(d)] != Dim{1, false})
      call.refuse(fmt::format("axis {} of {} is not 1", d, to_string(x.type)));
  call.give(call.build.reshape(x, shape));
}

void onnx_Unsqueeze(OnnxCall& call)
{
  const Operand& x = call.in(0);
  const auto given = call.integers_since(13, "axes", 1);
  if (!given)
    call.refuse("axes is missing");
  const int64_t rank = x.rank() + static_cast<int64_t>(given->size());
  if (rank > 15)
    call.refuse(fmt::format("its result would have {} dimensions", rank));
  const std::vector<int64_t> axes = axes_of_call(call, *given, rank);
  Shape shape;
  size_t next = 0;
  for (int64_t d = 0; d < rank; ++d)
    shape.push_back(std::binary_search(axes.begin(), axes.end(), d) ? Dim{1, false} : x.shape()[next++]);
  call.give(call.build.reshape(x, shape));
}

void onnx_Transpose(OnnxCall& call)
{
  const Operand& x = call.in(0);
  std::vector<int64_t> perm;
  for (int64_t d = x.rank(); d-- > 0;)
    perm.push_back(d);
  perm = call.integers("perm").value_or(perm);
  if (static_cast<int64_t>(perm.size()) != x.rank())
    call.refuse(fmt::format("perm has {} axes, the input is {}", perm.size(), to_string(x.type)));
  std::vector<int64_t> axes = perm;
  for (int64_t& axis : perm)
    axis = axis_of(axis, x.rank());
  axes_of_call(call, axes, x.rank());
  call.give(call.build.transpose(x, perm));
}

void onnx_Concat(OnnxCall& call)
{
  const int64_t axis = axis_of(call.integer("axis"), call.in(0).rank());
  std::vector<MaybeOperand> parts;
  for (size_t i = 0; i < call.inputs(); ++i)
    if (!call.in(i).is_empty())
      parts.push_back(call.in(i));
  if (parts.empty())
    parts.push_back(call.in(0));
  call.give(parts.size() == 1 ? *parts[0] : call.build.op("concat", parts, {{"axis", axis}}));
}

void onnx_Slice(OnnxCall& call)
{
  const Operand& x = call.in(0);
  std::vector<int64_t> starts, ends, axes, steps;
  if (call.opset < 10) {
    starts = call.integers("starts").value_or(starts);
    ends = call.integers("ends").value_or(ends);
    axes = call.integers("axes").value_or(axes);
  } else {
    starts = call.known_integers(1, "starts");
    ends = call.known_integers(2, "ends");
    if (call.has(3))
      axes = call.known_integers(3, "axes");
    if (call.has(4))
      steps = call.known_integers(4, "steps");
  }
  if (axes.empty())
    for (size_t d = 0; d < starts.size(); ++d)
      axes.push_back(static_cast<int64_t>(d));
  if (steps.empty())
    steps.assign(starts.size(), 1);
  if (axes.size() != starts.size() || ends.size() != starts.size() || steps.size() != starts.size())
    call.refuse("starts, ends, axes and steps are not as many");
  // As positions, within reach of the row's own rules; what keeps everything is left out.
  std::vector<int64_t> kept_axes, kept_starts, kept_ends, kept_steps;
  Shape result = x.shape();
  for (size_t k = 0; k < axes.size(); ++k) {
    const int64_t axis = axis_of(axes[k], x.rank());
    const Dim dim = x.shape()[static_cast<size_t>(axis)];
    constexpr int64_t far = int64_t{1} << 40;
    const int64_t step = std::clamp(steps[k], -far, far);
    const int64_t start = std::clamp(starts[k], -far, far), end = std::clamp(ends[k], -far, far);
    if (step == 0)
      call.refuse("a step is 0");
    if (step == 1 && start == 0 && (end >= far || (!dim.batch && end >= dim.size) || (dim.batch && end >= INT32_MAX)))
      continue;
    if (dim.batch)
      call.refuse("it cuts the batch");
    const auto place = [&](int64_t at) {
      return std::clamp(at < 0 ? at + dim.size : at, step < 0 ? int64_t{-1} : 0, step < 0 ? dim.size - 1 : dim.size);
    };
    const int64_t from = place(start), to = place(end);
    const int64_t count = step > 0 ? (to - from + step - 1) / step : (from - to - step - 1) / -step;
    result[static_cast<size_t>(axis)].size = std::max<int64_t>(count, 0);
    kept_axes.push_back(axis);
    kept_starts.push_back(from);
    kept_ends.push_back(to < 0 ? -far : to);
    kept_steps.push_back(step);
  }
  if (std::any_of(result.begin(), result.end(), [](const Dim& dim) { return dim.size == 0; })) {
    call.give(empty_like(call, x.type.dtype, result));
    return;
  }
  call.give(
      kept_axes.empty()
          ? x
          : call.build.op("slice", {x},
                          {{"axes", kept_axes}, {"starts", kept_starts}, {"ends", kept_ends}, {"steps", kept_steps}}));
}

// Sizes are an attribute up to opset 12, an input from then on, or equal ones (18: of which the last may be smaller).
void onnx_Split(OnnxCall& call)
{
  const Operand& x = call.in(0);
  const int64_t axis = axis_of(call.integer("axis", 0), x.rank());
  const Dim dim = x.shape()[static_cast<size_t>(axis)];
  const auto parts = static_cast<int64_t>(call.node.outputs.size());
  std::optional<std::vector<int64_t>> sizes = call.integers_since(13, "split", 1);
  const int64_t count = call.opset >= 18 ? call.integer("num_outputs", parts) : parts;
  if (!sizes) {
    if (count < 1 || count != parts || (call.opset < 18 && dim.size % count != 0))
      call.refuse(fmt::format("axis {} of {} does not divide into {} parts", axis, to_string(x.type), count));
    const int64_t each = (dim.size + count - 1) / count;
    sizes.emplace();
    for (int64_t k = 0; k < count; ++k)
      sizes->push_back(std::clamp<int64_t>(dim.size - k * each, 0, each));
  }
  int64_t sum = 0;
  for (const int64_t size : *sizes)
    if (size < 0 || __builtin_add_overflow(sum, size, &sum))
      call.refuse(fmt::format("a part has the size {}", size));
  if (static_cast<int64_t>(sizes->size()) != parts || sum != dim.size || dim.batch)
    call.refuse(fmt::format("{} parts of [{}] are not the {} of axis {} of {}", parts, fmt::join(*sizes, ","),
                            to_string(dim), axis, to_string(x.type)));
  for (int64_t part = 0; part < parts; ++part) {
    if (!call.wants(static_cast<size_t>(part)))
      continue;
    Shape shape = x.shape();
    shape[static_cast<size_t>(axis)].size = (*sizes)[static_cast<size_t>(part)];
    if (shape[static_cast<size_t>(axis)].size == 0 || x.is_empty())
      call.give(static_cast<size_t>(part), empty_like(call, x.type.dtype, shape));
    else if (parts == 1)
      call.give(x);
    else
      call.give(static_cast<size_t>(part),
                call.build.op("split", {x}, {{"axis", axis}, {"sizes", *sizes}, {"part", part}}));
  }
}

// Pads are an attribute up to opset 10, an input from then on; 18 adds axes.
void onnx_Pad(OnnxCall& call)
{
  const Operand& x = call.in(0);
  const std::string mode = call.text("mode", "constant");
  double value = 0;
  const std::vector<int64_t> given = call.integers_since(11, "pads", 1).value_or(std::vector<int64_t>{});
  if (call.opset < 11)
    value = call.real("value", 0);
  else if (call.has(2) && mode == "constant" && !call.in(2).is_empty())
    value = call.known_real(2, "constant_value");
  std::vector<int64_t> axes;
  if (call.has(3))
    axes = call.known_integers(3, "axes");
  else
    for (int64_t d = 0; d < x.rank(); ++d)
      axes.push_back(d);
  if (given.size() != 2 * axes.size())
    call.refuse(fmt::format("pads has {} numbers, for {} axes", given.size(), axes.size()));
  const auto rank = static_cast<size_t>(x.rank());
  std::vector<int64_t> padding(2 * rank, 0);
  bool pads = false;
  for (size_t k = 0; k < axes.size(); ++k) {
    const auto axis = static_cast<size_t>(axis_of(axes[k], x.rank()));
    padding[axis] = given[k];
    padding[rank + axis] = given[axes.size() + k];
    pads = pads || given[k] != 0 || given[axes.size() + k] != 0;
  }
  Attributes attributes{{"padding", padding}, {"mode", mode}};
  if (mode == "constant")
    attributes["value"] = value;
  call.give(pads ? call.build.op("pad", {x}, attributes) : x);
}

void onnx_Gather(OnnxCall& call)
{
  const Operand &x = call.in(0), &places = call.in(1);
  const int64_t axis = axis_of(call.integer("axis", 0), x.rank());
  if (!places.is_known())
    throw UnknownValue{call.node.inputs[1], "indices"};
  std::vector<int64_t> indices = integers_of(*places.data);
  Shape shape(x.shape().begin(), x.shape().begin() + axis);
  shape.insert(shape.end(), places.shape().begin(), places.shape().end());
  shape.insert(shape.end(), x.shape().begin() + axis + 1, x.shape().end());
  if (indices.empty()) {
    call.give(empty_like(call, x.type.dtype, shape));
    return;
  }
  call.give(call.build.reshape(call.build.op("gather", {x}, {{"axis", axis}, {"indices", indices}}), shape));
}

void onnx_Tile(OnnxCall& call)
{
  const Operand& x = call.in(0);
  const std::vector<int64_t> repeats = call.known_integers(1, "repeats");
  if (static_cast<int64_t>(repeats.size()) != x.rank())
    call.refuse(fmt::format("repeats has {} numbers, the input is {}", repeats.size(), to_string(x.type)));
  for (const int64_t repeat : repeats)
    if (repeat < 0)
      call.refuse(fmt::format("it repeats {} times", repeat));
  const bool same = std::all_of(repeats.begin(), repeats.end(), [](int64_t repeat) { return repeat == 1; });
  call.give(same ? x : call.build.op("tile", {x}, {{"repeats", repeats}}));
}

void onnx_Expand(OnnxCall& call)
{
  const Operand& x = call.in(0);
  std::vector<Dim> wanted = call.known_extents(1, "shape");
  if (wanted.size() == x.shape().size() && !wanted.empty() && x.shape()[0] == Dim{1, true} &&
      wanted[0] == Dim{1, false})
    wanted[0] = x.shape()[0];
  const Shape shape = broadcast(x.shape(), wanted);
  if (shape == x.shape()) {
    call.give(x);
    return;
  }
  if (x.is_known() && elements(x.shape()) == 1) {
    call.give(call.build.filled(x.type.dtype, shape, x.data->get(0)));
    return;
  }
  std::vector<int64_t> sizes;
  for (size_t d = 0; d < shape.size(); ++d) {
    const size_t own = d + x.shape().size() - shape.size(); // wraps around where x has none
    if (shape[d].batch && !(own < x.shape().size() && x.shape()[own].batch))
      call.refuse("it repeats by the batch");
    sizes.push_back(shape[d].batch ? -1 : shape[d].size);
  }
  call.give(call.build.op("expand", {x}, {{"shape", sizes}}));
}

void onnx_Constant(OnnxCall& call)
{
  OnnxBuilder& build = call.build;
  if (const OnnxTensor tensor = call.tensor("value")) {
    Operand y;
    y.type = {tensor->dtype, shape_of(*tensor)};
    y.data = tensor;
    call.give(y);
    return;
  }
  if (call.has_attribute("value_int")) {
    call.give(build.integers({{call.integer("value_int"), false}}, true));
    return;
  }
  if (call.has_attribute("value_float")) {
    call.give(build.scalar(DType::f32, call.real("value_float")));
    return;
  }
  if (const auto list = call.integers("value_ints")) {
    std::vector<Dim> extents;
    for (const int64_t value : *list)
      extents.push_back({value, false});
    call.give(build.integers(extents));
    return;
  }
  if (call.has_attribute("value_floats"))
    if (const auto* list = std::get_if<std::vector<double>>(&call.node.attributes.at("value_floats"))) {
      Tensor tensor(DType::f32, {static_cast<int64_t>(list->size())});
      for (size_t i = 0; i < list->size(); ++i)
        tensor.set(static_cast<int64_t>(i), (*list)[i]);
      call.give(build.known(std::move(tensor)));
      return;
    }
  call.refuse("it has no value that cnnc knows: value, value_int, value_float, value_ints or value_floats");
}

void onnx_ConstantOfShape(OnnxCall& call)
{
  const OnnxTensor value = call.tensor("value");
  if (value && value->size() != 1)
    call.refuse("its value is not one number");
  Shape shape = call.known_extents(0, "shape");
  for (const Dim& dim : shape)
    if (dim.size < 0)
      call.refuse(fmt::format("its shape has {}", dim.size));
  call.give(call.build.filled(value ? value->dtype : DType::f32, shape, value ? value->get(0) : 0));
}

void onnx_Shape(OnnxCall& call)
{
  const Shape& shape = call.in(0).shape();
  const auto rank = static_cast<int64_t>(shape.size());
  const auto place = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank); };
  const int64_t begin = place(call.integer("start", 0)), end = place(call.integer("end", rank));
  call.give(call.build.integers(begin < end ? Shape(shape.begin() + begin, shape.begin() + end) : Shape{}));
}

void onnx_Size(OnnxCall& call)
{
  const Shape& shape = call.in(0).shape();
  call.give(call.build.integers({{elements(shape), has_batch(shape)}}, true));
}

void onnx_Range(OnnxCall& call)
{
  const double start = call.known_real(0, "start"), limit = call.known_real(1, "limit"),
               step = call.known_real(2, "delta");
  const double count = std::ceil((limit - start) / step);
  if (!(count < 1e8))
    call.refuse(fmt::format("it counts from {} to {} by {}", start, limit, step));
  Operand y = call.build.filled(call.in(0).type.dtype, {{std::max<int64_t>(static_cast<int64_t>(count), 0), false}}, 0);
  Tensor tensor = *y.data;
  for (int64_t i = 0; i < tensor.size(); ++i)
    tensor.set(i, start + static_cast<double>(i) * step);
  call.give(call.build.known(std::move(tensor)));
}

void onnx_DepthToSpace(OnnxCall& call)
{
  std::string order = call.text("mode", "DCR");
  if (order != "DCR" && order != "CRD")
    call.refuse(fmt::format("mode is '{}'", order));
  call.give(
      call.build.op("pixel_shuffle", {call.in(0)},
                    {{"factor", call.integer("blocksize")}, {"order", std::string(order == "DCR" ? "dcr" : "crd")}}));
}

// y[n, (i*b + j)*C + c, h, w] = x[n, c, h*b + i, w*b + j]
void onnx_SpaceToDepth(OnnxCall& call)
{
  const Operand& x = call.in(0);
  const int64_t block = call.integer("blocksize");
  if (x.rank() != 4 || block < 1 || x.shape()[2].size % block != 0 || x.shape()[3].size % block != 0)
    call.refuse(fmt::format("{} does not divide into blocks of {}", to_string(x.type), block));
  const Shape& s = x.shape();
  const Dim rows{s[2].size / block, false}, columns{s[3].size / block, false}, side{block, false};
  const Operand blocks = call.build.reshape(x, {s[0], s[1], rows, side, columns, side});
  const Operand moved = call.build.transpose(blocks, {0, 3, 5, 1, 2, 4});
  call.give(call.build.reshape(moved, {s[0], {s[1].size * block * block, false}, rows, columns}));
}

} // namespace cnnc
