// Small models, made here: what reading makes of them, what survives import and export, and what is refused.
#include "compiler/onnx/export.h"
#include "compiler/onnx/proto.h"
#include "compiler/onnx/reader.h"
#include "compiler/yaml_reader.h"
#include "compiler/yaml_writer.h"
#include "ir/random.h"
#include "tests/folder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <unistd.h>

using namespace cnnc;
using cnnc::test::Folder;
namespace fs = std::filesystem;

namespace {

OnnxTensor random(std::vector<int64_t> dims, uint64_t seed, double low = -1, double high = 1)
{
  auto tensor = std::make_shared<Tensor>(DType::f32, std::move(dims));
  for (int64_t i = 0; i < tensor->size(); ++i)
    tensor->set(i, low + (high - low) * random_unit(seed_key(seed), static_cast<uint64_t>(i)));
  return tensor;
}

OnnxTensor integers(const std::vector<int64_t>& values)
{
  auto tensor = std::make_shared<Tensor>(DType::i64, std::vector<int64_t>{static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor->data<int64_t>());
  return tensor;
}

OnnxTensor number(double value)
{
  auto tensor = std::make_shared<Tensor>(DType::f32, std::vector<int64_t>{});
  tensor->set(0, value);
  return tensor;
}

OnnxInfo info(const std::string& name, const std::vector<int64_t>& dims, const std::string& batch = "")
{
  OnnxInfo result{name, DType::f32, std::vector<OnnxExtent>{}};
  for (const int64_t dim : dims)
    result.shape->push_back({dim, ""});
  if (!batch.empty())
    result.shape->at(0) = {{}, batch};
  return result;
}

using Attributes_ = std::map<std::string, OnnxValue, std::less<>>;

// A chain: each node reads what the one before makes, and initializers.
struct Model : OnnxModel {
  explicit Model(std::vector<int64_t> dims, int64_t version = 13, const std::string& batch = "")
  {
    opset = version;
    name = "test";
    inputs.push_back(info("x", dims, batch));
  }
  Model& add(const std::string& op, std::vector<std::string> more = {}, Attributes_ attributes = {})
  {
    OnnxNode node;
    node.op = op;
    node.name = fmt::format("{}_{}", op, nodes.size());
    more.insert(more.begin(), last);
    node.inputs = std::move(more);
    last = fmt::format("t{}", nodes.size());
    node.outputs = {last};
    node.attributes = std::move(attributes);
    nodes.push_back(std::move(node));
    return *this;
  }
  Model& tensor(const std::string& tensor_name, OnnxTensor data)
  {
    initializers[tensor_name] = std::move(data);
    return *this;
  }
  Model& output()
  {
    outputs = {{last, DType::f32, {}}};
    return *this;
  }
  std::string last = "x";
};

Network read(const OnnxModel& model)
{
  const Folder folder;
  write_onnx(folder / "m.onnx", model);
  return read_onnx(folder / "m.onnx");
}

Tensor outcome(const Network& network, const Tensor& x, const NamedTensors& more = {})
{
  NamedTensors values = more;
  for (const int parameter : values_of(network.forward, ValueKind::parameter))
    if (const Value& value = network.forward.values[static_cast<size_t>(parameter)]; value.data)
      values.emplace(value.name, *value.data);
  for (const int input : values_of(network.forward, ValueKind::input))
    values.emplace(network.forward.values[static_cast<size_t>(input)].name, x);
  const NamedTensors all = interpret(network.forward, values, x.dims.empty() ? 1 : x.dims[0]);
  return all.at(network.forward.values[static_cast<size_t>(network.forward.outputs.at(0))].name);
}

void check_equal(const Tensor& a, const Tensor& b, double tolerance = 1e-5)
{
  REQUIRE(a.dims == b.dims);
  for (int64_t i = 0; i < a.size(); ++i)
    REQUIRE(std::abs(a.get(i) - b.get(i)) <= tolerance * (1 + std::abs(b.get(i))));
}

std::vector<std::string> ops(const Network& network)
{
  std::vector<std::string> names;
  for (const Op& op : network.forward.ops)
    names.push_back(op.def->name);
  return names;
}

Model small_network(int64_t opset = 13, const std::string& batch = "N")
{
  Model m({1, 3, 8, 8}, opset, batch);
  m.tensor("w", random({8, 3, 3, 3}, 1)).tensor("b", random({8}, 2)).tensor("s", random({8}, 3, 0.5, 2));
  m.tensor("m", random({8}, 4)).tensor("v", random({8}, 5, 0.5, 2)).tensor("d", random({5, 32}, 6));
  m.tensor("shape", integers({0, -1})).tensor("e", random({5}, 7));
  m.add("Conv", {"w", "b"}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}})
      .add("BatchNormalization", {"s", "b", "m", "v"})
      .add("Relu")
      .add("MaxPool", {}, {{"kernel_shape", std::vector<int64_t>{4, 4}}, {"strides", std::vector<int64_t>{4, 4}}})
      .add("Reshape", {"shape"})
      .add("Gemm", {"d", "e"}, {{"transB", int64_t{1}}})
      .add("Softmax", {}, {{"axis", int64_t{1}}})
      .output();
  return m;
}

} // namespace

