// Normalizations. Where one has results or operands that no row has, it is written with smaller ops.
#include "compiler/onnx/node.h"

#include <cmath>
#include <fmt/format.h>

namespace cnnc {

namespace {

std::vector<int64_t> all_but(int64_t rank, int64_t axis)
{
  std::vector<int64_t> axes;
  for (int64_t d = 0; d < rank; ++d)
    if (d != axis)
      axes.push_back(d);
  return axes;
}

Operand mean_of(OnnxBuilder& build, const Operand& x, const std::vector<int64_t>& axes)
{
  return build.op("reduce_mean", {x}, {{"axes", axes}, {"keep_dims", true}});
}

// (x - mean) / sqrt(variance + epsilon)
struct Normal {
  Operand mean, variance, inverse, y;
};

Normal normalize(OnnxBuilder& build, const Operand& x, const std::vector<int64_t>& axes, double epsilon)
{
  Normal normal;
  normal.mean = mean_of(build, x, axes);
  const Operand centred = build.op("sub", {x, normal.mean});
  normal.variance = mean_of(build, build.op("mul", {centred, centred}), axes);
  const Operand shifted = build.op("add", {normal.variance, build.scalar(x.type.dtype, epsilon)});
  normal.inverse = build.op("rsqrt", {shifted});
  normal.y = build.op("mul", {centred, normal.inverse});
  return normal;
}

// [C] => [1,C,1,1]
Operand along_channels(OnnxBuilder& build, const Operand& numbers, int64_t rank)
{
  if (numbers.rank() != 1)
    throw Error({}, fmt::format("its scale is {}, not one number for each channel", to_string(numbers.type)));
  Shape shape(static_cast<size_t>(rank), Dim{1, false});
  shape.at(1) = numbers.shape()[0];
  return build.reshape(numbers, shape);
}

// y = x*scale[c] + shift[c] by the running statistics; false where one is not known, or x is no convolution's.
bool merge_batch_norm(OnnxCall& call, double epsilon)
{
  std::vector<double> scale, shift;
  for (size_t i = 1; i < 5; ++i)
    if (!call.in(i).is_known() || call.in(i).rank() != 1 || call.in(i).shape() != call.in(1).shape())
      return false;
  for (int64_t c = 0; c < call.in(1).data->size(); ++c) {
    scale.push_back(call.in(1).data->get(c) / std::sqrt(call.in(4).data->get(c) + epsilon));
    shift.push_back(call.in(2).data->get(c) - call.in(3).data->get(c) * scale.back());
  }
  return call.build.merge_scale(call.in(0), scale, shift);
}

// Up to opset 12 the axis cuts the shape in two, and everything behind the cut is one row.
void softmax(OnnxCall& call, const char* row)
{
  const Operand& x = call.in(0);
  OnnxBuilder& build = call.build;
  const int64_t axis = axis_of(call.integer("axis", call.opset < 13 ? 1 : -1), x.rank());
  bool last = true; // nothing but ones behind it
  for (int64_t d = axis + 1; d < x.rank(); ++d)
    last = last && x.shape()[static_cast<size_t>(d)] == Dim{1, false};
  if (call.opset >= 13 || last) {
    call.give(build.op(row, {x}, {{"axis", axis}}));
    return;
  }
  Dim outer, inner;
  for (int64_t d = 0; d < x.rank(); ++d) {
    const Dim& dim = x.shape()[static_cast<size_t>(d)];
    (d < axis ? outer : inner).size *= dim.size;
    (d < axis ? outer : inner).batch |= dim.batch;
  }
  call.give(build.reshape(build.op(row, {build.reshape(x, {outer, inner})}, {{"axis", int64_t{1}}}), x.shape()));
}

} // namespace

void onnx_Softmax(OnnxCall& call)
{
  softmax(call, "softmax");
}

void onnx_LogSoftmax(OnnxCall& call)
{
  softmax(call, "log_softmax");
}

void onnx_BatchNormalization(OnnxCall& call)
{
  const Operand& x = call.in(0);
  OnnxBuilder& build = call.build;
  const double epsilon = call.real("epsilon", 1e-5), momentum = call.real("momentum", 0.9);
  const bool training = call.opset >= 14 && call.integer("training_mode", 0) != 0;
  if (call.opset < 9 && call.integer("spatial", 1) == 0)
    call.refuse("spatial = 0 (statistics for each element) is not supported");
  if (!training) {
    for (size_t output = 1; output < 5; ++output)
      if (call.wants(output))
        call.refuse("its statistics are results, which only training makes");
    if (merge_batch_norm(call, epsilon)) {
      call.give(x);
      return;
    }
    Operand y = build.op("batch_norm", {x, call.in(1), call.in(2), call.in(3), call.in(4)},
                         {{"epsilon", epsilon}, {"momentum", momentum}});
    // Its factor and summand take in others.
    y.scale = {y.value < 0 ? -1 : static_cast<int>(build.graph.ops.size()) - 1, 0, 1};
    call.give(y);
    return;
  }
  const Normal normal = normalize(build, x, all_but(x.rank(), 1), epsilon);
  const Operand scaled = build.op("mul", {normal.y, along_channels(build, call.in(1), x.rank())});
  // running = running*momentum + current*(1 - momentum)
  const auto running = [&](const Operand& old, const Operand& current) {
    return build.op(
        "add", {build.op("mul", {old, build.scalar(old.type.dtype, momentum)}),
                build.op("mul", {build.reshape(current, old.shape()), build.scalar(old.type.dtype, 1 - momentum)})});
  };
  if (call.wants(1))
    call.give(1, running(call.in(3), normal.mean));
  if (call.wants(2))
    call.give(2, running(call.in(4), normal.variance));
  call.give(build.op("add", {scaled, along_channels(build, call.in(2), x.rank())}));
}

void onnx_InstanceNormalization(OnnxCall& call)
{
  call.give(
      call.build.op("instance_norm", {call.in(0), call.in(1), call.in(2)}, {{"epsilon", call.real("epsilon", 1e-5)}}));
}

void onnx_LayerNormalization(OnnxCall& call)
{
  const Operand &x = call.in(0), &scale = call.in(1);
  OnnxBuilder& build = call.build;
  const int64_t axis = axis_of(call.integer("axis", -1), x.rank());
  const double epsilon = call.real("epsilon", 1e-5);
  call.integer("stash_type", 1); // the precision of the steps between: never below that of the input
  const Shape normalized(x.shape().begin() + axis, x.shape().end());
  const Operand bias = call.has(2) ? call.in(2) : build.filled(x.type.dtype, scale.shape(), 0);
  if (!call.wants(1) && !call.wants(2) && scale.shape() == normalized && bias.shape() == normalized &&
      find_op("layer_norm")) {
    call.give(build.op("layer_norm", {x, scale, bias}, {{"axis", axis}, {"epsilon", epsilon}}));
    return;
  }
  std::vector<int64_t> axes;
  for (int64_t d = axis; d < x.rank(); ++d)
    axes.push_back(d);
  const Normal normal = normalize(build, x, axes, epsilon);
  if (call.wants(1))
    call.give(1, normal.mean);
  if (call.wants(2))
    call.give(2, normal.inverse);
  call.give(build.op("add", {build.op("mul", {normal.y, scale}), bias}));
}

// Up to opset 20 scale and bias have one number for each group.
void onnx_GroupNormalization(OnnxCall& call)
{
  const Operand& x = call.in(0);
  OnnxBuilder& build = call.build;
  const int64_t groups = call.integer("num_groups");
  call.integer("stash_type", 1);
  if (x.rank() < 3 || groups < 1 || x.shape()[1].size % groups != 0)
    call.refuse(fmt::format("{} does not divide into {} groups", to_string(x.type), groups));
  const auto each_channel = [&](const Operand& numbers) {
    if (call.opset >= 21)
      return numbers;
    const int64_t of_group = x.shape()[1].size / groups;
    return build.reshape(build.op("expand", {build.reshape(numbers, {{groups, false}, {1, false}})},
                                  {{"shape", std::vector<int64_t>{groups, of_group}}}),
                         {x.shape()[1]});
  };
  call.give(build.op("group_norm", {x, each_channel(call.in(1)), each_channel(call.in(2))},
                     {{"groups", groups}, {"epsilon", call.real("epsilon", 1e-5)}}));
}

// (x - mean) / (deviation + 1e-9)
void onnx_MeanVarianceNormalization(OnnxCall& call)
{
  const Operand& x = call.in(0);
  OnnxBuilder& build = call.build;
  std::vector<int64_t> axes = call.integers("axes").value_or(std::vector<int64_t>{0, 2, 3});
  for (int64_t& axis : axes)
    axis = axis_of(axis, x.rank());
  const Operand mean = mean_of(build, x, axes);
  const Operand centred = build.op("sub", {x, mean});
  const Operand deviation = build.op("sqrt", {mean_of(build, build.op("mul", {centred, centred}), axes)});
  call.give(build.op("div", {centred, build.op("add", {deviation, build.scalar(x.type.dtype, 1e-9)})}));
}

void onnx_LpNormalization(OnnxCall& call)
{
  const Operand& x = call.in(0);
  const int64_t p = call.integer("p", 2);
  if (p != 1 && p != 2)
    call.refuse(fmt::format("p is {}, not 1 or 2", p));
  const std::vector<int64_t> axes{axis_of(call.integer("axis", -1), x.rank())};
  const Operand length = call.build.op(p == 1 ? "reduce_l1" : "reduce_l2", {x}, {{"axes", axes}, {"keep_dims", true}});
  call.give(call.build.op("div", {x, length}));
}

void onnx_LRN(OnnxCall& call)
{
  call.give(call.build.op("lrn", {call.in(0)},
                          {{"size", call.integer("size")},
                           {"alpha", call.real("alpha", 0.0001)},
                           {"beta", call.real("beta", 0.75)},
                           {"bias", call.real("bias", 1.0)}}));
}

} // namespace cnnc
