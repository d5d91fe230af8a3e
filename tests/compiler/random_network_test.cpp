// Drawn networks: forward at -O2 against the interpreter; of every fifth all levels, gradients, and a step of training.
// CNNC_NETWORKS sets how many.
#include "tests/compiler/draw.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

using namespace cnnc;
using namespace cnnc::test;

namespace {

using Numbers = std::vector<int64_t>;

constexpr int64_t most_products = 400000; // of one layer, one image: the interpreter is slow

class DrawNetwork {
public:
  explicit DrawNetwork(uint64_t seed) : dice(seed) {}

  // Returns the value in front of the softmax.
  int draw()
  {
    channels = dice.pick<int64_t>({1, 3, 6, 8, 16});
    height = dice.number(5, 17);
    width = dice.one_in(2) ? height : dice.number(5, 17);
    x = g.input("image", {-1, channels, height, width});
    for (int64_t layers = dice.number(1, 5); layers > 0; --layers)
      draw_layer();
    if (dice.one_in(4)) {
      x = g.op("global_avg_pool", {x});
      height = width = 1;
    }
    x = g.op("flatten", {x});
    int64_t features = channels * height * width;
    if (dice.one_in(2)) {
      const int64_t units = dice.pick<int64_t>({7, 16, 33, 64});
      dense(features, units);
      activation();
      features = units;
    }
    classes = dice.pick<int64_t>({2, 10, 16, 17});
    dense(features, classes);
    return x;
  }

  DrawnGraph g;
  int64_t classes = 0;

private:
  Dice dice;
  int x = -1, parameters = 0;
  int64_t channels = 0, height = 0, width = 0;

  int parameter(const Numbers& dims)
  {
    return g.parameter("p" + std::to_string(++parameters), dims, dice.pick({1.0, 1.0, 1.0, 2.0, 0.5}));
  }

  void dense(int64_t inputs, int64_t units)
  {
    const int weight = parameter({units, inputs});
    x = g.op("dense", {x, weight, dice.one_in(4) ? -1 : parameter({units})});
  }

  void activation() { x = g.op(dice.pick({"relu", "relu", "leaky_relu", "sigmoid", "tanh"}), {x}); }

  void draw_layer()
  {
    switch (dice.number(0, 9)) {
    case 0:
    case 1: pool(); break;
    case 2: branch(); break;
    case 3: activation(); break;
    case 4: x = g.op("mul", {x, g.op("sigmoid", {x})}); break;
    default:
      conv();
      if (!dice.one_in(3))
        activation();
      if (dice.one_in(3))
        pool();
    }
  }

  // Another size, unless `same`.
  void conv(bool same = false)
  {
    int64_t filters = dice.pick<int64_t>({1, 3, 6, 8, 16, 20, 32, 48}), groups = 1;
    if (dice.one_in(4)) {
      groups = channels % 2 == 0 && dice.one_in(2) ? 2 : channels;
      filters = groups * dice.number(1, 2);
    }
    Numbers kernel(2), stride{1, 1}, dilation{1, 1}, padding(4);
    Numbers size{height, width};
    for (size_t d = 0; d < 2; ++d) {
      if (same) {
        kernel[d] = dice.pick<int64_t>({1, 3, 5});
        padding[d] = padding[d + 2] = kernel[d] / 2;
        continue;
      }
      kernel[d] = dice.pick<int64_t>({1, 2, 3, 3, 5});
      dilation[d] = dice.pick<int64_t>({1, 1, 1, 2});
      padding[d] = dice.number(0, 2);
      padding[d + 2] = dice.number(0, 2);
      stride[d] = dice.pick<int64_t>({1, 1, 2, 3});
      if (size[d] + padding[d] + padding[d + 2] < dilation[d] * (kernel[d] - 1) + 1)
        kernel[d] = 1;
      size[d] = (size[d] + padding[d] + padding[d + 2] - dilation[d] * (kernel[d] - 1) - 1) / stride[d] + 1;
    }
    while (filters > groups && filters * channels / groups * kernel[0] * kernel[1] * size[0] * size[1] > most_products)
      filters = std::max(groups, filters / 2 / groups * groups);
    const int weight = parameter({filters, channels / groups, kernel[0], kernel[1]});
    x = g.op("conv2d", {x, weight, dice.one_in(4) ? -1 : parameter({filters})},
             {{"stride", stride}, {"padding", padding}, {"dilation", dilation}, {"groups", groups}});
    channels = filters;
    height = size[0];
    width = size[1];
  }

