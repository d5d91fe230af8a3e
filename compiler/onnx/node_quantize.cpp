// Between numbers and 8-bit integers: one scale and zero for a tensor, or one for each element along an axis.
//
//   QuantizeLinear      y = saturate(round(x / scale) + zero)        ties to the even integer
//   DequantizeLinear    y = (x - zero) * scale
//
// Weights that are known are numbers when the network is compiled; what is computed at run time passes through both, and
// `lower_precision` takes the ranges of integers from there.
#include "compiler/onnx/node.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

struct Scaling {
  std::vector<std::string> inputs; // as a formula has them: x, and where there is one an element: scale, zero
  std::vector<MaybeOperand> operands;
  std::string at, scale, zero; // subscripts of x; texts, "" for a zero of 0
};

Scaling scaling_of(OnnxCall& call)
{
  if (call.integer("block_size", 0) != 0)
    call.refuse("scales of blocks");
  const Operand &x = call.in(0), &scale = call.in(1);
  if (scale.type.dtype != DType::f32)
    call.refuse(fmt::format("a scale of type {}", to_string(scale.type.dtype)));
  const int64_t axis_given = call.integer("axis", 1);
  Scaling s;
  s.operands = {x};
  if (scale.rank() == 0 || (scale.rank() == 1 && scale.shape()[0] == Dim{1, false})) {
    s.inputs = {"x[...]"};
    s.at = "...";
    s.scale = fmt::format("{}", call.known_real(1, "the scale"));
    const double zero = call.has(2) ? call.known_real(2, "the zero point") : 0;
    if (zero != 0)
      s.zero = fmt::format("{}", zero);
    return s;
  }
  const int64_t axis = axis_of(axis_given, x.rank());
  if (scale.rank() != 1 || scale.shape()[0] != x.shape()[static_cast<size_t>(axis)])
    throw Error({}, fmt::format("the scale is {}, x has {} along axis {}", to_string(scale.type),
                                to_string(x.shape()[static_cast<size_t>(axis)]), axis));
  std::string dims;
  for (int64_t d = 0; d < x.rank(); ++d) {
    s.at += fmt::format("{}i{}", d ? "," : "", d);
    dims += fmt::format("{}D{}", d ? "," : "", d);
  }
  s.inputs = {fmt::format("x[{}]", dims), fmt::format("scale[D{}]", axis)};
  s.operands.push_back(scale);
  s.scale = fmt::format("scale[i{}]", axis);
  if (call.has(2)) {
    if (call.in(2).shape() != scale.shape())
      throw Error({},
                  fmt::format("the zero point is {}, the scale {}", to_string(call.in(2).type), to_string(scale.type)));
    s.inputs.push_back(fmt::format("zero[D{}]", axis));
    s.operands.push_back(call.in(2));
    s.zero = fmt::format("cast(f32, zero[i{}])", axis);
  }
  return s;
}

} // namespace

void onnx_QuantizeLinear(OnnxCall& call)
{
  call.integer("saturate", 1); // of floats of 8 bits, which are refused
  const int64_t given = call.integer("output_dtype", 0);
  if (given != 0 && !call.has(2))
    call.refuse("`output_dtype` without a zero point");
  const DType to = call.has(2) ? call.in(2).type.dtype : DType::u8;
  if (call.in(0).type.dtype != DType::f32 || (to != DType::u8 && to != DType::i8))
    call.refuse(fmt::format("{} to {}", to_string(call.in(0).type.dtype), to_string(to)));
  const Scaling s = scaling_of(call);
  const std::string value = fmt::format("round(x[{}] / {}){}", s.at, s.scale, s.zero.empty() ? "" : " + " + s.zero);
  call.give(call.build
                .formula(s.inputs, {fmt::format("y:{}", to_string(to))},
                         fmt::format("y[{}] = cast({}, {})", s.at, to_string(to), value), s.operands)
                .at(0));
}

void onnx_DequantizeLinear(OnnxCall& call)
{
  const DType from = call.in(0).type.dtype;
  if (from != DType::u8 && from != DType::i8 && from != DType::i32)
    call.refuse(fmt::format("numbers of type {}", to_string(from)));
  const int64_t given = call.integer("output_dtype", 0);
  if (given != 0 && given != 1) // FLOAT
    call.refuse("another `output_dtype` than float");
  const Scaling s = scaling_of(call);
  const std::string number = fmt::format("cast(f32, x[{}])", s.at);
  const std::string moved = s.zero.empty() ? number : fmt::format("({} - {})", number, s.zero);
  call.give(
      call.build.formula(s.inputs, {"y:f32"}, fmt::format("y[{}] = {} * {}", s.at, moved, s.scale), s.operands).at(0));
}

} // namespace cnnc
