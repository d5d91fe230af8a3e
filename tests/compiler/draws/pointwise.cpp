#include "tests/compiler/draws.h"

namespace cnnc::test {

namespace {

int leaky_relu(Dice& dice, DrawnGraph& g)
{
  return g.op("leaky_relu", {g.input("x", draw_shape(dice, 1, 4))}, {{"slope", dice.pick({0.01, 0.0, 0.2, 1.0})}});
}

int dropout(Dice& dice, DrawnGraph& g)
{
  const int x = g.input("x", draw_shape(dice, 1, 4)), key = g.input("key", {}, DType::i64),
            step = g.input("step", {}, DType::i64);
  return g.op("dropout", {x, key, step}, {{"rate", dice.pick({0.0, 0.3, 0.5, 0.9})}, {"salt", dice.number(0, 99)}});
}

const Draws draws = {
    {"relu", pointwise("relu")},
    {"leaky_relu", leaky_relu},
    {"sigmoid", pointwise("sigmoid")},
    {"tanh", pointwise("tanh")},
    {"dropout", dropout},
    {"add", broadcast("add")},
    {"mul", broadcast("mul")},
    {"softmax", pointwise("softmax", 2)},
};

} // namespace

} // namespace cnnc::test
