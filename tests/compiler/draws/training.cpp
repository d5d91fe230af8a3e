#include "tests/compiler/draws.h"

namespace cnnc::test {

namespace {

int cross_entropy(Dice& dice, DrawnGraph& g)
{
  const int64_t classes = dice.number(1, dice.one_in(3) ? 1000 : 20);
  const int x = g.input("x", {-1, classes});
  return g.op("cross_entropy", {x, g.input("label", {-1}, DType::i32, classes)});
}

Numbers draw_weight(Dice& dice)
{
  Numbers dims;
  for (int64_t rank = dice.number(1, 4); rank > 0; --rank)
    dims.push_back(dice.pick<int64_t>({1, 3, 5, 8, 16, 20}));
  return dims;
}

int sgd(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_weight(dice);
  return g.op("sgd", {g.input("w", dims), g.input("velocity", dims), g.input("gradient", dims), g.input("rate", {})},
              {{"learning_rate", 0.1},
               {"momentum", dice.pick({0.0, 0.9})},
               {"nesterov", dice.one_in(2)},
               {"weight_decay", dice.pick({0.0, 0.01})},
               {"rate_factor", dice.pick({1.0, 2.0})}});
}

int adam(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_weight(dice);
  return g.op("adam",
              {g.input("w", dims), g.input("mean", dims), g.input("square", dims), g.input("gradient", dims),
               g.input("rate", {}), g.input("step", {}, DType::i64)},
              {{"weight_decay", dice.pick({0.0, 0.01})}, {"rate_factor", dice.pick({1.0, 2.0})}});
}

const Draws draws = {
    {"cross_entropy", cross_entropy},
    {"sgd", sgd},
    {"adam", adam},
};

} // namespace

} // namespace cnnc::test
