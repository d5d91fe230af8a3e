// Element by element.
#include "compiler/onnx/node.h"

#include <cmath>
#include <fmt/format.h>
#include <limits>

namespace cnnc {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// An op of one operand, whose attributes have other names here.
struct Renamed {
  const char* onnx;
  const char* row;
  double otherwise;
};

void unary(OnnxCall& call, const char* row, std::initializer_list<Renamed> reals = {})
{
  Attributes attributes;
  for (const Renamed& real : reals)
    attributes[real.row] = call.real(real.onnx, real.otherwise);
  call.give(call.build.op(row, {call.in(0)}, attributes));
}

void binary(OnnxCall& call, const char* row)
{
  call.give(call.build.op(row, {call.in(0), call.in(1)}));
}

// The numbers of a tensor that has one for each of x's channels, and is 1 otherwise; nothing where it is another one.
std::optional<std::vector<double>> channels_of(const Operand& numbers, const Operand& x)
{
  if (!numbers.is_known() || x.rank() < 2 || numbers.rank() > x.rank() || x.shape()[1].batch)
    return {};
  const int64_t filters = x.shape()[1].size, count = numbers.data->size();
  for (int64_t d = 0; d < numbers.rank(); ++d) // aligned at the right
    if (numbers.shape()[static_cast<size_t>(d)].size != 1 && (d + x.rank() - numbers.rank() != 1 || count != filters))
      return {};
  std::vector<double> result;
  for (int64_t c = 0; c < filters; ++c)
    result.push_back(numbers.data->get(count == 1 ? 0 : c));
  return result;
}

// A factor or a summand for each channel becomes part of the convolution before it.
void scale(OnnxCall& call, const char* row, bool is_factor)
{
  for (const auto& [x, numbers] : {std::pair(0, 1), std::pair(1, 0)})
    if (call.in(static_cast<size_t>(x)).scale.op >= 0)
      if (const auto channels = channels_of(call.in(static_cast<size_t>(numbers)), call.in(static_cast<size_t>(x)))) {
        const std::vector<double> same(channels->size(), is_factor ? 0.0 : 1.0);
        if (call.build.merge_scale(call.in(static_cast<size_t>(x)), is_factor ? *channels : same,
                                   is_factor ? same : *channels)) {
          call.give(call.in(static_cast<size_t>(x)));
          return;
        }
      }
  binary(call, row);
}

// Any number of operands.
Operand fold(OnnxCall& call, const char* row)
{
  Operand y = call.in(0);
  for (size_t i = 1; i < call.inputs(); ++i)
    y = call.build.op(row, {y, call.in(i)});
  return y;
}

} // namespace

void onnx_Abs(OnnxCall& call)
{
  unary(call, "abs");
}
void onnx_Erf(OnnxCall& call)
{
  unary(call, "erf");
}
void onnx_Exp(OnnxCall& call)
{
  unary(call, "exp");
}
void onnx_Floor(OnnxCall& call)
{
  unary(call, "floor");
}
void onnx_HardSwish(OnnxCall& call)
{
  unary(call, "hard_swish");
}
void onnx_Log(OnnxCall& call)
{
  unary(call, "log");
}
void onnx_Mish(OnnxCall& call)
{
  unary(call, "mish");
}
void onnx_Neg(OnnxCall& call)
{
  unary(call, "neg");
}
void onnx_Not(OnnxCall& call)
{
  unary(call, "not");
}
void onnx_Reciprocal(OnnxCall& call)
{
  unary(call, "reciprocal");
}
void onnx_Relu(OnnxCall& call)
{
  unary(call, "relu");
}
void onnx_Sigmoid(OnnxCall& call)
{
  unary(call, "sigmoid");
}
void onnx_Sign(OnnxCall& call)
{
  unary(call, "sign");
}
void onnx_Softplus(OnnxCall& call)
{
  unary(call, "softplus");
}
void onnx_Softsign(OnnxCall& call)
{
  unary(call, "softsign");
}
void onnx_Sqrt(OnnxCall& call)
{
  unary(call, "sqrt");
}
void onnx_Tanh(OnnxCall& call)
{
  unary(call, "tanh");
}
void onnx_Celu(OnnxCall& call)
{
  unary(call, "celu", {{"alpha", "alpha", 1}});
}
void onnx_Elu(OnnxCall& call)
{
  unary(call, "elu", {{"alpha", "alpha", 1}});
}
void onnx_LeakyRelu(OnnxCall& call)
{
  unary(call, "leaky_relu", {{"alpha", "slope", 0.01}});
}
void onnx_Swish(OnnxCall& call)
{
  unary(call, "swish", {{"alpha", "beta", 1}});
}
void onnx_ThresholdedRelu(OnnxCall& call)
{
  unary(call, "thresholded_relu", {{"alpha", "alpha", 1}});
}
void onnx_HardSigmoid(OnnxCall& call)
{
  unary(call, "hard_sigmoid", {{"alpha", "alpha", 0.2}, {"beta", "beta", 0.5}});
}
void onnx_Selu(OnnxCall& call)
{
  unary(call, "selu", {{"alpha", "alpha", 1.67326319217681884765625}, {"gamma", "gamma", 1.05070102214813232421875}});
}

