// Every row of the op table, forward and backward, at drawn shapes and attributes: machine code against the
// interpreter. -O2 for all of them, the other levels and older machines for some. CNNC_DRAWS sets how many.
#include "tests/compiler/draw.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <functional>
#include <map>

using namespace cnnc;
using namespace cnnc::test;

namespace {

using Numbers = std::vector<int64_t>;

// The op's result.
using DrawOp = std::function<int(Dice&, DrawnGraph&)>;

struct DrawnWindow {
  Numbers kernel, stride, dilation, padding, in, out;
};

// Windows that fit; `deepest`: padding never takes a whole window.
DrawnWindow draw_window(Dice& dice, bool is_dilated, bool touches)
{
  DrawnWindow w{{0, 0}, {0, 0}, {1, 1}, {0, 0, 0, 0}, {0, 0}, {0, 0}};
  for (size_t d = 0; d < 2; ++d) {
    w.kernel[d] = dice.number(1, 4);
    w.stride[d] = dice.number(1, 3);
    w.dilation[d] = is_dilated ? dice.pick<int64_t>({1, 1, 2, 3}) : 1;
    const int64_t span = w.dilation[d] * (w.kernel[d] - 1);
    const int64_t most = touches ? std::min<int64_t>(2, span) : 2;
    if (!dice.one_in(3)) {
      w.padding[d] = dice.number(0, most);
      w.padding[d + 2] = dice.number(0, most);
    }
    const int64_t padded = w.padding[d] + w.padding[d + 2];
    w.in[d] = std::max<int64_t>(1, span + 1 - padded) + dice.number(0, dice.one_in(4) ? 24 : 9);
    w.out[d] = (w.in[d] + padded - span - 1) / w.stride[d] + 1;
  }
  return w;
}

int64_t draw_channels(Dice& dice)
{
  return dice.pick<int64_t>({1, 2, 3, 5, 6, 8, 16, 17, 20, 32});
}

// [n, ...] of some rank.
Numbers draw_shape(Dice& dice, int64_t least_rank, int64_t most_rank)
{
  const int64_t rank = dice.number(least_rank, most_rank);
  Numbers dims{-1};
  while (static_cast<int64_t>(dims.size()) < rank)
    dims.push_back(rank <= 2 ? dice.number(1, 70) : dice.pick<int64_t>({1, 2, 3, 4, 7, 8, 16, 17}));
  return dims;
}

int conv2d(Dice& dice, DrawnGraph& g)
{
  const DrawnWindow w = draw_window(dice, true, false);
  const int64_t groups = dice.pick<int64_t>({1, 1, 1, 2, 3, 8, 17});
  const int64_t channels = groups > 2 ? dice.number(1, 2) : draw_channels(dice);
  const int64_t filters = groups > 2 ? dice.number(1, 2) : draw_channels(dice);
  const int x = g.input("x", {-1, channels * groups, w.in[0], w.in[1]});
  const int weight = g.parameter("w", {filters * groups, channels, w.kernel[0], w.kernel[1]});
  const int bias = dice.one_in(3) ? -1 : g.parameter("b", {filters * groups});
  return g.op("conv2d", {x, weight, bias},
              {{"stride", w.stride},
               {"padding", w.padding},
               {"dilation", w.dilation},
               {"groups", groups},
               {"flip", dice.one_in(5)}});
}

int local2d(Dice& dice, DrawnGraph& g)
{
  const DrawnWindow w = draw_window(dice, false, false);
  const int64_t channels = dice.number(1, 5), filters = dice.pick<int64_t>({1, 2, 5, 8});
  const int x = g.input("x", {-1, channels, w.in[0], w.in[1]});
  const int weight = g.parameter("w", {filters, w.out[0], w.out[1], channels, w.kernel[0], w.kernel[1]});
  const int bias = dice.one_in(3) ? -1 : g.parameter("b", {filters, w.out[0], w.out[1]});
  return g.op("local2d", {x, weight, bias}, {{"stride", w.stride}, {"padding", w.padding}});
}

int max_pool2d(Dice& dice, DrawnGraph& g)
{
  const DrawnWindow w = draw_window(dice, true, true);
  const int x = g.input("x", {-1, draw_channels(dice), w.in[0], w.in[1]});
  return g.op("max_pool2d", {x},
              {{"kernel", w.kernel}, {"stride", w.stride}, {"padding", w.padding}, {"dilation", w.dilation}});
}

int avg_pool2d(Dice& dice, DrawnGraph& g)
{
  const DrawnWindow w = draw_window(dice, false, true);
  const int x = g.input("x", {-1, draw_channels(dice), w.in[0], w.in[1]});
  return g.op(
      "avg_pool2d", {x},
      {{"kernel", w.kernel}, {"stride", w.stride}, {"padding", w.padding}, {"count_include_pad", dice.one_in(2)}});
}

int global_avg_pool(Dice& dice, DrawnGraph& g)
{
  return g.op("global_avg_pool", {g.input("x", {-1, draw_channels(dice), dice.number(1, 12), dice.number(1, 12)})});
}

DrawOp pointwise(const std::string& name, int64_t least_rank = 1, int64_t most_rank = 4)
{
  return [=](Dice& dice, DrawnGraph& g) { return g.op(name, {g.input("x", draw_shape(dice, least_rank, most_rank))}); };
}

int leaky_relu(Dice& dice, DrawnGraph& g)
{
  return g.op("leaky_relu", {g.input("x", draw_shape(dice, 1, 4))}, {{"slope", dice.pick({0.01, 0.0, 0.2, 1.0})}});
}

int dropout(Dice& dice, DrawnGraph& g)
{
  const int x = g.input("x", draw_shape(dice, 1, 4)), key = g.input("key", {}, DType::i64),
            step = g.input("step", {}, DType::i64);
  return g.op("dropout", {x, key, step}, {{"rate", dice.pick({0.0, 0.3, 0.5, 0.9})}, {"salt", dice.number(0, 99)}});
}

int dense(Dice& dice, DrawnGraph& g)
{
  const int64_t inputs = dice.number(1, dice.one_in(3) ? 400 : 40), units = dice.number(1, dice.one_in(3) ? 130 : 20);
  const int x = g.input("x", {-1, inputs}), weight = g.parameter("w", {units, inputs});
  return g.op("dense", {x, weight, dice.one_in(3) ? -1 : g.parameter("b", {units})});
}

// The second operand lacks dimensions in front, or repeats some.
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

const std::map<std::string, DrawOp> draws = {
    {"conv2d", conv2d},
    {"local2d", local2d},
    {"max_pool2d", max_pool2d},
    {"avg_pool2d", avg_pool2d},
    {"global_avg_pool", global_avg_pool},
    {"relu", pointwise("relu")},
    {"leaky_relu", leaky_relu},
    {"sigmoid", pointwise("sigmoid")},
    {"tanh", pointwise("tanh")},
    {"dropout", dropout},
    {"flatten", pointwise("flatten", 1)},
    {"dense", dense},
    {"add", broadcast("add")},
    {"mul", broadcast("mul")},
    {"concat", concat},
    {"copy", pointwise("copy")},
    {"softmax", pointwise("softmax", 2)},
    {"cross_entropy", cross_entropy},
    {"sgd", sgd},
    {"adam", adam},
};

// The op alone with all its outputs, and the way back to all that has a gradient.
std::pair<Graph, std::optional<Graph>> graphs_for(const OpDef& def, const DrawOp& draw, uint64_t seed)
{
  Dice dice(seed);
  DrawnGraph drawn;
  const int y = draw(dice, drawn);
  Graph forward = drawn.graph;
  forward.outputs = forward.ops[0].outputs;
  if (!def.no_gradient.empty())
    return {forward, {}};
  Training training;
  training.loss = def.is_loss ? y : drawn.weighted_sum(y);
  for (const int v : forward.ops[0].inputs)
    if (v >= 0 && is_float(forward.values[static_cast<size_t>(v)].type.dtype))
      training.gradients.push_back(forward.values[static_cast<size_t>(v)].name);
  drawn.graph.outputs = {training.loss};
  drawn.graph.training = training;
  return {forward, drawn.graph};
}

} // namespace

