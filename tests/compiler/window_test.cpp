// Windows in the kernel of the contraction that they read (fuse_window), as machine code beside the interpreter: rows and
// columns around the picture, parts of it, channels that fill no block, dilated taps.
#include "tests/compiler/draws.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace cnnc;
using namespace cnnc::test;

namespace {

Graph draw_windows(Dice& dice)
{
  DrawnGraph g;
  const int64_t channels = dice.pick<int64_t>({8, 16, 24, 40, 96, 96, 128}), given = dice.number(1, 9);
  const int64_t extent = dice.pick<int64_t>({9, 12, 16, 17, 24});
  int value = g.input("x", {-1, given, extent, dice.number(7, 21)});
  const int64_t taps = dice.pick<int64_t>({1, 1, 3});
  value = g.op("conv2d", {value, g.parameter("w", {channels, given, taps, taps}), g.parameter("b", {channels})},
               {{"padding", Numbers{taps / 2, taps / 2, taps / 2, taps / 2}}});
  if (dice.one_in(2))
    value = g.op("relu6", {value});
  const int between = value;
  const int64_t kernel = dice.pick<int64_t>({3, 3, 5}), dilation = dice.pick<int64_t>({1, 1, 2});
  const int64_t stride = dice.pick<int64_t>({1, 2}), most = std::min<int64_t>(2, dilation * (kernel - 1) / 2);
  const Numbers padding{dice.number(0, most), dice.number(0, most), dice.number(0, most), dice.number(0, most)};
  const Numbers strides{stride, stride}, dilations{dilation, dilation};
  if (kernel * dilation > 7)
    return draw_windows(dice);
  if (dice.one_in(6)) {
    value = g.op(
        "avg_pool2d", {value},
        {{"kernel", Numbers{kernel, kernel}}, {"stride", strides}, {"padding", padding}, {"count_include_pad", true}});
  } else {
    const int bias = dice.one_in(2) ? -1 : g.parameter("c", {channels});
    value = g.op("conv2d", {value, g.parameter("v", {channels, 1, kernel, kernel}), bias},
                 {{"padding", padding},
                  {"stride", strides},
                  {"dilation", dilations},
                  {"groups", channels},
                  {"flip", dice.one_in(4)}});
  }
  if (dice.one_in(2))
    value = g.op("relu6", {value});
  if (g.shape(value) == g.shape(between) && dice.one_in(2))
    value = g.op("add", {value, between});
  g.graph.outputs = {value};
  return g.graph;
}

// As for a machine whose caches are so small that these windows pass through memory.
Graph fused(const Graph& graph, Dice& dice)
{
  Program program;
  program.functions.push_back(graph);
  Target target;
  target.l1_bytes = 2 << 10;
  target.l2_bytes = dice.pick<int64_t>({16 << 10, 64 << 10, 1 << 20});
  target.l3_bytes = 64 << 10;
  RunOptions until;
  until.only = {"assign_kernels", "fuse_epilogue", "fuse_window"};
  Remarks remarks;
  run_passes(program, target, until, remarks);
  return program.functions[0];
}

} // namespace

TEST_CASE("windows in the kernel of a contraction are what the interpreter says of them")
{
  int64_t joined = 0, in_rows = 0;
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    Dice dice(seed);
    const Graph drawn = draw_windows(dice);
    CAPTURE(seed);
    Reference reference = reference_for(drawn, static_cast<int64_t>(1 + seed % 3), seed);
    CompileOptions options;
    if (seed % 8 == 0)
      options.march = "x86-64-v3";
    if (seed % 8 == 1)
      options.level = 1;
    CHECK_EQ(difference(reference, options, 2e-5), "");
    reference.graph = fused(drawn, dice);
    options.passes = {"choose_layouts", "place_parts", "reuse_operands", "lower",        "schedule",    "tile",
                      "vectorize",      "unroll",      "peel",           "join_borders", "parallelize", "plan_memory"};
    if (options.level == 1)
      options.passes = {"lower", "plan_memory"};
    CHECK_EQ(difference(reference, options, 2e-5), "");
    const Kernel& kernel = reference.graph.kernels[0];
    joined += reference.graph.kernels.size() == 1;
    if (const auto share = kernel.schedule.find("share"); share != kernel.schedule.end())
      in_rows += std::get<std::vector<int64_t>>(share->second)[0] == 2;
  }
  CHECK(joined >= 36);
  CHECK(in_rows >= 20);
}
