#include "tests/compiler/draws.h"

namespace cnnc::test {

namespace {

int dense(Dice& dice, DrawnGraph& g)
{
  const int64_t inputs = dice.number(1, dice.one_in(3) ? 400 : 40), units = dice.number(1, dice.one_in(3) ? 130 : 20);
  const int x = g.input("x", {-1, inputs}), weight = g.parameter("w", {units, inputs});
  return g.op("dense", {x, weight, dice.one_in(3) ? -1 : g.parameter("b", {units})});
}

// Stacks broadcast, either side may be a vector, either side may be learnt.
int matmul(Dice& dice, DrawnGraph& g)
{
  const int64_t rows = dice.number(1, 20), inner = dice.number(1, dice.one_in(4) ? 200 : 30),
                columns = dice.number(1, dice.one_in(4) ? 130 : 20);
  if (dice.one_in(3)) {
    const int x = g.input("a", {-1, inner});
    return dice.one_in(4) ? g.op("matmul", {x, g.parameter("b", {inner})})
                          : g.op("matmul", {x, g.parameter("b", {inner, columns})});
  }
  Numbers a{-1}, b;
  for (int64_t k = dice.number(0, 2); k > 0; --k) {
    a.push_back(dice.number(1, 3));
    b.push_back(dice.one_in(3) ? 1 : a.back());
  }
  const bool is_learnt = dice.one_in(2);
  if (!is_learnt)
    b.insert(b.begin(), -1);
  a.push_back(rows);
  a.push_back(inner);
  if (dice.one_in(6) && is_learnt) {
    b = {inner};
  } else {
    b.push_back(inner);
    b.push_back(columns);
  }
  const int left = g.input("a", a), right = is_learnt ? g.parameter("b", b) : g.input("b", b);
  return g.op("matmul", {left, right});
}

int gemm(Dice& dice, DrawnGraph& g)
{
  const int64_t inner = dice.number(1, 40), columns = dice.number(1, 40);
  const bool trans_a = dice.one_in(4), trans_b = dice.one_in(2);
  const int64_t rows = trans_a || dice.one_in(4) ? dice.number(1, 20) : -1;
  const int a = g.input("a", trans_a ? Numbers{inner, rows} : Numbers{rows, inner});
  const int b = g.parameter("b", trans_b ? Numbers{columns, inner} : Numbers{inner, columns});
  int c = -1;
  if (!dice.one_in(3)) {
    Numbers dims{rows < 0 || dice.one_in(2) ? 1 : rows, dice.one_in(3) ? 1 : columns};
    if (dims[0] == 1)
      dims.erase(dims.begin(), dims.begin() + dice.number(0, 2));
    c = g.parameter("c", dims);
  }
  return g.op("gemm", {a, b, c},
              {{"alpha", dice.pick({1.0, 1.0, 0.5, 2.0})},
               {"beta", c < 0 ? 0.0 : dice.pick({1.0, 1.0, 0.25})},
               {"trans_a", trans_a},
               {"trans_b", trans_b}});
}

const Draws draws = {
    {"dense", dense},
    {"matmul", matmul},
    {"gemm", gemm},
};

} // namespace

} // namespace cnnc::test