void onnx_And(OnnxCall& call)
{
  binary(call, "and");
}
void onnx_Div(OnnxCall& call)
{
  binary(call, "div");
}
void onnx_Equal(OnnxCall& call)
{
  binary(call, "equal");
}
void onnx_Greater(OnnxCall& call)
{
  binary(call, "greater");
}
void onnx_GreaterOrEqual(OnnxCall& call)
{
  binary(call, "greater_equal");
}
void onnx_Less(OnnxCall& call)
{
  binary(call, "less");
}
void onnx_LessOrEqual(OnnxCall& call)
{
  binary(call, "less_equal");
}
void onnx_Or(OnnxCall& call)
{
  binary(call, "or");
}
void onnx_Pow(OnnxCall& call)
{
  binary(call, "pow");
}
void onnx_Sub(OnnxCall& call)
{
  binary(call, "sub");
}
void onnx_Add(OnnxCall& call)
{
  scale(call, "add", false);
}
void onnx_Mul(OnnxCall& call)
{
  scale(call, "mul", true);
}
void onnx_Max(OnnxCall& call)
{
  call.give(fold(call, "max"));
}
void onnx_Min(OnnxCall& call)
{
  call.give(fold(call, "min"));
}
void onnx_Sum(OnnxCall& call)
{
  call.give(fold(call, "add"));
}

void onnx_Mean(OnnxCall& call)
{
  const Operand sum = fold(call, "add");
  call.give(call.build.op("div", {sum, call.build.scalar(sum.type.dtype, static_cast<double>(call.inputs()))}));
}

void onnx_Where(OnnxCall& call)
{
  call.give(call.build.op("where", {call.in(0), call.in(1), call.in(2)}));
}

// a != b of two booleans
void onnx_Xor(OnnxCall& call)
{
  call.give(call.build.op("not", {call.build.op("equal", {call.in(0), call.in(1)})}));
}

// ceil(x) = -floor(-x)
void onnx_Ceil(OnnxCall& call)
{
  call.give(call.build.op("neg", {call.build.op("floor", {call.build.op("neg", {call.in(0)})})}));
}

void onnx_Identity(OnnxCall& call)
{
  call.give(call.in(0));
}

void onnx_Cast(OnnxCall& call)
{
  call.integer("saturate", 1);
  call.text("round_mode", "up");
  const int64_t number = call.integer("to");
  const std::optional<DType> to = dtype_of_onnx(number);
  if (!to)
    call.refuse(fmt::format("the element type {} is not one that cnnc knows", number));
  call.give(call.build.cast(call.in(0), *to));
}

void onnx_CastLike(OnnxCall& call)
{
  call.integer("saturate", 1);
  call.text("round_mode", "up");
  call.give(call.build.cast(call.in(0), call.in(1).type.dtype));
}

void onnx_Gelu(OnnxCall& call)
{
  call.give(call.build.op("gelu", {call.in(0)}, {{"approximate", call.text("approximate", "none")}}));
}

// Bounds are attributes up to opset 10; an upper one that lies below the lower one wins.
void onnx_Clip(OnnxCall& call)
{
  const Operand& x = call.in(0);
  if (call.opset < 11) {
    call.give(call.build.op("clip", {x},
                            {{"min", call.real("min", std::numeric_limits<float>::lowest())},
                             {"max", call.real("max", std::numeric_limits<float>::max())}}));
    return;
  }
  const bool known = (!call.has(1) || call.in(1).is_known()) && (!call.has(2) || call.in(2).is_known());
  if (known && is_float(x.type.dtype)) {
    const double low = call.has(1) ? call.known_real(1, "min") : -infinity;
    const double high = call.has(2) ? call.known_real(2, "max") : infinity;
    call.give(low == -infinity && high == infinity
                  ? x
                  : call.build.op("clip", {x}, {{"min", std::min(low, high)}, {"max", high}}));
    return;
  }
  Operand y = x;
  if (call.has(1))
    y = call.build.op("max", {y, call.in(1)});
  if (call.has(2))
    y = call.build.op("min", {y, call.in(2)});
  call.give(y);
}

// The slope is broadcast as NumPy does; one number for each channel is what the row wants.
void onnx_PRelu(OnnxCall& call)
{
  const Operand& x = call.in(0);
  Operand slope = call.in(1);
  bool channels = x.rank() >= 2 && slope.rank() == x.rank() - 1 && slope.shape()[0] == x.shape()[1];
  for (int64_t d = 1; d < slope.rank(); ++d)
    channels = channels && slope.shape()[static_cast<size_t>(d)] == Dim{1, false};
  // A last dimension as long as the channels would be taken for them.
  const bool mistaken = slope.rank() == 1 && x.rank() > 2 && slope.shape()[0] == x.shape()[1];
  if (channels)
    slope = call.build.reshape(slope, {slope.shape()[0]});
  else if (mistaken)
    slope = call.build.reshape(slope, {{1, false}, slope.shape()[0]});
  call.give(call.build.op("prelu", {x, slope}));
}

// Outside of training its input; in training a random mask, which no other program can repeat.
void onnx_Dropout(OnnxCall& call)
{
  call.integer("seed", 0);
  double ratio = 0.5;
  if (call.opset < 12)
    ratio = call.real("ratio", 0.5);
  if (call.opset >= 12 && call.has(2) && call.known_real(2, "training_mode") != 0) {
    if (call.has(1))
      ratio = call.known_real(1, "ratio");
    if (ratio != 0)
      call.refuse("it drops at random (training_mode): a network that is read is one that is used");
  }
  const Operand& x = call.in(0);
  call.give(x);
  if (call.wants(1))
    call.give(1, call.build.filled(call.opset < 10 ? x.type.dtype : DType::boolean, x.shape(), 1));
}

} // namespace cnnc
