// Runs the passes that each golden file names and compares the whole text.
//
//   golden_runner [--accept] [NAME ...]        NAME: fuse_epilogue/residual; without one, all of tests/golden
//
//   # Why this case is here.
//   # run: fuse_epilogue
//   # vectors: 32 bytes, 16 of them            the machine that passes plan for; without it AVX-512's 64 and 32
//   # within: 0.3                             only for passes that round: how far results may be apart
//   net @block(...) { ... }                    before: read, verified, run through the passes, verified
//   ---
//   net @block(...) { ... }                    the text that must come out
//
// Both sides are then interpreted in double precision on the same seeded data: graphs by their formulas, lowered ones
// by their nests, so a golden that somebody accepted too quickly still fails.
#include "ir/interpret.h"
#include "ir/random.h"
#include "passes/pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

using namespace cnnc;
namespace fs = std::filesystem;

namespace {

constexpr int64_t batch = 3;
constexpr double tolerance = 1e-9; // of double precision, in another order of summation

struct Golden {
  fs::path path;
  std::string name, head, before, after; // head: the comments
  std::vector<std::string> passes;
  double within = tolerance; // of one, or of the larger of two numbers
  Target target;
};

std::string read_text(const fs::path& path)
{
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Golden read_golden(const fs::path& root, const fs::path& path)
{
  Golden golden{.path = path,
                .name = fs::relative(path, root).replace_extension("").string(),
                .head = {},
                .before = {},
                .after = {},
                .passes = {},
                .target = {}};
  std::istringstream in(read_text(path));
  std::string line;
  bool second = false, commented = true;
  while (std::getline(in, line)) {
    if (line == "---" && !second) {
      second = true;
      continue;
    }
    commented = commented && line.starts_with("#");
    if (line.starts_with("# run:")) {
      std::istringstream words(line.substr(6));
      for (std::string pass; words >> pass;)
        golden.passes.push_back(pass);
    }
    if (line.starts_with("# vectors:")) {
      Target& target = golden.target;
      std::string bytes;
      std::istringstream(line.substr(10)) >> target.vector_bytes >> bytes >> target.vector_registers;
      target.unit_bytes = target.vector_bytes;
      target.masks = false;
    }
    if (line.starts_with("# within:"))
      golden.within = std::stod(line.substr(9));
    (second ? golden.after : commented ? golden.head : golden.before) += line + "\n";
  }
  if (golden.passes.empty())
    throw std::runtime_error("there is no line `# run: pass ...`");
  return golden;
}

Program parse(const std::string& name, const std::string& text)
{
  Program program = parse_program(std::make_shared<const Source>(Source{name, text}));
  verify(program);
  return program;
}

// --- the same data for both sides

Tensor random_tensor(const std::string& name, const TensorType& type, int64_t limit, bool positive)
{
  std::vector<int64_t> dims;
  for (const Dim& dim : type.shape)
    dims.push_back(dim.at(batch));
  Tensor tensor(type.dtype, dims);
  uint64_t key = seed_key(std::hash<std::string>()(name));
  for (int64_t i = 0; i < tensor.size(); ++i) {
    double unit = random_unit(key, static_cast<uint64_t>(i));
    tensor.set(i, !is_float(type.dtype) ? std::floor(unit * static_cast<double>(limit > 0 ? limit : 5))
                  : positive            ? unit
                                        : 2 * unit - 1);
  }
  return tensor;
}

NamedTensors prepared_values(const Program& program, const Graph& graph);

NamedTensors inputs_of(const Program& program, const Graph& graph)
{
  NamedTensors inputs = prepared_values(program, graph);
  for (const Value& value : graph.values) {
    bool given = value.kind == ValueKind::input || value.kind == ValueKind::parameter || value.kind == ValueKind::state;
    if (given && !value.data) // states are positive: square roots are taken of some
      inputs[value.name] = random_tensor(value.name, value.type, value.limit, value.kind == ValueKind::state);
    else if (value.kind == ValueKind::constant && !value.data) // elided
      inputs[value.name] = random_tensor(value.data_name, value.type, 0, false);
  }
  return inputs;
}

// What this function reads that another one prepares.
NamedTensors prepared_values(const Program& program, const Graph& graph)
{
  NamedTensors values;
  for (const Graph& other : program.functions)
    if (&other != &graph && !values_of(other, ValueKind::prepared).empty() && !other.updates.empty()) {
      const NamedTensors all = interpret(other, inputs_of(program, other), batch, true);
      for (const int v : values_of(graph, ValueKind::prepared))
        if (const auto found = all.find(graph.values[static_cast<size_t>(v)].name); found != all.end())
          values.insert(*found);
    }
  for (const int v : values_of(graph, ValueKind::prepared)) // a function that writes it does not read it
    if (const Value& value = graph.values[static_cast<size_t>(v)]; !values.contains(value.name))
      values[value.name] = random_tensor(value.name, value.type, 0, false);
  return values;
}

// --- results by name: outputs, and what parameters and states become ("@w")

using Results = std::map<std::string, Tensor>;

Results run_graph(const Program& program, const Graph& graph)
{
  NamedTensors all = interpret(graph, inputs_of(program, graph), batch, true);
  Results results;
  for (int output : graph.outputs)
    results[graph.values[static_cast<size_t>(output)].name] = all.at(graph.values[static_cast<size_t>(output)].name);
  for (const StateUpdate& update : graph.updates)
    results["@" + graph.values[static_cast<size_t>(update.target)].name] =
        all.at(graph.values[static_cast<size_t>(update.target)].name);
  return results;
}

// The elements that a part and its whole have in common, from the one to the other.
void copy_part(const Value& value, Tensor& part, Tensor& whole, bool into_whole)
{
  int64_t inner = 1;
  for (size_t d = 2; d < part.dims.size(); ++d)
    inner *= part.dims[d];
  const int64_t run = part.dims[1] * inner;
  for (int64_t i = 0; i < part.size(); ++i) {
    const int64_t there = i / run * whole.dims[1] * inner + value.whole_at * inner + i % run;
    into_whole ? whole.set(there, part.get(i)) : part.set(i, whole.get(there));
  }
}

Results run_nests(const Program& program, const Graph& graph)
{
  NamedTensors given = inputs_of(program, graph);
  std::vector<Tensor> tensors;
  for (const Value& value : graph.values) {
    Tensor tensor = value.data ? *value.data : random_tensor(value.name, value.type, 0, false);
    if (auto found = given.find(value.name); found != given.end())
      tensor = found->second;
    tensors.push_back(is_float(value.type.dtype) ? convert(tensor, DType::f64) : tensor);
  }
  std::vector<bool> written(tensors.size(), false);
  for (const Kernel& kernel : graph.kernels) {
    auto with_wholes = [&](bool into_whole) {
      for (int argument : kernel.arguments)
        if (const Value& value = graph.values[static_cast<size_t>(argument)]; value.whole >= 0)
          copy_part(value, tensors[static_cast<size_t>(argument)], tensors[static_cast<size_t>(value.whole)],
                    into_whole);
    };
    std::vector<Tensor*> arguments;
    for (int argument : kernel.arguments) {
      arguments.push_back(&tensors[static_cast<size_t>(argument)]);
      written[static_cast<size_t>(argument)] = true;
    }
    with_wholes(false);
    interpret(program.nests.at(static_cast<size_t>(kernel.nest)), arguments, batch, true);
    with_wholes(true);
  }
  Results results;
  for (int output : graph.outputs)
    results[graph.values[static_cast<size_t>(output)].name] = tensors[static_cast<size_t>(output)];
  for (const StateUpdate& update : graph.updates) // in place, or to be copied
    results["@" + graph.values[static_cast<size_t>(update.target)].name] =
        tensors[static_cast<size_t>(written[static_cast<size_t>(update.value)] ? update.value : update.target)];
  return results;
}

Results run_nest(const Nest& nest)
{
  std::vector<Tensor> tensors;
  for (const Buffer& buffer : nest.buffers)
    if (buffer.role <= BufferRole::inout) {
      Tensor tensor = random_tensor(buffer.name, buffer.type, 0, false);
      tensors.push_back(is_float(buffer.type.dtype) ? convert(tensor, DType::f64) : tensor);
    }
  std::vector<Tensor*> arguments;
  for (Tensor& tensor : tensors)
    arguments.push_back(&tensor);
  interpret(nest, arguments, batch, true);
  Results results;
  for (size_t b = 0; b < tensors.size(); ++b)
    if (nest.buffers[b].role != BufferRole::in)
      results[nest.buffers[b].name] = tensors[b];
  return results;
}

// By function, or by nest where there is no function.
std::map<std::string, Results> run(const Program& program)
{
  std::map<std::string, Results> results;
  for (const Graph& graph : program.functions) {
    bool lowered = !graph.kernels.empty() && std::all_of(graph.kernels.begin(), graph.kernels.end(),
                                                         [](const Kernel& kernel) { return kernel.nest >= 0; });
    results[graph.name] = lowered ? run_nests(program, graph) : run_graph(program, graph);
  }
  if (program.functions.empty())
    for (const Nest& nest : program.nests)
      results[nest.name] = run_nest(nest);
  return results;
}

// Everything that the left side makes, the right one makes too. Empty, or what differs.
std::string difference(const std::map<std::string, Results>& left, const std::map<std::string, Results>& right,
                       double within)
{
  for (const auto& [function, results] : left)
    for (const auto& [name, expected] : results) {
      auto found_function = right.find(function);
      if (found_function == right.end() || !found_function->second.contains(name))
        return fmt::format("@{}: {} is gone", function, name);
      const Tensor& found = found_function->second.at(name);
      if (found.dims != expected.dims)
        return fmt::format("@{}: {} has another shape", function, name);
      for (int64_t i = 0; i < expected.size(); ++i) {
        double a = expected.get(i), b = found.get(i);
        bool same = a == b || (std::isnan(a) && std::isnan(b)) ||
                    std::abs(a - b) <= within * std::max({1.0, std::abs(a), std::abs(b)});
        if (!same)
          return fmt::format("@{}: element {} of {} is {} before and {} after", function, i, name, a, b);
      }
    }
  return "";
}

// --- texts

std::vector<std::string> lines_of(const std::string& text)
{
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    lines.push_back(line);
  return lines;
}

// Lines that stay, by the longest common subsequence; "-" is wanted, "+" was found.
std::string diff(const std::string& wanted, const std::string& found)
{
  std::vector<std::string> a = lines_of(wanted), b = lines_of(found);
  std::vector<std::vector<int>> common(a.size() + 1, std::vector<int>(b.size() + 1, 0));
  for (size_t i = a.size(); i-- > 0;)
    for (size_t j = b.size(); j-- > 0;)
      common[i][j] = a[i] == b[j] ? common[i + 1][j + 1] + 1 : std::max(common[i + 1][j], common[i][j + 1]);
  std::string text;
  for (size_t i = 0, j = 0; i < a.size() || j < b.size();)
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      text += "    " + a[i++] + "\n";
      ++j;
    } else if (i < a.size() && (j == b.size() || common[i + 1][j] >= common[i][j + 1]))
      text += "  - " + a[i++] + "\n";
    else
      text += "  + " + b[j++] + "\n";
  return text;
}

// What is wrong with it; empty where nothing is.
std::string check(const Golden& golden, bool accept, const std::string& program_name)
{
  Program program = parse(golden.path.string(), golden.before);
  std::map<std::string, Results> before = run(program);
  Remarks remarks;
  RunOptions options;
  options.only = golden.passes;
  run_passes(program, golden.target, options, remarks);

  std::string found = to_string(program);
  if (to_string(parse(golden.name, found)) != found)
    return "the result does not read back to the same text:\n" + diff(found, to_string(parse(golden.name, found)));
  if (std::string wrong = difference(before, run(program), golden.within); !wrong.empty())
    return "the passes changed what is computed: " + wrong;
  if (found == golden.after)
    return "";
  if (!accept)
    return fmt::format("{}accept it with: {} --accept {}", diff(golden.after, found), program_name, golden.name);
  std::ofstream(golden.path, std::ios::binary) << golden.head << golden.before << "---\n" << found;
  std::cout << "accepted " << golden.name << "\n";
  return "";
}

} // namespace

int main(int count, char** arguments)
{
  const fs::path root = fs::path(CNNC_SOURCE_DIR) / "tests" / "golden";
  bool accept = false;
  std::vector<std::string> wanted;
  for (int i = 1; i < count; ++i)
    if (std::string argument = arguments[i]; argument == "--accept")
      accept = true;
    else
      wanted.push_back(argument);

  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(root))
    if (entry.path().extension() == ".ir")
      paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  int run_count = 0, failed = 0;
  for (const fs::path& path : paths) {
    std::string name = fs::relative(path, root).replace_extension("").string(), wrong;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end())
      continue;
    ++run_count;
    try {
      wrong = check(read_golden(root, path), accept, arguments[0]);
    } catch (const Error& error) {
      wrong = render(error);
    } catch (const std::exception& error) {
      wrong = error.what();
    }
    if (!wrong.empty()) {
      ++failed;
      std::cout << "FAILED " << name << "\n" << wrong << "\n\n";
    }
  }
  std::cout << fmt::format("{} golden files, {} failed\n", run_count, failed);
  return failed != 0 || run_count == 0 || run_count < static_cast<int>(wanted.size()) ? 1 : 0;
}
