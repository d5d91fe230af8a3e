// The standard's own cases: model.onnx with inputs and the outputs that are right, and its light models. They are not
// part of the project: $CNNC_SHARED, or ../shared beside it, has them.
#include "compiler/compile.h"
#include "compiler/onnx/builder.h"
#include "compiler/onnx/reader.h"
#include "runtime/model.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>

using namespace cnnc;

namespace {

namespace fs = std::filesystem;

fs::path shared_folder()
{
  const char* given = std::getenv("CNNC_SHARED");
  return given ? fs::path(given) : fs::path(CNNC_SOURCE_DIR).parent_path() / "shared";
}

// "input_0.pb", "input_1.pb", ...: missing ones are optional inputs that are left out.
std::vector<Tensor> tensors_of(const fs::path& folder, const std::string& stem)
{
  std::vector<Tensor> tensors;
  for (int i = 0; fs::exists(folder / fmt::format("{}_{}.pb", stem, i)); ++i)
    tensors.push_back(parse_onnx_tensor((folder / fmt::format("{}_{}.pb", stem, i)).string()));
  return tensors;
}

// As the standard compares: |a - b| <= atol + rtol*|b|. "" where they agree.
std::string difference(const Tensor& found, const Tensor& wanted, double atol = 1e-6, double rtol = 1e-3)
{
  if (found.size() != wanted.size() || found.dims != wanted.dims)
    return fmt::format("[{}] instead of [{}]", fmt::join(found.dims, ","), fmt::join(wanted.dims, ","));
  if (found.dtype != wanted.dtype)
    return fmt::format("{} instead of {}", to_string(found.dtype), to_string(wanted.dtype));
  for (int64_t i = 0; i < found.size(); ++i) {
    const double a = found.get(i), b = wanted.get(i);
    if (a == b || (std::isnan(a) && std::isnan(b)))
      continue;
    if (!(std::abs(a - b) <= atol + rtol * std::abs(b)))
      return fmt::format("{} instead of {} at {}", a, b, i);
  }
  return "";
}

// By the names of the network's inputs.
std::vector<Tensor> run(const cnn_model& model, const NamedTensors& inputs, int64_t batch)
{
  const Block parameters = first_parameters(model, 1);
  const Block workspace = workspace_of(model, batch, 1, CNN_FORWARD);
  std::vector<const void*> in;
  std::vector<void*> out;
  for (int32_t i = 0; i < model.input_count; ++i)
    in.push_back(inputs.at(model.inputs[i].name).bytes.data());
  std::vector<Tensor> outputs;
  for (int32_t o = 0; o < model.output_count; ++o)
    outputs.emplace_back(dtype_of(model.outputs[o]), dims_of(model.outputs[o], batch));
  for (Tensor& output : outputs)
    out.push_back(output.bytes.data());
  check(model, model.forward(parameters.data(), batch, in.data(), out.data(), workspace.data(), nullptr), "forward");
  return outputs;
}

struct Verdict {
  enum Kind { pass, refused, wrong } kind = pass;
  std::string text;
};

Verdict judge(const fs::path& folder)
{
  Network network;
  const OnnxModel file = parse_onnx((folder / "model.onnx").string());
  std::vector<Tensor> inputs = tensors_of(folder / "test_data_set_0", "input");
  const std::vector<Tensor> wanted = tensors_of(folder / "test_data_set_0", "output");
  if (inputs.size() != file.inputs.size() || wanted.size() != file.outputs.size())
    return {Verdict::wrong, fmt::format("{} inputs and {} outputs of {} and {}", inputs.size(), wanted.size(),
                                        file.inputs.size(), file.outputs.size())};
  OnnxOptions options;
  for (size_t i = 0; i < inputs.size(); ++i)
    options.values.emplace(file.inputs[i].name, inputs[i]);
  try {
    network = read_onnx((folder / "model.onnx").string(), options);
  } catch (const Error& e) {
    return {Verdict::refused, e.what()};
  }
  try {
    const LoadedModel loaded = load(compile(network, {}));
    // The network's inputs, in the file's order, are those that decided no shape.
    const cnn_model& model = *loaded.model;
    NamedTensors given;
    for (int32_t i = 0; i < model.input_count; ++i)
      for (size_t k = 0; k < inputs.size(); ++k)
        if (onnx_identifier(file.inputs[k].name) == model.inputs[i].name)
          given.emplace(model.inputs[i].name, inputs[k]);
    const std::vector<Tensor> found = run(model, given, 1);
    size_t next = 0;
    for (size_t o = 0; o < wanted.size(); ++o) {
      if (wanted[o].size() == 0)
        continue; // such outputs are left out
      const std::string text = next < found.size() ? difference(found[next++], wanted[o]) : "an output is missing";
      if (!text.empty())
        return {Verdict::wrong, text};
    }
    return {};
  } catch (const std::exception& e) {
    return {Verdict::wrong, e.what()};
  }
}

} // namespace

TEST_CASE("onnx: the standard's node cases")
{
  const fs::path folder = shared_folder() / "onnx-node-tests";
  if (!fs::exists(folder)) {
    MESSAGE("no " << folder.string() << ": set CNNC_SHARED");
    return;
  }
  const char* only = std::getenv("CNNC_NODE"); // a part of the cases' names
  std::vector<fs::path> cases;
  for (const auto& entry : fs::directory_iterator(folder))
    if (fs::exists(entry.path() / "model.onnx") &&
        (!only || entry.path().filename().string().find(only) != std::string::npos))
      cases.push_back(entry.path());
  std::sort(cases.begin(), cases.end());
  REQUIRE(!cases.empty());
  int passed = 0, refused = 0, wrong = 0;
  for (const fs::path& path : cases) {
    const Verdict verdict = judge(path);
    passed += verdict.kind == Verdict::pass;
    refused += verdict.kind == Verdict::refused;
    wrong += verdict.kind == Verdict::wrong;
    if (verdict.kind != Verdict::pass)
      fmt::print("{} {}: {}\n", verdict.kind == Verdict::wrong ? "WRONG  " : "refused", path.filename().string(),
                 verdict.text);
  }
  fmt::print("onnx node cases: {} pass, {} refused, {} wrong, of {}\n", passed, refused, wrong, cases.size());
  CHECK(wrong == 0);
  if (!only)
    CHECK(passed * 100 >= static_cast<int>(cases.size()) * 92);
}

// Classic topologies whose weights are all 0.02, on a ramp from 0 to 1.
TEST_CASE("onnx: the standard's light models")
{
  const fs::path folder = shared_folder() / "onnx-light";
  if (!fs::exists(folder)) {
    MESSAGE("no " << folder.string() << ": set CNNC_SHARED");
    return;
  }
  const char* only = std::getenv("CNNC_LIGHT"); // a part of the names; "vgg" takes 2 GB
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".onnx" || (only ? name.find(only) == std::string::npos : name == "light_vgg19"))
      continue;
    CAPTURE(name);
    const Network network = read_onnx(entry.path().string());
    const LoadedModel loaded = load(compile(network, {}));
    const cnn_model& model = *loaded.model;
    REQUIRE(model.input_count == 1);
    Tensor ramp(DType::f32, dims_of(model.inputs[0], 1));
    for (int64_t i = 0; i < ramp.size(); ++i)
      ramp.set(i, static_cast<double>(i) / static_cast<double>(ramp.size()));
    const std::vector<Tensor> found = run(model, {{model.inputs[0].name, ramp}}, 1);
    const Tensor wanted = parse_onnx_tensor((folder / (name + "_output_0.pb")).string());
    CHECK(difference(found.at(0), wanted) == "");
  }
}
