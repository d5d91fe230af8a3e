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
  // With `training` the same network as a training step has it.
  DrawNetwork(uint64_t seed, bool training) : dice(seed), training(training) {}

  // Returns the value in front of the softmax.
  int draw()
  {
    channels = dice.pick<int64_t>({1, 3, 6, 8, 16});
    const int64_t rank = dice.pick<int64_t>({1, 2, 2, 2, 2, 3});
    size = {rank == 3 ? dice.number(3, 7) : dice.number(5, 17)};
    while (static_cast<int64_t>(size.size()) < rank)
      size.push_back(dice.one_in(2) ? size[0] : rank == 3 ? dice.number(3, 7) : dice.number(5, 17));
    Numbers dims{-1, channels};
    dims.insert(dims.end(), size.begin(), size.end());
    x = g.input("image", dims);
    for (int64_t layers = dice.number(1, 5); layers > 0; --layers)
      draw_layer();
    if (dice.one_in(4)) {
      x = g.op(dice.pick({"global_avg_pool", "global_max_pool"}), {x});
      size.assign(size.size(), 1);
    }
    x = g.op("flatten", {x});
    int64_t features = channels * points(size);
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
  bool training;
  int x = -1, parameters = 0;
  int64_t channels = 0;
  Numbers size;

  static int64_t points(const Numbers& extents)
  {
    int64_t count = 1;
    for (const int64_t extent : extents)
      count *= extent;
    return count;
  }

  // "conv" => "conv2d"
  std::string windowed(const std::string& stem) const { return stem + std::to_string(size.size()) + "d"; }

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
    switch (dice.number(0, 13)) {
    case 0:
    case 1: pool(); break;
    case 2: branch(); break;
    case 3: activation(); break;
    case 4: x = g.op("mul", {x, g.op("sigmoid", {x})}); break;
    case 5: x = g.op("lrn", {x}, {{"size", dice.number(1, 5)}, {"alpha", 0.5}}); break;
    case 6: transposed(); break;
    case 7: dense_block(); break;
    case 8: half(); break;
    default:
      conv();
      if (dice.one_in(3))
        norm();
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
    const size_t rank = size.size();
    Numbers kernel(rank), stride(rank, 1), dilation(rank, 1), padding(2 * rank);
    for (size_t d = 0; d < rank; ++d) {
      if (same) {
        kernel[d] = dice.pick<int64_t>({1, 3, 5});
        padding[d] = padding[d + rank] = kernel[d] / 2;
        continue;
      }
      kernel[d] = dice.pick<int64_t>({1, 2, 3, 3, 5});
      dilation[d] = dice.pick<int64_t>({1, 1, 1, 2});
      padding[d] = dice.number(0, 2);
      padding[d + rank] = dice.number(0, 2);
      stride[d] = dice.pick<int64_t>({1, 1, 2, 3});
      if (size[d] + padding[d] + padding[d + rank] < dilation[d] * (kernel[d] - 1) + 1)
        kernel[d] = 1;
      size[d] = (size[d] + padding[d] + padding[d + rank] - dilation[d] * (kernel[d] - 1) - 1) / stride[d] + 1;
    }
    while (filters > groups && filters * channels / groups * points(kernel) * points(size) > most_products)
      filters = std::max(groups, filters / 2 / groups * groups);
    Numbers dims{filters, channels / groups};
    dims.insert(dims.end(), kernel.begin(), kernel.end());
    const int weight = parameter(dims);
    x = g.op(windowed("conv"), {x, weight, dice.one_in(4) ? -1 : parameter({filters})},
             {{"stride", stride}, {"padding", padding}, {"dilation", dilation}, {"groups", groups}});
    channels = filters;
  }

  // Twice the size, where that is not too large.
  void transposed()
  {
    const size_t rank = size.size();
    const int64_t filters = dice.pick<int64_t>({1, 3, 8, 16});
    if (filters * channels * points(size) * (1 << rank) > most_products)
      return;
    Numbers dims{channels, filters};
    dims.insert(dims.end(), rank, 2);
    const int weight = parameter(dims);
    x = g.op(windowed("conv_transpose"), {x, weight, dice.one_in(2) ? -1 : parameter({filters})},
             {{"stride", int64_t{2}}});
    channels = filters;
    for (int64_t& extent : size)
      extent *= 2;
  }

  void norm()
  {
    if (dice.one_in(3)) {
      const int weight = parameter({channels});
      x = g.op("instance_norm", {x, weight, parameter({channels})}, {{"epsilon", 0.5}});
      return;
    }
    const std::string number = std::to_string(++parameters);
    const int weight = parameter({channels}), bias = parameter({channels});
    const int mean = g.parameter("mean" + number, {channels}, 0),
              square = g.parameter("square" + number, {channels}, 0);
    x = g.op("batch_norm", {x, weight, bias, mean, square}, {{"epsilon", 0.5}, {"training", training}});
    if (training) {
      const std::vector<int>& results = g.graph.ops.back().outputs;
      g.graph.updates.push_back({mean, results.at(1)});
      g.graph.updates.push_back({square, results.at(2)});
    }
  }

  void pool()
  {
    const size_t rank = size.size();
    Numbers kernel(rank), stride(rank), padding(2 * rank);
    const bool rounds_up = dice.one_in(4);
    for (size_t d = 0; d < rank; ++d) {
      kernel[d] = std::min(size[d], dice.number(1, 3));
      stride[d] = dice.number(1, 3);
      if (kernel[d] > 1 && dice.one_in(3))
        padding[d] = padding[d + rank] = 1;
    }
    x = g.op(windowed(dice.pick({"max_pool", "max_pool", "avg_pool", "lp_pool"})), {x},
             {{"kernel", kernel}, {"stride", stride}, {"padding", padding}, {"ceil_mode", rounds_up}});
    for (size_t d = 0; d < rank; ++d)
      size[d] = g.shape(x)[d + 2].size;
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

  // Every convolution reads all that came before it: joined with the last join, or each with the others anew.
  void dense_block()
  {
    const bool anew = dice.one_in(2);
    std::vector<int> all{x};
    int64_t total = channels;
    for (int64_t layers = dice.number(2, 3); layers > 0; --layers) {
      conv(true);
      activation();
      all.push_back(x);
      total += channels;
      x = g.op("concat", anew ? all : std::vector<int>{all.front(), x});
      if (!anew)
        all = {x};
      channels = total;
    }
  }

  // One half of the channels goes on as it is.
  void half()
  {
    if (channels < 2)
      return;
    const Numbers sizes{channels / 2, channels - channels / 2};
    auto part = [&, from = x](int64_t number) { return g.op("split", {from}, {{"sizes", sizes}, {"part", number}}); };
    const int left = part(0);
    x = part(1);
    channels = sizes[1];
    if (!dice.one_in(4))
      conv(true);
    if (dice.one_in(2))
      activation();
    x = g.op("concat", {left, x});
    channels += sizes[0];
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
    DrawNetwork network(seed, false), trained(seed, true);
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

      DrawnGraph& g = trained.g;
      const int its_logits = trained.draw();
      const int label = g.input("label", {-1}, DType::i32, trained.classes);
      const int loss = g.op("cross_entropy", {its_logits, label});
      g.graph.outputs = {loss};
      Graph gradients = g.graph, step = g.graph;
      gradients.updates.clear();
      gradients.training = Training{loss, nullptr, {}, {"image"}};
      for (const int p : values_of(gradients, ValueKind::parameter))
        if (gradients.values[static_cast<size_t>(p)].rate != 0)
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
