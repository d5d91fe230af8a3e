#include "tests/compiler/draws.h"

namespace cnnc::test {

namespace {

std::map<std::string, DrawOp>& rows()
{
  static std::map<std::string, DrawOp> table;
  return table;
}

} // namespace

Draws::Draws(std::initializer_list<std::pair<std::string, DrawOp>> given)
{
  for (const auto& row : given)
    rows().insert(row);
}

const std::map<std::string, DrawOp>& Draws::table()
{
  return rows();
}

int64_t draw_channels(Dice& dice)
{
  return dice.pick<int64_t>({1, 2, 3, 5, 6, 8, 16, 17, 20, 32});
}

Numbers draw_shape(Dice& dice, int64_t least_rank, int64_t most_rank)
{
  const int64_t rank = dice.number(least_rank, most_rank);
  Numbers dims{-1};
  while (static_cast<int64_t>(dims.size()) < rank)
    dims.push_back(rank <= 2 ? dice.number(1, 70) : dice.pick<int64_t>({1, 2, 3, 4, 7, 8, 16, 17}));
  return dims;
}

DrawOp pointwise(const std::string& name, int64_t least_rank, int64_t most_rank)
{
  return [=](Dice& dice, DrawnGraph& g) { return g.op(name, {g.input("x", draw_shape(dice, least_rank, most_rank))}); };
}

DrawOp pointwise_of(const std::string& name, std::vector<DType> types)
{
  return [=](Dice& dice, DrawnGraph& g) {
    const DType type = types[static_cast<size_t>(dice.number(0, static_cast<int64_t>(types.size()) - 1))];
    return g.op(name, {g.input("wide", draw_shape(dice, 1, 4), type)});
  };
}

DrawOp pointwise_positive(const std::string& name)
{
  return [=](Dice& dice, DrawnGraph& g) { return g.op(name, {g.input("positive", draw_shape(dice, 1, 4))}); };
}

Numbers draw_broadcast(Dice& dice, Numbers dims)
{
  if (dice.one_in(2))
    for (size_t d = 1; d < dims.size(); ++d)
      if (dice.one_in(2))
        dims[d] = 1;
  if (dice.one_in(3))
    dims.erase(dims.begin(), dims.begin() + dice.number(1, static_cast<int64_t>(dims.size())));
  return dims;
}

DrawOp broadcast_of(const std::string& name, std::vector<DType> types)
{
  return [=](Dice& dice, DrawnGraph& g) {
    const DType type = types[static_cast<size_t>(dice.number(0, static_cast<int64_t>(types.size()) - 1))];
    const Numbers dims = draw_shape(dice, 1, 4);
    const int a = g.input("a", dims, type), b = g.input("wide", draw_broadcast(dice, dims), type);
    return dice.one_in(2) ? g.op(name, {a, b}) : g.op(name, {b, a});
  };
}

DrawOp broadcast(const std::string& name)
{
  return [=](Dice& dice, DrawnGraph& g) {
    Numbers a = draw_shape(dice, 2, 4), b = a;
    const int x = g.input("a", a);
    if (dice.one_in(2)) {
      for (size_t d = 1; d < b.size(); ++d)
        if (dice.one_in(2))
          b[d] = 1;
      if (dice.one_in(2)) {
        b.erase(b.begin(), b.begin() + dice.number(1, static_cast<int64_t>(b.size()) - 1));
        return g.op(name, {x, g.parameter("b", b)});
      }
    }
    const int y = g.input("b", b);
    return dice.one_in(2) ? g.op(name, {x, y}) : g.op(name, {y, x});
  };
}

} // namespace cnnc::test
