// One library for several machines: which code runs where, that all of it computes the same, and what a machine hears
// that can run none. The other machines are processors that qemu plays.
#include "compiler/compile.h"
#include "compiler/targets.h"
#include "tests/folder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

using namespace cnnc;
namespace fs = std::filesystem;

namespace {

// Blocks of channels, whole and not; windows that leave the image; values that are prepared, on a scale of each channel.
const char* const yaml = R"(name: mixed
input: {image: [3, 18, 18]}
layers:
  - conv2d: {filters: 20, kernel: 3, padding: 1}
  - batch_norm
  - relu
  - conv2d: {filters: 20, kernel: 3, padding: 1, groups: 20}
  - max_pool2d: {kernel: 2, stride: 2}
  - conv2d: {filters: 32, kernel: 1}
  - relu
  - flatten
  - dense: {units: 7}
  - softmax
train:
  loss: cross_entropy
  optimizer: {sgd: {learning_rate: 0.1, momentum: 0.9}}
)";

struct Folder : test::Folder {
  Folder() { std::ofstream(path / "mixed.yaml") << yaml; }
};

Compiled compile_for(const Folder& folder, std::vector<std::string> targets, bool train)
{
  CompileOptions options;
  options.targets = std::move(targets);
  options.train = train;
  return compile(read_network(folder / "mixed.yaml"), options);
}

struct Output {
  int status = -1; // as waitpid has it
  std::string text;
  int code() const { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }
};

Output output_of(const std::string& command)
{
  Output output;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  char buffer[4096];
  for (size_t got; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    output.text.append(buffer, got);
  output.status = pclose(pipe);
  return output;
}

// What run_library prints.
struct Answer {
  std::string target;
  int code = -1;
  std::vector<double> numbers;
};

Answer answer_of(const std::string& library, const std::string& processor = "")
{
  const std::string qemu = processor.empty() ? "" : "qemu-x86_64 -cpu " + processor + " ";
  const Output output = output_of(qemu + RUN_LIBRARY_PROGRAM + " " + library + " mixed");
  CAPTURE(processor);
  CHECK_MESSAGE(output.code() == 0, output.text); // no signal either
  Answer answer;
  // qemu warns of features that it cannot play.
  std::string line;
  for (std::istringstream lines(output.text); std::getline(lines, line);) {
    if (line.starts_with("qemu-x86_64: warning"))
      continue;
    if (answer.target.empty())
      answer.target = line;
    else if (answer.code < 0)
      answer.code = std::stoi(line);
    else
      answer.numbers.push_back(std::stod(line));
  }
  return answer;
}

void check_near(const std::vector<double>& a, const std::vector<double>& b)
{
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i)
    CHECK(a[i] == doctest::Approx(b[i]).epsilon(1e-4));
}

bool has_qemu()
{
  static const bool has = std::system("qemu-x86_64 --version >/dev/null 2>&1") == 0;
  return has;
}

std::string refusal(const std::vector<std::string>& names)
{
  try {
    make_targets(names);
  } catch (const Error& error) {
    CHECK(error.exit_code == 2);
    return error.what();
  }
  return "";
}

} // namespace

TEST_CASE("targets: the best first, in whatever order they are named")
{
  const auto order = [](const std::vector<std::string>& names) {
    std::string text;
    for (const Target& target : make_targets(names))
      text += target.march + " ";
    return text;
  };
  CHECK(order({"x86-64-v2", "x86-64-v4", "x86-64", "x86-64-v3"}) == "x86-64-v4 x86-64-v3 x86-64-v2 x86-64 ");
  CHECK(order({"haswell", "skylake-avx512", "znver4"}) == "znver4 skylake-avx512 haswell ");
  CHECK(order({"x86-64-v3"}) == "x86-64-v3 ");
  // What needs more stands before what needs less, for all that LLVM knows.
  for (const std::string& name : march_names()) {
    std::vector<Target> two;
    try {
      two = make_targets({"x86-64-v3", name});
    } catch (const Error&) {
      continue; // 32 bits, or the same instructions
    }
    const uint64_t first = needs_of(two[0]), second = needs_of(two[1]);
    CHECK_MESSAGE((first & ~second) != 0, name);
  }
}

