// Values that follow from parameters alone: right after every call that writes a parameter, and in what is embedded.
#include "compiler/compile.h"
#include "compiler/interface.h"
#include "compiler/yaml_reader.h"
#include "tests/compiler/draw.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <unistd.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

constexpr int64_t batch = 3;

// Sums of few terms, depthwise, and of more terms than a factor is folded into.
const char* const yaml = R"(name: normal
input: {image: [3, 9, 9]}
layers:
  - conv2d: {filters: 16, kernel: 3, padding: 1, bias: false, name: first}
  - batch_norm: {name: norm1}
  - relu
  - conv2d: {filters: 16, kernel: 3, padding: 1, groups: 16, name: depthwise}
  - batch_norm: {name: norm2, epsilon: EPSILON}
  - relu
  - conv2d: {filters: 20, kernel: 5, name: last}
  - batch_norm: {name: norm3}
  - relu
  - flatten
  - dense: {units: 4, name: logits}
  - softmax
train:
  loss: cross_entropy
  optimizer: {sgd: {learning_rate: 0.1, momentum: 0.9}}
)";

Network network(const std::string& epsilon = "0.001")
{
  std::string text = yaml;
  text.replace(text.find("EPSILON"), 7, epsilon);
  return read_yaml(std::make_shared<const Source>(Source{"normal.yaml", text}));
}

Compiled compiled(int level, const std::string& epsilon = "0.001")
{
  CompileOptions options;
  options.train = true;
  options.level = level;
  return compile(network(epsilon), options);
}

struct Memory {
  explicit Memory(int64_t bytes)
      : at(std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64))),
        size(static_cast<size_t>(bytes))
  {
    std::memset(at, 0xff, (size + 63) / 64 * 64);
  }
  ~Memory() { std::free(at); }
  Memory(const Memory&) = delete;
  operator void*() const { return at; }
  void* at;
  size_t size;
};

// Variances are positive.
NamedTensors drawn(const Network& network, uint64_t seed)
{
  NamedTensors values = drawn_values(network.forward, batch, seed);
  for (auto& [name, tensor] : values)
    if (name.ends_with("running_var"))
      for (int64_t i = 0; i < tensor.size(); ++i)
        tensor.set(i, 0.3 + std::abs(tensor.get(i)));
  return values;
}

void set_all(const cnn_model& model, void* block, const NamedTensors& values)
{
  for (int32_t p = 0; p < model.parameter_count; ++p) {
    const Tensor& tensor = values.at(model.parameters[p].name);
    REQUIRE(model.set_parameter(block, model.parameters[p].name, tensor.bytes.data(), tensor.size()) == CNN_OK);
  }
}

NamedTensors get_all(const cnn_model& model, const void* block, const NamedTensors& like)
{
  NamedTensors values = like;
  for (int32_t p = 0; p < model.parameter_count; ++p) {
    Tensor& tensor = values.at(model.parameters[p].name);
    REQUIRE(model.get_parameter(block, model.parameters[p].name, tensor.bytes.data(), tensor.size()) == CNN_OK);
  }
  return values;
}

std::vector<float> forward(const cnn_model& model, const void* block, const Tensor& image)
{
  std::vector<float> softmax(static_cast<size_t>(batch * 4));
  const Memory workspace(model.workspace_bytes(batch, 1, CNN_FORWARD));
  const void* in[] = {image.bytes.data()};
  void* out[] = {softmax.data()};
  REQUIRE(model.forward(block, batch, in, out, workspace, nullptr) == CNN_OK);
  return softmax;
}

double distance(const std::vector<float>& found, const Tensor& wanted)
{
  double largest = 0;
  for (size_t i = 0; i < found.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(found[i]) - wanted.get(static_cast<int64_t>(i))));
  return largest;
}

// Of what the block's parameters say, by the formulas.
double error(const cnn_model& model, const void* block, const Network& network, const NamedTensors& values)
{
  return distance(forward(model, block, values.at("image")),
                  interpret(network.forward, get_all(model, block, values), batch, true).at("softmax"));
}

constexpr double tolerance = 2e-5;

} // namespace

TEST_CASE("prepare: forward follows every parameter that is set")
{
  const Network net = network();
  const NamedTensors values = drawn(net, 1), others = drawn(net, 2);
  for (const int level : {0, 1, 2}) {
    CAPTURE(level);
    const Compiled made = compiled(level);
    const LoadedModel loaded = load(made);
    const cnn_model& model = *loaded.model;
    CHECK(interface_of(made.program, made.info()).prepared.empty() == (level == 0));
    const Memory block(model.parameter_bytes);
    REQUIRE(model.init_parameters(block, 5) == CNN_OK);
    CHECK(error(model, block, net, values) < tolerance);
    set_all(model, block, values);
    CHECK(error(model, block, net, values) < tolerance);
    for (int32_t p = 0; p < model.parameter_count; ++p) {
      CAPTURE(model.parameters[p].name);
      const Tensor& tensor = others.at(model.parameters[p].name);
      REQUIRE(model.set_parameter(block, model.parameters[p].name, tensor.bytes.data(), tensor.size()) == CNN_OK);
      CHECK(error(model, block, net, values) < tolerance);
    }
  }
}