TEST_CASE("onnx: a batch norm becomes part of its convolution, and shapes vanish")
{
  const Network network = read(small_network());
  CHECK(ops(network) == std::vector<std::string>{"conv2d", "relu", "max_pool2d", "reshape", "dense", "softmax"});
  CHECK(has_batch(network.forward.values[static_cast<size_t>(network.forward.outputs[0])].type.shape));
  CHECK(network.forward.find("Conv_0.weight") >= 0);
  // The same without folding: the statistics come through another reader.
  Model apart = small_network();
  apart.outputs.push_back({"t0", DType::f32, {}});
  const Network whole = read(apart);
  const Tensor x = *random({3, 3, 8, 8}, 9);
  check_equal(outcome(network, x), outcome(whole, x));
}

TEST_CASE("onnx: an output keeps its name where a node vanishes before it")
{
  Model m({1, 4}, 13, "N");
  m.tensor("w", random({4, 3}, 1)).add("MatMul", {"w"}).add("Identity");
  m.nodes.back().outputs = {"scores"};
  m.last = "scores";
  const Network network = read(m.output());
  CHECK(ops(network) == std::vector<std::string>{"dense"});
  CHECK(network.forward.values[static_cast<size_t>(network.forward.outputs[0])].name == "scores");
  CHECK(network.forward.find("scores.weight") >= 0);
}

TEST_CASE("onnx: a first dimension of 1 is the batch, unless something holds to it")
{
  const Network free = read(small_network(13, ""));
  CHECK(has_batch(free.forward.values[0].type.shape));
  Model mixed({1, 4}, 13);
  mixed.add("ReduceMean", {}, {{"axes", std::vector<int64_t>{0}}}).output();
  CHECK_FALSE(has_batch(read(mixed).forward.values[0].type.shape));
  Model fixed({1, 4}, 13);
  fixed.tensor("shape", integers({2, 2})).add("Reshape", {"shape"}).output();
  CHECK_FALSE(has_batch(read(fixed).forward.values[0].type.shape));
}

TEST_CASE("onnx: a shape computed in the graph, with the batch in it")
{
  Model m({1, 6, 4}, 13, "N");
  m.tensor("zero", integers({0})).tensor("rest", integers({-1}));
  OnnxNode shape{"Shape", "", "shape", {"x"}, {"s"}, {}, 0};
  OnnxNode pick{"Gather", "", "pick", {"s", "zero"}, {"n"}, {}, 0};
  OnnxNode join{"Concat", "", "join", {"n", "rest"}, {"to"}, {{"axis", int64_t{0}}}, 0};
  m.nodes = {shape, pick, join};
  m.add("Reshape", {"to"}).add("Relu").output();
  const Network network = read(m);
  CHECK(ops(network) == std::vector<std::string>{"reshape", "relu"});
  CHECK(to_string(network.forward.values[static_cast<size_t>(network.forward.outputs[0])].type.shape) == "[n,24]");
}

