// Drawn networks whose contractions multiply narrow numbers: machine code against the interpreter on the very ops that
// lower_precision leaves, on this machine's instructions and without them.
#include "tests/compiler/draw.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

using namespace cnnc;
using namespace cnnc::test;

namespace {

// Convolutions with channels in 16s and without, in one group, in two and depthwise; sums, concatenations and pools.
DrawnGraph draw(uint64_t seed)
{
  Dice dice(seed);
  DrawnGraph g;
  int64_t channels = dice.pick<int64_t>({3, 16, 32}), size = dice.number(5, 12), parameters = 0;
  int x = g.input("image", {-1, channels, size, size});
  auto parameter = [&](const std::vector<int64_t>& dims) {
    return g.parameter("p" + std::to_string(++parameters), dims);
  };
  for (int64_t layers = dice.number(2, 4); layers > 0; --layers) {
    const int before = x;
    const int64_t had = channels, kernel = dice.pick<int64_t>({1, 1, 3, 3, 5}), stride = dice.pick<int64_t>({1, 1, 2});
    const int64_t groups = dice.one_in(4) ? dice.pick<int64_t>({channels % 2 == 0 ? 2 : 1, channels}) : 1;
    int64_t filters = dice.pick<int64_t>({16, 16, 32, 40, 48});
    filters = std::max(groups, filters / groups * groups);
    const int weight = parameter({filters, channels / groups, kernel, kernel});
    x = g.op("conv2d", {x, weight, dice.one_in(3) ? -1 : parameter({filters})},
             {{"padding", kernel / 2}, {"stride", stride}, {"groups", groups}});
    channels = filters;
    size = (size - 1) / stride + 1;
    if (!dice.one_in(4))
      x = g.op(dice.pick({"relu", "relu6", "leaky_relu", "sigmoid"}), {x});
    if (stride == 1 && dice.one_in(3)) {
      x = g.op(channels == had ? "add" : "concat", {x, before});
      channels += channels == had ? 0 : had;
    } else if (size > 4 && dice.one_in(3)) {
      x = g.op(dice.pick({"max_pool2d", "avg_pool2d"}), {x}, {{"kernel", int64_t{2}}, {"stride", int64_t{2}}});
      size = g.shape(x)[2].size;
    }
  }
  if (dice.one_in(2)) {
    x = g.op("global_avg_pool", {x});
    size = 1;
  }
  x = g.op("flatten", {x});
  const int weight = parameter({10, channels * size * size});
  x = g.op("dense", {x, weight, parameter({10})});
  g.graph.outputs = {x};
  return g;
}

// What `precision` asks for, computed by the interpreter as it stands.
Reference lowered(const Graph& graph, const NamedTensors& values, int64_t batch)
{
  Program program{{graph}, {}};
  RunOptions only;
  only.only = {"lower_precision"};
  Remarks remarks;
  run_passes(program, Target{}, only, remarks);
  const std::string text = to_string(program.functions[0]);
  CHECK_EQ(to_string(parse_graph(std::make_shared<Source>(Source{"lowered.ir", text}))), text);
  return {graph, values, interpret(program.functions[0], values, batch), batch};
}

void compare(const Graph& graph, const NamedTensors& values, int64_t batch, double tolerance)
{
  const Reference reference = lowered(graph, values, batch);
  for (const char* march : {"native", "x86-64-v3"}) {
    CompileOptions options;
    options.march = march;
    CHECK_EQ(difference(reference, options, tolerance), "");
  }
}

} // namespace

TEST_CASE("drawn networks in bf16 are what the interpreter says")
{
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    DrawnGraph g = draw(seed);
    const int64_t batch = 1 + static_cast<int64_t>(seed % 3);
    const NamedTensors values = drawn_values(g.graph, batch, seed);
    g.graph.precision = LowPrecision{.weights_only = seed % 5 == 0};
    compare(g.graph, values, batch, 1e-2); // a sum that is rounded to the other neighbour is 2^-8 off
  }
}

TEST_CASE("drawn networks in 8-bit integers are what the interpreter says")
{
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    DrawnGraph g = draw(seed);
    const int64_t batch = 1 + static_cast<int64_t>(seed % 3);
    const NamedTensors values = drawn_values(g.graph, batch, seed);
    LowPrecision precision{.type = DType::i8};
    const NamedTensors results = interpret(g.graph, values, batch);
    for (const Value& value : g.graph.values)
      if (value.type.dtype == DType::f32 && value.kind != ValueKind::parameter) {
        const Tensor& tensor = results.at(value.name);
        const int64_t channels = seed % 2 == 0 && tensor.dims.size() > 1 ? tensor.dims[1] : 1,
                      of_image = tensor.size() / tensor.dims[0];
        LowPrecision::Ranges ranges(static_cast<size_t>(channels));
        for (int64_t i = 0; i < tensor.size(); ++i) {
          LowPrecision::Range& range = ranges[static_cast<size_t>(i % of_image / (of_image / channels))];
          range.low = std::min(range.low, tensor.get(i));
          range.high = std::max(range.high, tensor.get(i));
        }
        precision.ranges[value.name] = ranges;
      }
    g.graph.precision = precision;
    compare(g.graph, values, batch, 2e-2); // a number that is rounded to the other neighbour is 1/255 off
  }
}

// A range for each channel of the data: channels of a hundredth of the others' size keep 8 bits of their own.
TEST_CASE("integers with a range for each channel hold small channels beside large ones")
{
  DrawnGraph g;
  const int image = g.input("image", {-1, 32, 6, 6});
  const int weight = g.parameter("w", {16, 32, 3, 3});
  const int result = g.op("conv2d", {image, weight}, {{"padding", int64_t{1}}});
  g.graph.outputs = {result};
  NamedTensors values = drawn_values(g.graph, 2, 1);
  Tensor &x = values.at("image"), &w = values.at("w");
  const auto is_small = [](int64_t i, int64_t channel) { return i / channel % 32 % 2 == 0; };
  for (int64_t i = 0; i < x.size(); ++i)
    x.set(i, std::abs(x.get(i)) * (is_small(i, 36) ? 0.01 : 1));
  for (int64_t i = 0; i < w.size(); ++i)
    w.set(i, w.get(i) * (is_small(i, 9) ? 1 : 0.01)); // both kinds count alike in the sums
  const Tensor expected = interpret(g.graph, values, 2).at(g.graph.values[static_cast<size_t>(result)].name);

  const auto error = [&](const LowPrecision::Ranges& ranges) {
    Graph graph = g.graph;
    graph.precision = LowPrecision{.type = DType::i8, .ranges = {{"image", ranges}}};
    CompileOptions options;
    CHECK_EQ(difference(lowered(graph, values, 2), options, 1e-2), "");
    const Reference found = lowered(graph, values, 2);
    double square = 0, square_of_difference = 0;
    const Tensor& y = found.results.at(g.graph.values[static_cast<size_t>(result)].name);
    for (int64_t i = 0; i < y.size(); ++i) {
      square += expected.get(i) * expected.get(i);
      square_of_difference += (y.get(i) - expected.get(i)) * (y.get(i) - expected.get(i));
    }
    return std::sqrt(square_of_difference / square);
  };
  LowPrecision::Range all;
  LowPrecision::Ranges each(32);
  for (int64_t i = 0; i < x.size(); ++i) {
    all.high = std::max(all.high, x.get(i));
    LowPrecision::Range& channel = each[static_cast<size_t>(i / 36 % 32)];
    channel.high = std::max(channel.high, x.get(i));
  }
  CHECK_LT(error(each), 0.01);
  CHECK_GT(error({all}), 0.05);
}
