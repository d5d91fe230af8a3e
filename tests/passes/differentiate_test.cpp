// A network's gradients against central differences of the network, both interpreted in double precision.
#include "passes/pass.h"

#include "ir/interpret.h"
#include "passes/convert_precision.h"
#include "tests/ir/formula_fixture.h"

#include <doctest/doctest.h>

namespace cnnc {
void differentiate(Graph&, const Target&, Remarks&);
void gather_scatters(Graph&, const Target&, Remarks&);
} // namespace cnnc

using namespace cnnc;
using namespace cnnc::test;

namespace {

// Two ways from the first convolution to the loss; %scores has two users.
const char* const body = R"(
  parameter @w1: f32[2,1,3,3] = he(9)
  parameter @b1: f32[2] = zero
  parameter @w2: f32[2,2,3,3] = he(18)
  parameter @w3: f32[4,18] = he(18) rate 2
  parameter @frozen: f32[4] = zero rate 0
  %conv1 = conv2d %image, @w1, @b1 {padding = [1, 1, 1, 1]} : f32[n,2,7,7]
  %relu1 = relu %conv1 : f32[n,2,7,7]
  %conv2 = conv2d %relu1, @w2, _ {padding = [1, 1, 1, 1]} : f32[n,2,7,7]
  %both = add %conv2, %relu1 : f32[n,2,7,7]
  %pool = max_pool2d %both {kernel = [3, 3], stride = [2, 2]} : f32[n,2,3,3]
  %flat = flatten %pool : f32[n,18]
  %scores = dense %flat, @w3, @frozen : f32[n,4]
  %p = softmax %scores : f32[n,4]
  %loss = formula %p, %scores, %label {inputs = ["p[N,C]", "s[N,C]", "t[N]:i32"], outputs = ["l[]"],
      text = "l[] += select(c == t[n], s[n,c] * s[n,c] - log(p[n,c]), 0) / N"} : f32[]
  output %loss
)";

Graph parse(const std::string& text)
{
  Graph graph = parse_graph(std::make_shared<Source>(Source{"test.ir", text}));
  verify(graph);
  return graph;
}

std::string net(const std::string& train)
{
  return "net @t(%image: f32[n,1,7,7], %label: i32[n] below 4) {" + std::string(body) + train + "\n}\n";
}

NamedTensors values_for(const Graph& graph)
{
  NamedTensors values;
  uint64_t seed = 1;
  for (const Value& value : graph.values)
    if (value.kind == ValueKind::parameter || value.kind == ValueKind::input || value.kind == ValueKind::state) {
      Tensor tensor = separated_numbers(value.type, seed++);
      for (int64_t i = 0; !is_float(tensor.dtype) && i < tensor.size(); i++)
        tensor.set(i, value.kind == ValueKind::state ? 0 : static_cast<double>((i + 1) % 4));
      if (value.kind == ValueKind::state && is_float(tensor.dtype))
        for (int64_t i = 0; i < tensor.size(); i++)
          tensor.set(i, value.name == "learning_rate" ? 0.1 : 0);
      values.emplace(value.name, std::move(tensor));
    }
  return values;
}

void run_pass(GraphPass pass, Graph& graph)
{
  Remarks remarks;
  pass(graph, Target{}, remarks);
  verify(graph);
}

} // namespace

TEST_CASE("gradients of a network are its differences")
{
  const std::vector<std::string> names = {"image", "w1", "b1", "w2", "w3", "frozen"};
  Graph forward = parse(net(""));
  Graph graph = parse(net(R"(  train %loss {gradients = ["image", "w1", "b1", "w2", "w3", "frozen"]})"));
  convert_precision(forward, DType::f32, DType::f64);
  convert_precision(graph, DType::f32, DType::f64);
  run_pass(differentiate, graph);
  CHECK_FALSE(graph.training);
  NamedTensors values = values_for(forward);
  NamedTensors results = interpret(graph, values, 2, true);
  Graph gathered = graph;
  run_pass(gather_scatters, gathered);
  NamedTensors gathered_results = interpret(gathered, values, 2, true);
  Graph again = parse(to_string(gathered));
  CHECK(to_string(again) == to_string(gathered));

  for (const std::string& name : names) {
    CAPTURE(name);
    const Tensor& gradient = results.at(name + ".gradient");
    const Tensor& from_gathers = gathered_results.at(name + ".gradient");
    Tensor& at = values.at(name);
    REQUIRE(gradient.dims == at.dims);
    for (int64_t i = 0; i < at.size(); i++) {
      const double x = at.get(i), step = 1e-5;
      at.set(i, x + step);
      double above = interpret(forward, values, 2, true).at("loss").get(0);
      at.set(i, x - step);
      double below = interpret(forward, values, 2, true).at("loss").get(0);
      at.set(i, x);
      REQUIRE(gradient.get(i) == doctest::Approx((above - below) / (2 * step)).epsilon(1e-6).scale(1));
      REQUIRE(from_gathers.get(i) == doctest::Approx(gradient.get(i)).epsilon(1e-12).scale(1));
    }
  }
}

TEST_CASE("only what somebody wants is computed")
{
  Graph graph = parse(net(R"(  train %loss {gradients = ["w3"]})"));
  run_pass(differentiate, graph);
  CHECK(graph.find("w3.gradient") >= 0);
  CHECK(graph.find("pool.gradient") < 0);
  CHECK(graph.find("w1.gradient") < 0);
  CHECK(graph.find("both.tap") < 0);
  for (const Op& op : graph.ops)
    if (op.name == "scores.gradient.weight")
      CHECK(op.inputs.size() == 2); // dy and x, in the row's order
}

TEST_CASE("an optimizer updates every trained parameter")
{
  Graph graph = parse(net("  train %loss {optimizer = \"sgd\", learning_rate = 0.25, momentum = 0.5}"));
  run_pass(differentiate, graph);
  CHECK(graph.find("w1.new") >= 0);
  CHECK(graph.find("w1.velocity") >= 0);
  CHECK(graph.find("frozen.new") < 0);
  CHECK(graph.find("image.gradient") < 0);
  REQUIRE(graph.find("learning_rate") >= 0);
  CHECK(graph.values[graph.find("learning_rate")].initial == "constant(0.25)");
  CHECK(graph.updates.size() == 1 + 4 * 2); // the step; four parameters with a velocity each
  Graph again = parse(to_string(graph));
  CHECK(to_string(again) == to_string(graph));

  NamedTensors values = values_for(graph);
  NamedTensors results = interpret(graph, values, 2, true);
  CHECK(results.at("step").get(0) == 1);
  for (std::string name : {"w1", "w3"}) {
    double rate = name == "w3" ? 0.2 : 0.1;
    for (int64_t i = 0; i < values.at(name).size(); i++)
      CHECK(results.at(name).get(i) ==
            doctest::Approx(values.at(name).get(i) - rate * results.at(name + ".gradient").get(i)).epsilon(1e-6));
  }
}

TEST_CASE("what cannot be differentiated is an error with its place")
{
  Remarks remarks;
  Graph graph = parse(net("  train %loss {gradients = [\"w1\"]}"));
  graph.training->gradients = {"nothing"};
  CHECK_THROWS_AS(differentiate(graph, Target{}, remarks), Error);
  graph = parse(net("  train %loss {gradients = [\"w1\"]}"));
  graph.training->gradients = {"label"};
  CHECK_THROWS_AS(differentiate(graph, Target{}, remarks), Error);
}
