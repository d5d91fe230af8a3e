// Batches through kernels that take one image after the other, as machine code beside the interpreter: residual sums in
// place, parts of joins, values from before the run and behind it.
#include "tests/compiler/draws.h"

#include <doctest/doctest.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

// Maps so large that several images leave the second cache.
Graph draw_maps(Dice& dice)
{
  DrawnGraph g;
  const int64_t channels = dice.pick<int64_t>({8, 16, 24}), side = dice.number(150, 170);
  const int input = g.input("x", {-1, channels, side, side});
  int value = input, before = input;
  const auto convolve = [&](int from, const std::string& name, int64_t filters) {
    const int weight = g.parameter(name, {filters, g.shape(from)[1].size, 1, 1});
    return g.op("conv2d", {from, weight, -1}, {});
  };
  const int count = static_cast<int>(dice.number(2, 4));
  for (int k = 0; k < count; ++k) {
    const std::string name = "w" + std::to_string(k);
    const int from = value;
    switch (dice.number(0, 3)) {
    case 0: value = g.op("relu", {convolve(value, name, channels)}); break;
    case 1: {
      const int weight = g.parameter(name, {channels, 1, 3, 3});
      value = g.op("conv2d", {value, weight, -1}, {{"padding", Numbers{1, 1, 1, 1}}, {"groups", channels}});
      break;
    }
    case 2:
      value = g.op("concat", {convolve(value, name + "a", channels), convolve(value, name + "b", channels)}, {});
      value = convolve(value, name + "c", channels);
      break;
    default: value = g.op("add", {convolve(value, name, channels), before}); break;
    }
    before = from;
  }
  if (dice.one_in(2))
    value = g.op("max_pool2d", {value}, {{"kernel", Numbers{3, 3}}, {"stride", Numbers{2, 2}}});
  g.graph.outputs = {value};
  if (dice.one_in(3))
    g.graph.outputs.push_back(before == input ? value : before);
  return g.graph;
}

} // namespace

TEST_CASE("images that go through kernels one by one are what the interpreter says of them")
{
  int64_t runs = 0;
  for (uint64_t seed = 1; seed <= 16; ++seed) {
    Dice dice(seed);
    const Graph graph = draw_maps(dice);
    CAPTURE(seed);
    const Reference reference = reference_for(graph, static_cast<int64_t>(1 + seed % 5), seed);
    CHECK_EQ(difference(reference, {}, 2e-5), "");
    CompileOptions with_known_caches;
    with_known_caches.march = "x86-64-v3";
    runs += count_remarks(graph, with_known_caches, "image_by_image");
  }
  CHECK(runs >= 12);
}