TEST_CASE("onnx: what moved from attributes to inputs reads alike")
{
  const Tensor x = *random({2, 3, 6, 6}, 11, -3, 3);
  const auto same = [&](const std::string& what, const Model& old, const Model& now) {
    CAPTURE(what);
    check_equal(outcome(read(old), x), outcome(read(now), x), 1e-7);
  };
  const auto at = [](int64_t opset) { return Model({2, 3, 6, 6}, opset); };
  using Ints = std::vector<int64_t>;
  same("Clip", at(7).add("Clip", {}, {{"min", -1.0}, {"max", 0.5}}).output(),
       at(11).tensor("a", number(-1)).tensor("b", number(0.5)).add("Clip", {"a", "b"}).output());
  same("Pad", at(7).add("Pad", {}, {{"pads", Ints{0, 0, 1, 2, 0, 0, 3, 0}}, {"value", 2.0}}).output(),
       at(13).tensor("p", integers({0, 0, 1, 2, 0, 0, 3, 0})).tensor("v", number(2)).add("Pad", {"p", "v"}).output());
  same("Slice",
       at(9).add("Slice", {}, {{"starts", Ints{1, -4}}, {"ends", Ints{3, 1000}}, {"axes", Ints{1, 3}}}).output(),
       at(13)
           .tensor("s", integers({1, -4}))
           .tensor("e", integers({3, 1000}))
           .tensor("a", integers({1, 3}))
           .add("Slice", {"s", "e", "a"})
           .output());
  same("Unsqueeze", at(11).add("Unsqueeze", {}, {{"axes", Ints{1}}}).add("Squeeze", {}, {{"axes", Ints{1}}}).output(),
       at(13).tensor("a", integers({1})).add("Unsqueeze", {"a"}).add("Squeeze", {"a"}).output());
  same("ReduceSum", at(11).add("ReduceSum", {}, {{"axes", Ints{2, 3}}, {"keepdims", int64_t{0}}}).output(),
       at(13).tensor("a", integers({-2, -1})).add("ReduceSum", {"a"}, {{"keepdims", int64_t{0}}}).output());
  same("ReduceMean", at(13).add("ReduceMean", {}, {{"axes", Ints{2, 3}}}).output(),
       at(18).tensor("a", integers({2, 3})).add("ReduceMean", {"a"}).output());
  same("Upsample",
       at(9)
           .tensor("s",
                   [] {
                     auto scales = std::make_shared<Tensor>(DType::f32, Ints{4});
                     for (int64_t i = 0; i < 4; ++i)
                       scales->set(i, i < 2 ? 1 : 2);
                     return scales;
                   }())
           .add("Upsample", {"s"})
           .output(),
       at(13)
           .tensor("n", integers({2, 3, 12, 12}))
           .add("Resize", {"", "", "n"},
                {{"coordinate_transformation_mode", std::string("asymmetric")}, {"nearest_mode", std::string("floor")}})
           .output());
  // Up to opset 12, softmax sees everything behind the axis as one row.
  same("Softmax", at(11).add("Softmax").output(),
       at(13)
           .tensor("flat", integers({2, -1}))
           .tensor("back", integers({2, 3, 6, 6}))
           .add("Reshape", {"flat"})
           .add("Softmax", {}, {{"axis", int64_t{1}}})
           .add("Reshape", {"back"})
           .output());
}

TEST_CASE("onnx: imported as .yaml and exported again, a network computes the same")
{
  const Tensor x = *random({2, 3, 8, 8}, 21);
  for (const Network& network : {read(small_network()), read(Model({1, 3, 8, 8}, 13, "N")
                                                                 .tensor("c", random({3, 1, 1}, 5))
                                                                 .add("Mul", {"c"})
                                                                 .add("Sigmoid")
                                                                 .add("GlobalAveragePool")
                                                                 .output())}) {
    const Tensor wanted = outcome(network, x);
    const WrittenNetwork written = yaml_of(network, "w.safetensors", "a test");
    INFO(written.text);
    const Network again = read_yaml(std::make_shared<Source>(Source{"again.yaml", written.text}));
    NamedTensors parameters;
    for (const auto& [name, tensor] : written.tensors)
      parameters.emplace(name, *tensor);
    check_equal(outcome(again, x, parameters), wanted);
    OnnxModel exported = export_onnx(again, parameters);
    check_equal(outcome(read(exported), x), wanted);
    CHECK(exported.inputs[0].shape->at(0).symbol == "N");
    exported = export_onnx(again, parameters, x.dims[0]);
    for (const OnnxInfo* info : {&exported.inputs[0], &exported.outputs[0]})
      CHECK(info->shape->at(0).size == x.dims[0]);
    check_equal(outcome(read(exported), x), wanted);
  }
}

// ---- what is refused ----