TEST_CASE("prepare: forward follows training, files and copies")
{
  const Network net = network();
  const NamedTensors values = drawn(net, 3);
  const LoadedModel loaded = load(compiled(2));
  const cnn_model& model = *loaded.model;
  const Memory block(model.parameter_bytes), again(model.parameter_bytes), state(model.state_bytes);
  REQUIRE(model.init_parameters(block, 5) == CNN_OK);
  REQUIRE(model.init_parameters(again, 5) == CNN_OK);
  CHECK(std::memcmp(block, again, block.size) == 0);
  REQUIRE(model.init_state(state, 5) == CNN_OK);
  const int32_t label[] = {1, 0, 3};
  const void* in[] = {values.at("image").bytes.data(), label};
  const Memory workspace(
      std::max(model.workspace_bytes(batch, 1, CNN_TRAIN), model.workspace_bytes(batch, 1, CNN_GRADIENTS)));
  float loss = 0;
  for (int step = 0; step < 3; ++step) {
    REQUIRE(model.train_step(block, state, batch, in, &loss, workspace, nullptr) == CNN_OK);
    CHECK(error(model, block, net, values) < tolerance);
  }
  const std::vector<float> trained = forward(model, block, values.at("image"));
  CHECK(trained != forward(model, again, values.at("image")));

  const std::string path =
      (std::filesystem::temp_directory_path() / ("cnnc-prepare-" + std::to_string(getpid()) + ".safetensors")).string();
  REQUIRE(model.save_parameters(block, path.c_str()) == CNN_OK);
  REQUIRE(model.load_parameters(again, path.c_str()) == CNN_OK);
  std::filesystem::remove(path);
  CHECK(forward(model, again, values.at("image")) == trained);
  const Memory copy(model.parameter_bytes);
  std::memcpy(copy, block, block.size);
  CHECK(forward(model, copy, values.at("image")) == trained);

  // A block of gradients has the shape of parameters; nothing is prepared there.
  const Memory gradients(model.parameter_bytes);
  REQUIRE(model.gradients(block, state, batch, in, &loss, gradients, workspace, nullptr) == CNN_OK);
  double largest = 0;
  for (const auto& [name, tensor] : get_all(model, gradients, values))
    for (int64_t i = 0; name != "image" && i < tensor.size(); ++i)
      largest = std::max(largest, std::abs(tensor.get(i)));
  CHECK(largest > 0);
  CHECK(largest < 1e3);
}

TEST_CASE("prepare: what is embedded is what would be loaded")
{
  const Network net = network();
  Compiled made = compiled(2);
  const NamedTensors values = drawn(net, 4);
  const LoadedModel plain = load(made);
  const Memory block(plain.model->parameter_bytes);
  REQUIRE(plain.model->init_parameters(block, 5) == CNN_OK);
  set_all(*plain.model, block, values);
  const std::vector<float> expected = forward(*plain.model, block, values.at("image"));

  made.weights = values;
  made.weights.erase("image");
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("cnnc-prepare-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  write_library(made.program, made.target, made.info(), folder / "normal.so");
  // Code that cannot run here is embedded with what this machine computes.
  Compiled foreign = made;
  foreign.target.features += ",+fma4,+avx512fp16";
  write_library(foreign.program, foreign.target, foreign.info(), folder / "foreign.so");
  {
    const LoadedModel jit = load(made), library = LoadedModel::from_library(folder / "normal.so"),
                      other = LoadedModel::from_library(folder / "foreign.so");
    const Interface interface = interface_of(made.program, made.info());
    for (const cnn_model* model : {jit.model, library.model, other.model}) {
      REQUIRE(model->embedded != nullptr);
      CHECK(std::memcmp(model->embedded, block, static_cast<size_t>(interface.scratch)) == 0);
      const Memory first(model->parameter_bytes);
      REQUIRE(model->init_parameters(first, 77) == CNN_OK);
      CHECK(std::memcmp(first, model->embedded, first.size) == 0);
      CHECK(forward(*plain.model, first, values.at("image")) == expected);
    }
    CHECK(forward(*library.model, library.model->embedded, values.at("image")) == expected);
  }
  std::filesystem::remove_all(folder);

  // Some are known, the others are drawn: then nothing is prepared before.
  made.weights.clear();
  for (Graph& graph : made.program.functions)
    if (const int v = graph.find("norm1.weight"); v >= 0)
      graph.values[static_cast<size_t>(v)].data = std::make_shared<const Tensor>(values.at("norm1.weight"));
  const LoadedModel partly = load(made);
  CHECK(partly.model->embedded == nullptr);
  REQUIRE(partly.model->init_parameters(block, 5) == CNN_OK);
  CHECK(error(*partly.model, block, net, values) < tolerance);
}

TEST_CASE("prepare: a block of a network that prepares otherwise is refused")
{
  const LoadedModel one = load(compiled(2)), other = load(compiled(2, "0.002"));
  CHECK(one.model->parameter_bytes == other.model->parameter_bytes);
  const Memory block(one.model->parameter_bytes);
  REQUIRE(one.model->init_parameters(block, 5) == CNN_OK);
  float value[4];
  CHECK(one.model->get_parameter(block, "logits.bias", value, 4) == CNN_OK);
  CHECK(other.model->get_parameter(block, "logits.bias", value, 4) == CNN_BAD_PARAMETERS);
}

TEST_CASE("prepare: callers see parameters and nothing else")
{
  const Compiled made = compiled(2);
  const LoadedModel loaded = load(made);
  const cnn_model& model = *loaded.model;
  CHECK(static_cast<size_t>(model.parameter_count) == values_of(network().forward, ValueKind::parameter).size());
  const Interface interface = interface_of(made.program, made.info());
  REQUIRE(!interface.prepared.empty());
  const Memory block(model.parameter_bytes);
  REQUIRE(model.init_parameters(block, 5) == CNN_OK);
  for (const Interface::TensorInfo& prepared : interface.prepared) {
    float value = 0;
    CHECK(model.get_parameter(block, prepared.name.c_str(), &value, 1) == CNN_NOT_FOUND);
  }
  // The text of the lowered program is the whole of it.
  const std::string text = to_string(made.program);
  const Program read = parse_program(std::make_shared<const Source>(Source{"normal.ir", text}));
  CHECK(to_string(read) == text);
}
