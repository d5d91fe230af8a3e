#include "tests/compiler/draws.h"

namespace cnnc::test {

namespace {

int batch_norm(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_shape(dice, 2, 5);
  const int x = g.input("x", dims), weight = g.parameter("weight", {dims[1]}), bias = g.parameter("bias", {dims[1]});
  const int mean = g.parameter("mean", {dims[1]}, 0), square = g.parameter("square", {dims[1]}, 0);
  return g.op("batch_norm", {x, weight, bias, mean, square},
              {{"epsilon", dice.pick({1e-5, 0.001, 0.5})}, {"training", dice.one_in(2)}});
}

const Draws draws = {
    {"batch_norm", batch_norm},
};

} // namespace

} // namespace cnnc::test
