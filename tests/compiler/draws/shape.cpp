#include "tests/compiler/draws.h"

namespace cnnc::test {

namespace {

int concat(Dice& dice, DrawnGraph& g)
{
  Numbers dims = draw_shape(dice, 2, 4);
  const int64_t axis = dice.number(1, static_cast<int64_t>(dims.size()) - 1);
  std::vector<int> inputs;
  for (int64_t i = dice.number(1, 4); i > 0; --i) {
    dims[static_cast<size_t>(axis)] = dice.pick<int64_t>({1, 2, 3, 8, 16});
    inputs.push_back(g.input("x" + std::to_string(i), dims));
  }
  return g.op("concat", inputs, {{"axis", axis}});
}

const Draws draws = {
    {"flatten", pointwise("flatten", 1)},
    {"concat", concat},
    {"copy", pointwise("copy")},
};

} // namespace

} // namespace cnnc::test