TEST_CASE("targets: what is refused, and why")
{
  CHECK(refusal({"x86-64-v3", "x86-64-v4"}) == "");
  CHECK(refusal({"x86-64-v3", "x86-64-v5"}).find("unknown --targets 'x86-64-v5'") != std::string::npos);
  CHECK(refusal({"x86-64-v3", "x86-64-v3"}).find("twice") != std::string::npos);
  CHECK(refusal({"haswell", "core-avx2"}).find("'haswell' and 'core-avx2' need the same") != std::string::npos);
  CHECK(refusal(std::vector<std::string>(9, "x")).find("9 machines") != std::string::npos);
  CHECK(refusal({""}).find("empty") != std::string::npos);
}

TEST_CASE("targets: features by name, and those that this machine lacks")
{
  const std::vector<std::string> names = feature_names(needs_of(make_target("x86-64-v3")));
  for (const char* name : {"avx2", "fma", "bmi2", "sse4.2"})
    CHECK(std::count(names.begin(), names.end(), name) == 1);
  CHECK(std::count(names.begin(), names.end(), "avx512f") == 0);
  CHECK(lacking(feature_names(needs_of(host_target()))).empty());
  CHECK(lacking({"xop", "avx512fp16", "sse3", "telepathy"}).back() == "telepathy"); // no processor has the first two
  CHECK(split("a,,b,", ',') == std::vector<std::string>{"a", "", "b", ""});
}

TEST_CASE("targets: nests of their own under names of their own, graphs and layouts in common")
{
  const Folder folder;
  const Compiled compiled = compile_for(folder, {"x86-64-v3", "x86-64-v4"}, true);
  CHECK(compiled.target.march == "x86-64-v4");
  REQUIRE(compiled.lesser.size() == 1);
  const Variant& lesser = compiled.lesser[0];
  CHECK(lesser.target.march == "x86-64-v3");
  REQUIRE(compiled.program.functions.size() == 4); // forward, train, gradients, prepare
  REQUIRE(lesser.program.functions.size() == 4);
  for (const Nest& nest : compiled.program.nests)
    CHECK(nest.name.ends_with("_x86_64_v4"));
  for (const Nest& nest : lesser.program.nests)
    CHECK(nest.name.ends_with("_x86_64_v3"));
  for (size_t f = 0; f < 4; ++f) {
    const Graph &a = compiled.program.functions[f], &b = lesser.program.functions[f];
    REQUIRE(a.values.size() == b.values.size());
    for (size_t v = 0; v < a.values.size(); ++v)
      CHECK(a.values[v].layout == b.values[v].layout);
  }
  CHECK(compiled.info().march == "x86-64-v4,x86-64-v3");
  // In one module, with what each kernel may use.
  const std::string ir = emit(compiled.program, compiled.target, compiled.info(), Emit::llvm);
  for (const char* part : {"\"target-cpu\"=\"x86-64-v4\"", "\"target-cpu\"=\"x86-64-v3\""})
    CHECK(ir.find(part) != std::string::npos);
}

TEST_CASE("targets: the lesser code computes what the interpreter computes, on the better one's parameters")
{
  const Folder folder;
  const Network network = read_network(folder / "mixed.yaml");
  const Compiled compiled = compile_for(folder, {"x86-64", "x86-64-v2", "x86-64-v4"}, false);
  Target impossible = compiled.target;
  impossible.features = "+fma4,+avx512fp16"; // no processor has both
  for (const bool best_is_possible : {true, false}) {
    const LoadedModel loaded =
        LoadedModel::from_program(compiled.program, best_is_possible ? compiled.target : impossible, compiled.info());
    const cnn_model& model = *loaded.model;
    const bool runs_best = best_is_possible && lacking(feature_names(needs_of(compiled.target))).empty();
    REQUIRE(model.target() != nullptr);
    if (runs_best)
      CHECK(model.target() == std::string("x86-64-v4"));
    else
      CHECK(std::string(model.target()).starts_with("x86-64"));
    if (!best_is_possible)
      CHECK(model.target() != std::string("x86-64-v4"));

    NamedTensors values;
    const auto draw = [&](const std::string& name, std::vector<int64_t> dims) {
      Tensor tensor(DType::f32, std::move(dims));
      for (int64_t i = 0; i < tensor.size(); ++i)
        tensor.set(i, static_cast<double>((i + static_cast<int64_t>(name.size())) * 37 % 101) / 101 - 0.5 +
                          (name.ends_with("var") ? 1 : 0));
      values.insert_or_assign(name, std::move(tensor));
    };
    constexpr int64_t n = 3;
    draw("image", {n, 3, 18, 18});
    const auto block = [](int64_t bytes) {
      return std::unique_ptr<void, decltype(&std::free)>(
          std::aligned_alloc(64, static_cast<size_t>((bytes + 127) / 64 * 64)), std::free);
    };
    const auto parameters = block(model.parameter_bytes), workspace = block(model.workspace_bytes(n, 1, CNN_FORWARD));
    REQUIRE(model.init_parameters(parameters.get(), 1) == CNN_OK);
    for (int i = 0; i < model.parameter_count; ++i) {
      const cnn_tensor& tensor = model.parameters[i];
      draw(tensor.name, {tensor.dims, tensor.dims + tensor.rank});
      const Tensor& drawn = values.at(tensor.name);
      REQUIRE(model.set_parameter(parameters.get(), tensor.name, drawn.bytes.data(), drawn.size()) == CNN_OK);
    }
    std::vector<float> softmax(n * 7);
    const void* in[] = {values.at("image").bytes.data()};
    void* out[] = {softmax.data()};
    REQUIRE(model.forward(parameters.get(), n, in, out, workspace.get(), nullptr) == CNN_OK);
    const Tensor expected = interpret(network.forward, values, n).at("softmax");
    for (int64_t i = 0; i < expected.size(); ++i)
      CHECK(softmax[static_cast<size_t>(i)] == doctest::Approx(expected.get(i)).epsilon(1e-4));
  }
}