TEST_CASE("every op, forward and backward, is what the interpreter says at every level")
{
  const char* given = std::getenv("CNNC_DRAWS");
  const uint64_t count = given ? std::strtoull(given, nullptr, 10) : 30;
  for (const OpDef* def : op_table()) {
    const auto found = draws.find(def->name);
    REQUIRE_MESSAGE(found != draws.end(), "no draws for the op " << def->name);
    for (uint64_t seed = 1; seed <= count; ++seed) {
      CAPTURE(def->name);
      CAPTURE(seed);
      const auto [forward, backward] = graphs_for(*def, found->second, seed);
      const auto batch = static_cast<int64_t>(1 + seed % 5);
      std::vector<CompileOptions> options(1);
      if (seed % 6 == 0)
        for (const int level : {0, 1, 3})
          options.emplace_back().level = level;
      if (seed % 10 == 1)
        for (const char* march : {"x86-64-v3", "x86-64"})
          options.emplace_back().march = march;
      const Reference of_forward = reference_for(forward, batch, seed);
      std::optional<Reference> of_backward;
      if (backward)
        of_backward = reference_for(*backward, batch, seed);
      for (const CompileOptions& option : options) {
        try {
          CHECK_EQ(difference(of_forward, option, 1e-5), "");
          if (of_backward)
            CHECK_EQ(difference(*of_backward, option, 1e-5), "");
        } catch (const std::exception& error) {
          FAIL_CHECK("-O" << option.level << " -march=" << option.march << ": " << error.what() << "\n"
                          << to_string(backward ? *backward : forward));
        }
      }
    }
  }
}