namespace {

// An Error of exit code 1 that says so, before anything is unfolded: that would take minutes.
void refused(const std::string& path, const std::string& text)
{
  const auto start = std::chrono::steady_clock::now();
  try {
    read_onnx(path);
    FAIL_CHECK("accepted, and should say: " << text);
  } catch (const Error& e) {
    INFO(e.what());
    CHECK(e.exit_code == 1);
    CHECK(std::string(e.what()).find(text) != std::string::npos);
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

void refused(const OnnxModel& model, const std::string& text)
{
  const Folder folder;
  write_onnx(folder / "m.onnx", model);
  refused(folder / "m.onnx", text);
}

using Change = std::function<void(onnx::ModelProto&)>;

// A model of one Relu and an initializer, changed as protobuf.
void refused(const Change& change, const std::string& text)
{
  const Folder folder;
  write_onnx(folder / "m.onnx", Model({1, 4}).tensor("w", random({1, 4}, 1)).add("Add", {"w"}).output());
  onnx::ModelProto proto;
  {
    std::ifstream file(folder / "m.onnx", std::ios::binary);
    REQUIRE(proto.ParseFromIstream(&file));
  }
  change(proto);
  {
    std::ofstream file(folder / "m.onnx", std::ios::binary);
    proto.SerializeToOstream(&file);
  }
  std::ofstream(folder / "data.bin") << std::string(16, 'x');
  fs::create_symlink("data.bin", folder / "link.bin");
  fs::create_directory_symlink(".", folder / "here");
  refused(folder / "m.onnx", text);
}

onnx::TensorProto& weight(onnx::ModelProto& proto)
{
  return *proto.mutable_graph()->mutable_initializer(0);
}

Change external(const std::string& location, const std::string& offset = "", const std::string& length = "")
{
  return [=](onnx::ModelProto& proto) {
    onnx::TensorProto& tensor = weight(proto);
    tensor.clear_raw_data();
    tensor.set_data_location(onnx::TensorProto::EXTERNAL);
    for (const auto& [key, value] :
         {std::pair(std::string("location"), location), {"offset", offset}, {"length", length}})
      if (!value.empty()) {
        auto& entry = *tensor.add_external_data();
        entry.set_key(key);
        entry.set_value(value);
      }
  };
}

} // namespace

TEST_CASE("onnx: files that are none")
{
  const Folder folder;
  write_onnx(folder / "m.onnx", small_network());
  std::string bytes;
  {
    std::ifstream file(folder / "m.onnx", std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  for (size_t size = 0; size < bytes.size(); size += size < 64 ? 1 : 97) {
    std::ofstream(folder / "cut.onnx", std::ios::binary) << bytes.substr(0, size);
    CAPTURE(size);
    refused(folder / "cut.onnx", "cut.onnx");
  }
  // A flipped byte may leave a model, but never a crash.
  for (size_t at = 0; at < bytes.size(); at += 13) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x5a);
    std::ofstream(folder / "bad.onnx", std::ios::binary) << damaged;
    try {
      read_onnx(folder / "bad.onnx");
    } catch (const Error&) {
    }
  }
  std::ofstream(folder / "text.onnx") << "this is a text, and no model at all";
  refused(folder / "text.onnx", "text.onnx");
  // A million empty nodes in two megabytes.
  std::string many;
  for (int i = 0; i < 3000000; ++i)
    many += std::string("\x0a\x00", 2);
  std::string size;
  for (size_t rest = many.size(); rest > 0; rest >>= 7)
    size += static_cast<char>((rest & 127) | (rest > 127 ? 128 : 0));
  std::ofstream(folder / "many.onnx", std::ios::binary) << "\x3a" << size << many;
  refused(folder / "many.onnx", "more parts");
}

TEST_CASE("onnx: graphs that are none")
{
  Model cyclic({1, 4});
  cyclic.nodes.push_back({"Add", "", "a", {"x", "q"}, {"p"}, {}, 0});
  cyclic.nodes.push_back({"Relu", "", "b", {"p"}, {"q"}, {}, 0});
  cyclic.last = "q";
  refused(cyclic.output(), "cycle");
  refused(Model({1, 4}).add("Add", {"nothing"}).output(), "nothing makes its input 'nothing'");
  Model twice({1, 4});
  twice.add("Relu").add("Relu").output();
  twice.nodes[1].outputs = {"t0"};
  twice.outputs[0].name = "t0";
  refused(twice, "already");
  Model absent({1, 4});
  absent.add("Relu");
  absent.outputs.push_back({"other", DType::f32, {}});
  refused(absent, "nothing makes the output 'other'");
  Model none({1, 4});
  none.add("Relu");
  refused(none, "no outputs");
  refused([](onnx::ModelProto& proto) { *proto.mutable_graph()->add_initializer() = weight(proto); },
          "two initializers");
}

TEST_CASE("onnx: operators, domains and opsets that are not known")
{
  refused(Model({1, 4}).add("Reloo").output(), "node 1 'Reloo_0' (Reloo, opset 13)");
  Model domain({1, 4});
  domain.add("Gelu").output();
  domain.nodes[0].domain = "com.microsoft";
  refused(domain, "com.microsoft.Gelu");
  refused(Model({1, 4}, 6).add("Relu").output(), "opset");
  refused(Model({1, 4}, 99).add("Relu").output(), "99");
  refused(Model({1, 4}).add("Relu", {}, {{"sharp", int64_t{1}}}).output(), "'sharp'");
  refused(Model({1, 4}).add("LeakyRelu", {}, {{"alpha", int64_t{1}}}).output(), "'alpha'");
}

TEST_CASE("onnx: shapes that are none")
{
  using Ints = std::vector<int64_t>;
  refused(Model({1, -4}).add("Relu").output(), "-4");
  refused(Model({1, 1 << 30, 1 << 30, 1 << 30}).add("Relu").output(), "elements");
  refused(Model({1, 3, 8, 8}).tensor("w", random({4, 3, 3}, 1)).add("Conv", {"w"}).output(), "weight");
  refused(Model({1, 3, 8, 8}).tensor("w", random({4, 2, 3, 3}, 1)).add("Conv", {"w"}).output(), "2");
  refused(Model({1, 3, 8, 8}).add("MaxPool", {}, {{"kernel_shape", Ints{2}}}).output(), "kernel_shape");
  refused(Model({1, 3, 8, 8}).add("MaxPool", {}, {{"kernel_shape", Ints{2, 0}}}).output(), "kernel_shape");
  refused(Model({1, 3, 8, 8}).add("MaxPool", {}, {{"kernel_shape", Ints{2, 2}}, {"pads", Ints{-1, 0, 0, 0}}}).output(),
          "pads");
  refused(Model({2, 4}).tensor("s", integers({3, 3})).add("Reshape", {"s"}).output(), "reshaped");
  refused(Model({2, 4}).tensor("s", integers({-1, -1})).add("Reshape", {"s"}).output(), "-1");
  refused(Model({2, 4}).tensor("s", integers({int64_t{1} << 40, int64_t{1} << 40})).add("Reshape", {"s"}).output(),
          "too large");
  refused(Model({2, 4}).add("Transpose", {}, {{"perm", Ints{0, 0}}}).output(), "twice");
  refused(Model({2, 4}).add("Concat", {"x"}, {{"axis", int64_t{7}}}).output(), "axis");
  Model bomb({1, 4});
  bomb.tensor("s", integers({1 << 20, 1 << 20}));
  bomb.nodes.push_back({"ConstantOfShape", "", "fill", {"s"}, {"big"}, {}, 0});
  refused(bomb.add("Add", {"big"}).output(), "constants");
  Model doubling({1, 4}); // each turn twice as large as the one before
  doubling.tensor("d0", integers({1, 2, 3, 4}));
  for (int i = 0; i < 60; ++i) {
    const std::string from = fmt::format("d{}", i);
    doubling.nodes.push_back({"Concat", "", "", {from, from}, {fmt::format("d{}", i + 1)}, {{"axis", int64_t{0}}}, 0});
  }
  refused(doubling.add("Reshape", {"d60"}).output(), "constants");
  refused(Model({1, 0}).add("Relu").output(), "");
  Model dynamic({2, 4});
  dynamic.inputs.push_back({"shape", DType::i64, std::vector<OnnxExtent>{{2, ""}}});
  refused(dynamic.add("Reshape", {"shape"}).output(), "must be known");
}

TEST_CASE("onnx: tensors that lie")
{
  refused([](onnx::ModelProto& proto) { weight(proto).set_dims(1, 5); }, "takes 20 bytes, the file has 16");
  refused([](onnx::ModelProto& proto) { weight(proto).set_dims(1, -4); }, "negative");
  refused([](onnx::ModelProto& proto) { weight(proto).set_dims(1, int64_t{1} << 61); }, "");
  refused([](onnx::ModelProto& proto) { weight(proto).set_data_type(77); }, "type 77");
  refused([](onnx::ModelProto& proto) { weight(proto).set_data_type(onnx::TensorProto::STRING); }, "type 8");
  refused([](onnx::ModelProto& proto) { weight(proto).clear_raw_data(); }, "wants 4 elements, the file has 0");
  refused(
      [](onnx::ModelProto& proto) {
        weight(proto).clear_raw_data();
        for (int i = 0; i < 4; ++i)
          weight(proto).add_int64_data(1);
      },
      "elements");
}

TEST_CASE("onnx: external data stays in the model's folder")
{
  refused(external("../data.bin"), "out of the model's folder");
  refused(external("sub/../../data.bin"), "out of the model's folder");
  refused(external("/etc/passwd"), "below the model's folder");
  refused(external("link.bin"), "symbolic link");
  refused(external("here/data.bin"), "symbolic link");
  refused(external(""), "below the model's folder");
  refused(external("data.bin", "4"), "16 bytes");
  refused(external("data.bin", "0", "99999999999"), "16 bytes");
  refused(external("data.bin", "-1"), "not a number");
  refused(external("data.bin", "99999999999999999999"), "not a number");
  refused(external("."), "");
}

TEST_CASE("onnx: the smallest of integers is found where none has a negative")
{
  Model model({4});
  model.add("Cast", {}, {{"to", int64_t{2}}})
      .add("ArgMin", {}, {{"axis", int64_t{0}}, {"keepdims", int64_t{0}}})
      .output();
  Tensor x(DType::f32, {4});
  for (int i = 0; i < 4; ++i)
    x.set(i, std::array{3, 0, 255, 200}[static_cast<size_t>(i)]);
  CHECK(outcome(read(model), x).get(0) == 1);
}

TEST_CASE("numbers pass through 8-bit integers where the file says so")
{
  const auto bytes = [](DType dtype, const std::vector<int64_t>& dims, const std::function<double(int64_t)>& of) {
    auto tensor = std::make_shared<Tensor>(dtype, dims);
    for (int64_t i = 0; i < tensor->size(); ++i)
      tensor->set(i, of(i));
    return tensor;
  };
  const auto integer_weight = [](int64_t i) { return static_cast<double>((i * 37) % 255 - 127); };
  const auto weight_scale = [](int64_t o) { return 0.01 * static_cast<double>(o + 1); };
  Model model({1, 16, 3, 3}, 13, "N");
  model.tensor("s", number(0.02)).tensor("z", bytes(DType::u8, {}, [](int64_t) { return 3.0; }));
  model.tensor("wq", bytes(DType::i8, {4, 16, 1, 1}, integer_weight));
  model.tensor("ws", bytes(DType::f32, {4}, weight_scale));
  OnnxNode of_weight;
  of_weight.op = "DequantizeLinear";
  of_weight.name = "weight";
  of_weight.inputs = {"wq", "ws"};
  of_weight.outputs = {"w"};
  of_weight.attributes = {{"axis", int64_t{0}}};
  model.nodes.push_back(of_weight);
  model.add("QuantizeLinear", {"s", "z"}).add("DequantizeLinear", {"s", "z"}).add("Conv", {"w"}).output();
  const Tensor x = *random({2, 16, 3, 3}, 5, -0.2, 6);
  Tensor expected(DType::f32, {2, 4, 3, 3});
  for (int64_t i = 0; i < expected.size(); ++i) {
    const int64_t n = i / 36, o = i / 9 % 4, place = i % 9;
    double sum = 0;
    for (int64_t c = 0; c < 16; ++c) {
      const float real = static_cast<float>(x.get((n * 16 + c) * 9 + place)) / 0.02f;
      const double q = std::clamp(std::nearbyint(real) + 3, 0.0f, 255.0f);
      sum += (q - 3) * 0.02 * integer_weight(o * 16 + c) * weight_scale(o);
    }
    expected.set(i, sum);
  }
  check_equal(outcome(read(model), x), expected, 1e-4);

  for (const DType dtype : {DType::i64, DType::f32}) {
    Model other({1, 2});
    other.tensor("s", number(0.5)).tensor("z", bytes(dtype, {}, [](int64_t) { return 0.0; }));
    other.add("QuantizeLinear", {"s", "z"}).output();
    CHECK_THROWS_AS(read(other), Error);
  }
  Model odd({1, 2, 2}); // three scales for two channels
  odd.tensor("s", bytes(DType::f32, {3}, [](int64_t) { return 0.5; }));
  odd.add("QuantizeLinear", {"s"}).output();
  CHECK_THROWS_AS(read(odd), Error);
}