TEST_CASE("targets: each processor runs the best code that it and its system can, and all compute the same")
{
  const Folder folder;
  const Compiled compiled = compile_for(folder, {"x86-64-v2", "x86-64-v3", "x86-64-v4"}, true);
  write_library(compiled.program, compiled.target, compiled.info(), folder / "mixed.so");
  const Answer here = answer_of(folder / "mixed.so");
  for (const Target& target : make_targets({"x86-64-v2", "x86-64-v3", "x86-64-v4"}))
    if (lacking(feature_names(needs_of(target))).empty()) {
      CHECK(here.target == target.march);
      break;
    }
  REQUIRE(here.code == CNN_OK);
  CHECK(here.numbers.size() == 2 * 7 + 2);
  if (!has_qemu()) {
    MESSAGE("skipped: no qemu-x86_64 here");
    return;
  }
  // The last one has AVX2 under a system that does not save its registers.
  for (const auto& [processor, target] : {std::pair{"Haswell", "x86-64-v3"},
                                          {"Nehalem", "x86-64-v2"},
                                          {"Haswell,-fma", "x86-64-v2"},
                                          {"Haswell,-xsave", "x86-64-v2"}}) {
    CAPTURE(processor);
    const Answer there = answer_of(folder / "mixed.so", processor);
    CHECK(there.target == target);
    CHECK(there.code == CNN_OK);
    check_near(there.numbers, here.numbers);
  }
}

TEST_CASE("targets: a processor below all of them gets an error code, and the program says what it lacks")
{
  if (!has_qemu()) {
    MESSAGE("skipped: no qemu-x86_64 here");
    return;
  }
  const Folder folder;
  const Compiled compiled = compile_for(folder, {"x86-64-v3", "x86-64-v4"}, false);
  write_library(compiled.program, compiled.target, compiled.info(), folder / "mixed.so");
  const Answer there = answer_of(folder / "mixed.so", "Nehalem");
  CHECK(there.target == "none");
  CHECK(there.code == CNN_BAD_CPU);
  CHECK(there.numbers.empty());
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return; // qemu has no room for the sanitizer's shadow memory: the library alone is asked
#endif
  const std::string program = std::string("qemu-x86_64 -cpu Nehalem ") + CNNC_PROGRAM;
  const Output run = output_of(fmt::format("{} bench {} --threads 1", program, folder / "mixed.so"));
  CHECK(run.code() == 1);
  CHECK_MESSAGE(run.text.find("mixed was compiled for x86-64-v4,x86-64-v3, and this machine lacks movbe, avx, fma") !=
                    std::string::npos,
                run.text);
  CHECK_MESSAGE(run.text.find("even for x86-64-v3") != std::string::npos, run.text);
  const Output info = output_of(fmt::format("{} info {}", program, folder / "mixed.so"));
  CHECK(info.code() == 0);
  CHECK_MESSAGE(info.text.find("nothing runs; for x86-64-v4 this machine lacks") != std::string::npos, info.text);
}
