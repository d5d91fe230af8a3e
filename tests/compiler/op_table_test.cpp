// The table of docs/ops.md: what there is of each op, asked of the op itself and not written by hand.
//
//   | op | forward | backward | finite differences | fused | ONNX |
//
// CNNC_WRITE_DOCS=1 writes it into the page; else the page must have it.
#include "compiler/onnx/export.h"
#include "compiler/onnx/reader.h"
#include "runtime/files.h"
#include "tests/compiler/draws.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

constexpr uint64_t seeds = 12; // one of them shows it, if it is so

DrawnGraph drawn(const OpDef& def, uint64_t seed, int& result)
{
  Dice dice(seed);
  DrawnGraph g;
  result = Draws::table().at(def.name)(dice, g);
  return g;
}

size_t kernels_of(Graph graph)
{
  Program program{{std::move(graph)}, {}};
  RunOptions until;
  until.only = {"sink_activation", "fold_views", "assign_kernels", "fuse_epilogue", "fuse_window"};
  Remarks remarks;
  run_passes(program, Target{}, until, remarks);
  return program.functions[0].kernels.size();
}

// It shares a kernel with a convolution before it, or with an activation behind it.
bool joins_producer(const OpDef& def, uint64_t seed)
{
  int y = -1;
  DrawnGraph g = drawn(def, seed, y);
  const Op op = g.graph.ops.at(0);
  const int x = op.inputs.at(0);
  if (x < 0 || g.shape(x).size() != 4 || !g.shape(x)[0].batch ||
      g.graph.values[static_cast<size_t>(x)].type.dtype != DType::f32)
    return false;
  DrawnGraph with;
  const int64_t channels = g.shape(x)[1].size;
  const int in = with.input("in", {-1, 3, g.shape(x)[2].size, g.shape(x)[3].size});
  const int conv = with.op("conv2d", {in, with.parameter("filters", {channels, 3, 1, 1})});
  std::vector<int> inputs{conv};
  for (size_t i = 1; i < op.inputs.size(); ++i) {
    if (op.inputs[i] < 0) {
      inputs.push_back(-1);
      continue;
    }
    Value value = g.graph.values[static_cast<size_t>(op.inputs[i])];
    if (op.inputs[i] == x)
      return false;
    inputs.push_back(with.graph.add_value(std::move(value)));
  }
  const int number = with.graph.add_op(*op.def, def.name, inputs, op.attributes, {});
  with.graph.outputs = {with.graph.ops[static_cast<size_t>(number)].outputs[0]};
  return kernels_of(with.graph) == 1;
}

bool joins_user(const OpDef& def, uint64_t seed)
{
  int y = -1;
  DrawnGraph g = drawn(def, seed, y);
  if (g.graph.values[static_cast<size_t>(y)].type.dtype != DType::f32)
    return false;
  g.graph.outputs = {g.op("tanh", {y})};
  return kernels_of(g.graph) == 1;
}

// Written, read back, and the same numbers.
bool survives_onnx(const OpDef& def, uint64_t seed, const std::string& path)
{
  int y = -1;
  DrawnGraph g = drawn(def, seed, y);
  g.graph.outputs = {y};
  Network network;
  network.name = "drawn";
  network.forward = g.graph;
  const NamedTensors values = drawn_values(g.graph, 2, seed);
  try {
    write_onnx(path, export_onnx(network, values));
  } catch (const Error&) {
    return false;
  }
  const Network back = read_onnx(path);
  NamedTensors inputs;
  for (const auto& [name, tensor] : values)
    if (back.forward.find(name) >= 0)
      inputs.emplace(name, tensor);
  for (const Value& value : back.forward.values)
    if (value.kind == ValueKind::parameter && value.data)
      inputs.insert_or_assign(value.name, *value.data);
  const NamedTensors want = interpret(g.graph, values, 2), got = interpret(back.forward, inputs, 2);
  const Tensor& a = want.find(g.graph.values[static_cast<size_t>(y)].name)->second;
  const Tensor& b = got.find(back.forward.values[static_cast<size_t>(back.forward.outputs.at(0))].name)->second;
  REQUIRE(a.size() == b.size());
  for (int64_t i = 0; i < a.size(); ++i)
    CHECK(std::abs(a.get(i) - b.get(i)) <= 1e-5 * (1 + std::abs(a.get(i))));
  return true;
}

bool any_seed(const std::function<bool(uint64_t)>& holds)
{
  for (uint64_t seed = 1; seed <= seeds; ++seed)
    if (holds(seed))
      return true;
  return false;
}

std::string table(const std::string& scratch)
{
  std::string text =
      "| op | forward | backward | finite differences | fused with | ONNX |\n|---|---|---|---|---|---|\n";
  for (const OpDef* def : op_table()) {
    if (def->is_internal)
      continue;
    CAPTURE(def->name);
    const bool has_gradient = def->no_gradient.empty();
    std::string fused;
    if (any_seed([&](uint64_t seed) { return joins_producer(*def, seed); }))
      fused = "a convolution before";
    if (any_seed([&](uint64_t seed) { return joins_user(*def, seed); }))
      fused += (fused.empty() ? "" : ", ") + std::string("an activation behind");
    const bool onnx = any_seed([&](uint64_t seed) { return survives_onnx(*def, seed, scratch); });
    const std::string way_back = def->is_optimizer                              ? "an optimizer has none"
                                 : !has_gradient                                ? "none: " + def->no_gradient
                                 : def->gradient.empty() && !def->make_gradient ? "derived"
                                                                                : "its own";
    text += fmt::format("| `{}` | yes | {} | {} | {} | {} |\n", def->name, way_back, has_gradient ? "agree" : "", fused,
                        onnx ? "yes" : "");
  }
  return text;
}

constexpr std::string_view begin_mark =
                               "<!-- the op table: CNNC_WRITE_DOCS=1 test_compiler -tc=\"the op table*\" -->\n",
                           end_mark = "<!-- end -->\n";

} // namespace

TEST_CASE("the op table of the docs is the table")
{
  const std::string page = CNNC_SOURCE_DIR "/docs/ops.md";
  std::ifstream in(page);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const size_t begin = text.find(begin_mark), end = text.find(end_mark);
  REQUIRE(begin != text.npos);
  REQUIRE(end != text.npos);
  const size_t from = begin + begin_mark.size();
  const auto scratch = std::filesystem::temp_directory_path() / fmt::format("cnnc-op-table-{}.onnx", getpid());
  const std::string made = table(scratch.string());
  std::filesystem::remove(scratch);
  if (std::getenv("CNNC_WRITE_DOCS")) {
    text.replace(from, end - from, made);
    std::ofstream(page) << text;
    return;
  }
  CHECK(text.substr(from, end - from) == made);
}
