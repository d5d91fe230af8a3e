// Convolutions that `winograd` takes, as machine code beside the interpreter's direct ones: windows, groups, pictures
// whose ends the tiles do not meet, and what joins them.
#include "tests/compiler/draws.h"

#include <doctest/doctest.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

struct Drawn {
  Graph graph;
  int64_t taken = 0; // convolutions that the pass is to take
};

Drawn draw_convolutions(Dice& dice)
{
  DrawnGraph g;
  const int64_t groups = dice.pick<int64_t>({1, 1, 1, 2}), channels = 16 * dice.number(2, 4) * groups;
  const int64_t filters = 16 * dice.number(2, 4) * groups;
  int value = g.input("x", {-1, channels, dice.number(14, 30), dice.number(14, 30)});
  const int count = static_cast<int>(dice.number(1, 2));
  for (int c = 0; c < count; ++c) {
    const int64_t from = g.shape(value)[1].size;
    const std::string number = std::to_string(c);
    const int64_t taps = dice.pick<int64_t>({3, 3, 5});
    const int weight = g.parameter("w" + number, {filters, from / groups, taps, taps});
    const int bias = dice.one_in(3) ? -1 : g.parameter("b" + number, {filters});
    const int before = value;
    value = g.op("conv2d", {value, weight, bias},
                 {{"padding", Numbers{dice.number(0, 2), dice.number(0, 2), dice.number(0, 2), dice.number(0, 2)}},
                  {"groups", groups},
                  {"flip", dice.one_in(4)}});
    if (dice.one_in(2))
      value = g.op("relu", {value});
    if (g.shape(before) == g.shape(value))
      value = g.op("add", {value, before});
    if (dice.one_in(3))
      value = g.op("mul", {value, g.parameter("scale" + number, {filters, 1, 1})});
    if (dice.one_in(4))
      value = g.op("max_pool2d", {value}, {{"kernel", Numbers{2, 2}}});
  }
  g.graph.outputs = {value};
  return {g.graph, count};
}

} // namespace

TEST_CASE("convolutions in tiles are what the interpreter says of them")
{
  int64_t taken = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Dice dice(seed);
    const Drawn drawn = draw_convolutions(dice);
    CAPTURE(seed);
    const Reference reference = reference_for(drawn.graph, static_cast<int64_t>(1 + seed % 3), seed);
    CompileOptions options;
    if (seed % 8 == 0)
      options.march = "x86-64-v3";
    CHECK_EQ(difference(reference, options, 2e-5), "");
    taken += count_remarks(drawn.graph, options, "winograd", "in tiles of");
  }
  CHECK(taken >= 30);
}

TEST_CASE("tiles of 6 x 6, no tiles and few tiles are asked for")
{
  // Two convolutions: the first saves as many multiplications with a fourth of the weights.
  DrawnGraph g;
  int value = g.input("x", {-1, 32, 24, 24});
  value = g.op("conv2d", {value, g.parameter("w0", {32, 32, 3, 3}), -1}, {{"padding", Numbers{1, 1, 1, 1}}});
  value = g.op("conv2d", {value, g.parameter("w1", {64, 32, 3, 3}), g.parameter("b1", {64})},
               {{"padding", Numbers{1, 1, 1, 1}}, {"stride", Numbers{1, 1}}});
  value = g.op("max_pool2d", {value}, {{"kernel", Numbers{2, 2}}, {"stride", Numbers{2, 2}}});
  value = g.op("conv2d", {value, g.parameter("w2", {64, 64, 5, 5}), -1}, {{"padding", Numbers{2, 2, 2, 2}}});
  g.graph.outputs = {value};
  const auto tiles_of = [&](const CompileOptions& options) {
    Program program;
    program.functions.push_back(g.graph);
    std::vector<std::string> tiles;
    for (const Remark& remark : compile(std::move(program), options).remarks.all)
      if (const size_t at = remark.text.find("in tiles of "); remark.pass == "winograd" && at != remark.text.npos)
        tiles.push_back(remark.text.substr(at + 12, 5));
    return tiles;
  };
  using Tiles = std::vector<std::string>;
  CompileOptions options;
  CHECK(tiles_of(options) == Tiles{"4 x 4", "4 x 4", "2 x 2"});
  options.winograd_bytes = 32 * 32 * 36 * 4 + 32 * 64 * 36 * 4;
  CHECK(tiles_of(options) == Tiles{"4 x 4", "4 x 4"});
  options.winograd_bytes = 0;
  CHECK(tiles_of(options).empty());
  options.winograd_bytes.reset();
  options.winograd_tile = 0;
  CHECK(tiles_of(options).empty());
  options.winograd_tile = 6;
  CHECK(tiles_of(options) == Tiles{"6 x 6", "6 x 6", "4 x 4"});
  const Reference reference = reference_for(g.graph, 2, 5);
  CHECK_EQ(difference(reference, options, 5e-5), "");
}
