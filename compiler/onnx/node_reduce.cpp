// Reductions. Their axes are an attribute up to opset 17 (ReduceSum: up to 12), an input from then on.
#include "compiler/onnx/node.h"

#include <algorithm>
#include <fmt/format.h>
#include <limits>

namespace cnnc {

namespace {

// What a reduction over nothing gives.
double of_nothing(const std::string& row)
{
  constexpr double infinity = std::numeric_limits<double>::infinity();
  return row == "reduce_max" || row == "reduce_log_sum" || row == "reduce_log_sum_exp" ? -infinity
         : row == "reduce_min"                                                         ? infinity
         : row == "reduce_prod"                                                        ? 1
         : row == "reduce_mean" ? std::numeric_limits<double>::quiet_NaN()
                                : 0;
}

void reduce(OnnxCall& call, const std::string& row, int64_t since = 18)
{
  Operand x = call.in(0);
  OnnxBuilder& build = call.build;
  const bool keep = call.integer("keepdims", 1) != 0;
  std::vector<int64_t> axes = call.integers_since(since, "axes", 1).value_or(std::vector<int64_t>{});
  const bool noop = call.integer("noop_with_empty_axes", 0) != 0;
  if (axes.empty() && noop) {
    call.give(x);
    return;
  }
  if (axes.empty())
    for (int64_t d = 0; d < x.rank(); ++d)
      axes.push_back(d);
  for (int64_t& axis : axes)
    axis = axis_of(axis, x.rank());
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end())
    call.refuse("an axis is named twice");
  if (axes.empty()) { // of a scalar
    call.give(build.reshape(build.op(row, {build.reshape(x, {{1, false}})}, {{"axes", std::vector<int64_t>{0}}}), {}));
    return;
  }
  if (x.is_empty()) {
    Shape shape;
    for (int64_t d = 0; d < x.rank(); ++d)
      if (!std::binary_search(axes.begin(), axes.end(), d))
        shape.push_back(x.shape()[static_cast<size_t>(d)]);
      else if (keep)
        shape.push_back({1, false});
    const bool boolean = x.type.dtype == DType::boolean;
    call.give(build.filled(x.type.dtype, shape, boolean ? of_nothing(row) > 0 : of_nothing(row)));
    return;
  }
  // The largest of booleans: of 0 and 1.
  const DType dtype = x.type.dtype;
  if (dtype == DType::boolean)
    x = build.cast(x, DType::i32);
  call.give(build.cast(build.op(row, {x}, {{"axes", axes}, {"keep_dims", keep}}), dtype));
}

void arg(OnnxCall& call, bool is_min)
{
  if (call.integer("select_last_index", 0) != 0)
    call.refuse("select_last_index is not supported: of equal ones the first is taken");
  Operand x = call.in(0);
  if (is_min) // integers are turned around as a whole: u8 and the least number have no negative
    x = is_float(x.type.dtype)
            ? call.build.op("neg", {x})
            : call.build.op("sub", {call.build.scalar(x.type.dtype, x.type.dtype == DType::u8 ? 255 : -1), x});
  const Operand y = call.build.op(
      "argmax", {x},
      {{"axis", axis_of(call.integer("axis", 0), x.rank())}, {"keep_dims", call.integer("keepdims", 1) != 0}});
  call.give(call.build.cast(y, DType::i64));
}

} // namespace

void onnx_ArgMax(OnnxCall& call)
{
  arg(call, false);
}
void onnx_ArgMin(OnnxCall& call)
{
  arg(call, true);
}
void onnx_ReduceL1(OnnxCall& call)
{
  reduce(call, "reduce_l1");
}
void onnx_ReduceL2(OnnxCall& call)
{
  reduce(call, "reduce_l2");
}
void onnx_ReduceLogSum(OnnxCall& call)
{
  reduce(call, "reduce_log_sum");
}
void onnx_ReduceLogSumExp(OnnxCall& call)
{
  reduce(call, "reduce_log_sum_exp");
}
void onnx_ReduceMax(OnnxCall& call)
{
  reduce(call, "reduce_max");
}
void onnx_ReduceMean(OnnxCall& call)
{
  reduce(call, "reduce_mean");
}
void onnx_ReduceMin(OnnxCall& call)
{
  reduce(call, "reduce_min");
}
void onnx_ReduceProd(OnnxCall& call)
{
  reduce(call, "reduce_prod");
}
void onnx_ReduceSum(OnnxCall& call)
{
  reduce(call, "reduce_sum", 13);
}
void onnx_ReduceSumSquare(OnnxCall& call)
{
  reduce(call, "reduce_sum_square");
}

} // namespace cnnc
