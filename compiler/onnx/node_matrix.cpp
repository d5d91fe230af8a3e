// Products of matrices. With a known second one they are dense layers.
#include "compiler/onnx/node.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

// x[n,c] * matrix: a layer with parameters.
Operand dense(OnnxBuilder& build, const Operand& x, const Operand& weight, const MaybeOperand& bias)
{
  Operand y = build.op("dense", {x, weight, bias});
  y.scale = {y.value < 0 ? -1 : static_cast<int>(build.graph.ops.size()) - 1, 0, 1};
  return y;
}

bool is_matrix(const Operand& a)
{
  return a.rank() == 2 && a.is_known() && is_float(a.type.dtype);
}

// A known tensor times a number.
Operand times(OnnxBuilder& build, const Operand& a, double factor)
{
  return factor == 1 ? a : build.op("mul", {a, build.scalar(a.type.dtype, factor)});
}

} // namespace

// alpha * a*b + beta * c
void onnx_Gemm(OnnxCall& call)
{
  const Operand &a = call.in(0), &b = call.in(1);
  OnnxBuilder& build = call.build;
  const double alpha = call.real("alpha", 1), beta = call.real("beta", 1);
  const bool trans_a = call.integer("transA", 0) != 0, trans_b = call.integer("transB", 0) != 0;
  if (call.opset < 7)
    call.refuse("broadcasting of before opset 7 is not supported");
  if (a.rank() != 2 || b.rank() != 2)
    call.refuse(fmt::format("it wants two matrices, not {} and {}", to_string(a.type), to_string(b.type)));
  const Dim units = b.shape()[trans_b ? 0 : 1];
  const bool fits = !call.has(2) || (call.in(2).is_known() && call.in(2).data->size() == units.size &&
                                     (call.in(2).rank() == 0 || call.in(2).shape().back() == units));
  if (!trans_a && !a.is_known() && is_matrix(b) && fits) {
    MaybeOperand bias;
    if (call.has(2))
      bias = times(build, build.reshape(call.in(2), {units}), beta);
    call.give(dense(build, a, times(build, trans_b ? b : build.transpose(b, {1, 0}), alpha), bias));
    return;
  }
  call.give(build.op("gemm", {a, b, call.maybe(2)},
                     {{"alpha", alpha}, {"beta", beta}, {"trans_a", trans_a}, {"trans_b", trans_b}}));
}

void onnx_MatMul(OnnxCall& call)
{
  const Operand &a = call.in(0), &b = call.in(1);
  if (a.rank() == 2 && !a.is_known() && is_matrix(b))
    call.give(dense(call.build, a, call.build.transpose(b, {1, 0}), {}));
  else
    call.give(call.build.op("matmul", {a, b}));
}

} // namespace cnnc
