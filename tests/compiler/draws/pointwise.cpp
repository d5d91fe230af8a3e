#include "tests/compiler/draws.h"

namespace cnnc::test {

namespace {

const std::vector<DType> floats{DType::f32, DType::f64},
    numbers{DType::f32, DType::f32, DType::f64, DType::i32, DType::i64, DType::u8, DType::i8},
    everything{DType::f32, DType::i32, DType::u8, DType::boolean};

DrawOp with_real(const std::string& name, const std::string& attribute, std::vector<double> values)
{
  return [=](Dice& dice, DrawnGraph& g) {
    const double value = values[static_cast<size_t>(dice.number(0, static_cast<int64_t>(values.size()) - 1))];
    return g.op(name, {g.input("wide", draw_shape(dice, 1, 4), dice.one_in(4) ? DType::f64 : DType::f32)},
                {{attribute, value}});
  };
}

int leaky_relu(Dice& dice, DrawnGraph& g)
{
  return g.op("leaky_relu", {g.input("x", draw_shape(dice, 1, 4))}, {{"slope", dice.pick({0.01, 0.0, 0.2, 1.0})}});
}

int prelu(Dice& dice, DrawnGraph& g)
{
  const Numbers x = draw_shape(dice, 2, 4);
  const int64_t channels = x[1];
  Numbers slope{channels};
  if (dice.one_in(2))
    slope.resize(x.size() - 1, 1);
  return g.op("prelu", {g.input("x", x), g.parameter("slope", slope)});
}

int gelu(Dice& dice, DrawnGraph& g)
{
  return g.op("gelu", {g.input("wide", draw_shape(dice, 1, 4))}, {{"approximate", dice.one_in(2) ? "none" : "tanh"}});
}

int clip(Dice& dice, DrawnGraph& g)
{
  Attributes attributes;
  if (dice.one_in(2))
    attributes["min"] = dice.pick({-3.0, 0.0, 4.0});
  if (dice.one_in(2))
    attributes["max"] = dice.pick({-2.0, 1.0, 6.0});
  return g.op("clip", {g.input("wide", draw_shape(dice, 1, 4), dice.pick({DType::f32, DType::f64, DType::i32}))},
              attributes);
}

int hard_sigmoid(Dice& dice, DrawnGraph& g)
{
  // Sums of few powers of two: f32 and f64 bend at the same numbers.
  return g.op("hard_sigmoid", {g.input("wide", draw_shape(dice, 1, 4))},
              {{"alpha", dice.pick({0.25, 0.5})}, {"beta", dice.pick({0.5, 0.3125})}});
}

int cast(Dice& dice, DrawnGraph& g)
{
  const DType from = dice.pick({DType::f32, DType::f64, DType::i8, DType::u8, DType::i32, DType::i64, DType::boolean});
  return g.op("cast", {g.input("wide", draw_shape(dice, 1, 4), from)},
              {{"to", dice.pick({"f32", "f32", "f64", "i8", "u8", "i32", "i64", "bool"})}});
}

int pow(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_shape(dice, 1, 4);
  const DType base = dice.pick({DType::f32, DType::f32, DType::f64, DType::i32, DType::i64});
  const DType exponent = dice.pick({DType::f32, DType::f64, DType::i32, DType::i64});
  const int a = is_float(base) ? g.input("positive", dims, base) : g.input("a", dims, base, 6);
  const int b = is_float(exponent) && is_float(base) ? g.input("wide", draw_broadcast(dice, dims), base)
                : is_float(exponent)                 ? g.input("positive_b", draw_broadcast(dice, dims), exponent)
                                                     : g.input("b", draw_broadcast(dice, dims), exponent, 4);
  return g.op("pow", {a, b});
}

int where(Dice& dice, DrawnGraph& g)
{
  const DType type = dice.pick({DType::f32, DType::f32, DType::i64, DType::u8, DType::boolean});
  const Numbers dims = draw_shape(dice, 1, 4);
  const int condition = g.input("condition", draw_broadcast(dice, dims), DType::boolean);
  const int a = g.input("a", dims, type), b = g.input("b", draw_broadcast(dice, dims), type);
  return dice.one_in(2) ? g.op("where", {condition, a, b}) : g.op("where", {condition, b, a});
}

int dropout(Dice& dice, DrawnGraph& g)
{
  const int x = g.input("x", draw_shape(dice, 1, 4)), key = g.input("key", {}, DType::i64),
            step = g.input("step", {}, DType::i64);
  return g.op("dropout", {x, key, step}, {{"rate", dice.pick({0.0, 0.3, 0.5, 0.9})}, {"salt", dice.number(0, 99)}});
}

const Draws draws = {
    {"relu", pointwise_of("relu", numbers)},
    {"leaky_relu", leaky_relu},
    {"prelu", prelu},
    {"elu", with_real("elu", "alpha", {1.0, 0.5, 0.0})},
    {"selu", pointwise_of("selu", floats)},
    {"celu", with_real("celu", "alpha", {1.0, 0.5, 3.0})},
    {"gelu", gelu},
    {"softplus", pointwise_of("softplus", floats)},
    {"softsign", pointwise_of("softsign", floats)},
    {"mish", pointwise_of("mish", floats)},
    {"swish", with_real("swish", "beta", {1.0, 1.7})},
    {"hard_sigmoid", hard_sigmoid},
    {"hard_swish", pointwise_of("hard_swish", floats)},
    {"thresholded_relu", with_real("thresholded_relu", "alpha", {1.0, 0.0, 3.3})},
    {"clip", clip},
    {"relu6", pointwise_of("relu6", numbers)},
    {"sigmoid", pointwise_of("sigmoid", floats)},
    {"tanh", pointwise_of("tanh", floats)},
    {"abs", pointwise_of("abs", numbers)},
    {"neg", pointwise_of("neg", numbers)},
    {"exp", pointwise("exp")},
    {"log", pointwise_positive("log")},
    {"sqrt", pointwise_positive("sqrt")},
    {"rsqrt", pointwise_positive("rsqrt")},
    {"reciprocal", pointwise_positive("reciprocal")},
    {"floor", pointwise_of("floor", floats)},
    {"erf", pointwise_of("erf", floats)},
    {"sign", pointwise_of("sign", numbers)},
    {"cast", cast},
    {"not", pointwise_of("not", {DType::boolean})},
    {"identity", pointwise_of("identity", everything)},
    {"dropout", dropout},
    {"add", broadcast("add")},
    {"sub", broadcast_of("sub", numbers)},
    {"mul", broadcast("mul")},
    {"div", broadcast_of("div", numbers)},
    {"pow", pow},
    {"min", broadcast_of("min", numbers)},
    {"max", broadcast_of("max", numbers)},
    {"less", broadcast_of("less", numbers)},
    {"less_equal", broadcast_of("less_equal", numbers)},
    {"greater", broadcast_of("greater", numbers)},
    {"greater_equal", broadcast_of("greater_equal", numbers)},
    {"equal", broadcast_of("equal", everything)},
    {"and", broadcast_of("and", {DType::boolean})},
    {"or", broadcast_of("or", {DType::boolean})},
    {"where", where},
};

} // namespace

} // namespace cnnc::test