  void pool()
  {
    Numbers kernel(2), stride(2), padding(4), size{height, width};
    for (size_t d = 0; d < 2; ++d) {
      kernel[d] = std::min(size[d], dice.number(1, 3));
      stride[d] = dice.number(1, 3);
      if (kernel[d] > 1 && dice.one_in(3))
        padding[d] = padding[d + 2] = 1;
      size[d] = (size[d] + padding[d] + padding[d + 2] - kernel[d]) / stride[d] + 1;
    }
    x = g.op(dice.one_in(2) ? "max_pool2d" : "avg_pool2d", {x},
             {{"kernel", kernel}, {"stride", stride}, {"padding", padding}});
    height = size[0];
    width = size[1];
  }

  // Two ways that meet again: added where the channels agree, else one behind the other.
  void branch()
  {
    const int before = x;
    const int64_t had = channels;
    conv(true);
    activation();
    if (channels == had && !dice.one_in(3)) {
      x = g.op("add", {x, before});
    } else {
      x = g.op("concat", {x, before});
      channels += had;
    }
  }
};

std::string read_back(const Graph& graph)
{
  const std::string text = to_string(graph);
  return to_string(parse_graph(std::make_shared<Source>(Source{"drawn.ir", text}))) == text ? "" : text;
}

} // namespace

TEST_CASE("drawn networks are what the interpreter says")
{
  const char* given = std::getenv("CNNC_NETWORKS");
  const uint64_t count = given ? std::strtoull(given, nullptr, 10) : 300;
  for (uint64_t seed = 1; seed <= count; ++seed) {
    CAPTURE(seed);
    DrawNetwork network(seed);
    const int logits = network.draw();
    Graph forward = network.g.graph;
    const auto batch = static_cast<int64_t>(1 + seed % 3);
    try {
      forward.outputs = {
          forward.ops[static_cast<size_t>(forward.add_op(*find_op("softmax"), "softmax", {logits}, {}, {}))]
              .outputs[0]};
      CHECK_EQ(read_back(forward), "");
      const Reference reference = reference_for(forward, batch, seed);
      std::vector<int> levels{2};
      if (seed % 5 == 0)
        levels = {0, 1, 2, 3};
      for (const int level : levels) {
        CompileOptions options;
        options.level = level;
        CHECK_EQ(difference(reference, options, 2e-5), "");
      }
      if (seed % 5 != 0)
        continue;

      DrawnGraph& g = network.g;
      const int label = g.input("label", {-1}, DType::i32, network.classes);
      const int loss = g.op("cross_entropy", {logits, label});
      g.graph.outputs = {loss};
      Graph gradients = g.graph, step = g.graph;
      gradients.training = Training{loss, nullptr, {}, {"image"}};
      for (const int p : values_of(gradients, ValueKind::parameter))
        gradients.training->gradients.push_back(gradients.values[static_cast<size_t>(p)].name);
      CHECK_EQ(read_back(gradients), "");
      const OpDef* optimizer = find_op("sgd");
      step.training =
          Training{loss,
                   optimizer,
                   check_attributes(
                       *optimizer,
                       {{"learning_rate", 0.1}, {"momentum", 0.9}, {"nesterov", seed % 2 == 0}, {"weight_decay", 0.01}},
                       false, {}),
                   {}};
      CHECK_EQ(read_back(step), "");
      const Reference of_gradients = reference_for(gradients, batch, seed), of_step = reference_for(step, batch, seed);
      for (const int level : levels) {
        CompileOptions options;
        options.level = level;
        CHECK_EQ(difference(of_gradients, options, 2e-5), "");
        CHECK_EQ(train_difference(forward, of_step, options, 2e-5), "");
      }
    } catch (const std::exception& error) {
      FAIL_CHECK(error.what() << "\n" << to_string(network.g.graph));
    }
  }
}
