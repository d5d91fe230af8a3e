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

int layer_norm(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_shape(dice, 2, 5);
  const int64_t rank = static_cast<int64_t>(dims.size()), axis = dice.number(1, rank - 1);
  const Numbers own(dims.begin() + axis, dims.end());
  const int x = g.input("x", dims), weight = dice.one_in(5) ? -1 : g.parameter("weight", own);
  const int bias = dice.one_in(4) ? -1 : g.parameter("bias", own);
  return g.op("layer_norm", {x, weight, bias}, {{"axis", dice.one_in(2) ? axis : axis - rank}, {"epsilon", 0.001}});
}

int instance_norm(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_shape(dice, 3, 5);
  const int x = g.input("x", dims), weight = g.parameter("weight", {dims[1]});
  return g.op("instance_norm", {x, weight, g.parameter("bias", {dims[1]})}, {{"epsilon", 0.01}});
}

int group_norm(Dice& dice, DrawnGraph& g)
{
  Numbers dims = draw_shape(dice, 2, 5);
  const int64_t groups = dice.number(1, 4);
  dims[1] *= groups;
  const int x = g.input("x", dims), weight = g.parameter("weight", {dims[1]});
  return g.op("group_norm", {x, weight, g.parameter("bias", {dims[1]})}, {{"groups", groups}, {"epsilon", 0.01}});
}

int mvn(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_shape(dice, 3, 4);
  Numbers axes;
  for (int64_t d = 0; d < static_cast<int64_t>(dims.size()); ++d)
    if (dice.one_in(2))
      axes.push_back(dice.one_in(2) ? d : d - static_cast<int64_t>(dims.size()));
  return g.op("mvn", {g.input("x", dims)}, {{"axes", axes}, {"epsilon", 0.01}});
}

const Draws draws = {
    {"layer_norm", layer_norm}, {"instance_norm", instance_norm}, {"group_norm", group_norm}, {"mvn", mvn},
    {"batch_norm", batch_norm},
};

} // namespace

} // namespace cnnc::test
