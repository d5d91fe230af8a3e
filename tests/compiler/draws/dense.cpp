#include "tests/compiler/draws.h"

namespace cnnc::test {

namespace {

int dense(Dice& dice, DrawnGraph& g)
{
  const int64_t inputs = dice.number(1, dice.one_in(3) ? 400 : 40), units = dice.number(1, dice.one_in(3) ? 130 : 20);
  const int x = g.input("x", {-1, inputs}), weight = g.parameter("w", {units, inputs});
  return g.op("dense", {x, weight, dice.one_in(3) ? -1 : g.parameter("b", {units})});
}

const Draws draws = {
    {"dense", dense},
};

} // namespace

} // namespace cnnc::test
