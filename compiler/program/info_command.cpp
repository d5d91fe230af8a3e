#include "compiler/analysis.h"
#include "compiler/network.h"
#include "compiler/note.h"
#include "compiler/program/commands.h"
#include "compiler/program/compile_options.h"
#include "compiler/program/terminal.h"
#include "compiler/targets.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cnnc {

namespace {

std::string shape_text(const Shape& shape)
{
  std::string text = "[";
  for (const Dim& dim : shape)
    if (!dim.batch || dim.size != 1)
      text += (text.size() > 1 ? "," : "") + to_string(dim);
  return text + "]";
}

// Numbers that one image takes.
int64_t size_of(const Shape& shape)
{
  int64_t size = 1;
  for (const Dim& dim : shape)
    if (__builtin_mul_overflow(size, dim.size, &size))
      return INT64_MAX;
  return size;
}

// Words to lines of at most `columns` (0: no limit).
std::string wrapped(const std::string& text, int columns)
{
  std::string result;
  size_t line = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const size_t size = end - at;
    if (line > 0 && columns > 0 && line + 1 + size > static_cast<size_t>(columns)) {
      result += "\n";
      line = 0;
    }
    result += line > 0 ? " " : "";
    line += (line > 0 ? 1 : 0) + size;
    result += text.substr(at, size);
    at = end + 1;
  }
  return result + "\n";
}

// What the user called the op: formula ops are those of the file.
std::string op_name(const Network& network, const Op& op)
{
  for (const Layer& layer : network.layers)
    if (layer.name == op.name)
      return layer.op;
  return op.def->name;
}

void describe_network(const Network& network)
{
  const Graph& graph = network.forward;
  const int columns = terminal_columns();
  std::string title = network.name + ":";
  for (const int input : values_of(graph, ValueKind::input)) {
    const Value& value = graph.values[static_cast<size_t>(input)];
    title += fmt::format("{} {} {}, {} inputs", title.back() == ':' ? "" : ",", value.name,
                         shape_text(value.type.shape), with_commas(size_of(value.type.shape)));
  }
  print(wrapped(title, columns) + "\n");

  Table table;
  table.add_column("layer", false, 100);
  table.add_column("op", false, 20);
  table.add_column("output", false, 90);
  table.add_column("size", true, 60);
  table.add_column("parameters", true, 80);
  table.add_column("multiply-adds", true, 70);
  table.add_column("receptive field", true, 30);
  table.add_column("memory", true, 40);
  OpCost total;
  const auto add = [](int64_t& sum, int64_t more) {
    if (__builtin_add_overflow(sum, more, &sum))
      sum = INT64_MAX;
  };
  for (const OpCost& cost : costs_of(graph)) {
    const Op& op = graph.ops[static_cast<size_t>(cost.op)];
    const Shape& shape = graph.values[static_cast<size_t>(op.outputs[0])].type.shape;
    table.add_row({op.name, op_name(network, op), shape_text(shape), with_commas(size_of(shape)),
                   with_commas(cost.parameters), with_commas(cost.multiply_adds), field_text(graph, cost),
                   bytes_text(cost.bytes)});
    add(total.parameters, cost.parameters);
    add(total.multiply_adds, cost.multiply_adds);
    add(total.bytes, cost.bytes);
    add(total.statistics, cost.statistics);
  }
  table.add_rule();
  table.add_row({"total", "", "", "", with_commas(total.parameters), with_commas(total.multiply_adds), "",
                 bytes_text(total.bytes)});
  print(table.text(columns));
  int64_t parameter_bytes = 0;
  for (const int parameter : values_of(graph, ValueKind::parameter)) {
    const TensorType& type = graph.values[static_cast<size_t>(parameter)].type;
    add(parameter_bytes, elements(type.shape) * bytes_of(type.dtype));
  }
  const std::string statistics =
      total.statistics == 0 ? "" : fmt::format(" and {} running statistics", with_commas(total.statistics));
  print("\n" +
        wrapped(fmt::format("Parameters{} take {}. Multiply-adds and memory are for one image, before layers are "
                            "fused.",
                            statistics, bytes_text(parameter_bytes)),
                columns));
}

using Json = nlohmann::json;

std::string tensor_text(const Json& tensor)
{
  std::string shape;
  for (const Json& extent : tensor.at("shape"))
    shape += (shape.empty() ? "" : ",") + (extent.is_string() ? extent.get<std::string>() : extent.dump());
  return fmt::format("{} {}[{}]", tensor.at("name").get<std::string>(), tensor.at("dtype").get<std::string>(), shape);
}

void describe_tensors(const Json& note, const char* key, const char* title)
{
  std::string text;
  for (const Json& tensor : note.at(key))
    text += (text.empty() ? "" : ", ") + tensor_text(tensor);
  if (!text.empty())
    print(fmt::format("{:<12}{}\n", title, text));
}

// "x86-64-v4, native (znver4)"
std::string targets_text(const Json& targets)
{
  std::string text;
  for (const Json& target : targets) {
    const auto march = target.at("march").get<std::string>(), cpu = target.at("cpu").get<std::string>();
    text += (text.empty() ? "" : ", ") + march + (cpu == march ? "" : fmt::format(" ({})", cpu));
  }
  return text;
}

// Which of them this machine runs.
std::string here_text(const Json& targets)
{
  std::string text = "nothing runs";
  for (const Json& target : targets) {
    const auto march = target.at("march").get<std::string>();
    const std::vector<std::string> missing = lacking(target.at("needs").get<std::vector<std::string>>());
    if (missing.empty())
      return fmt::format("the code for {} runs", march);
    text += fmt::format("; for {} this machine lacks {}", march, fmt::join(missing, ", "));
  }
  return text;
}

// What a library's note says, and the table of the text that it was made of. Its code is never run.
void describe_library(const std::string& path)
{
  const std::string text = read_note(path);
  const Json note = Json::parse(text, nullptr, false);
  std::string source;
  try {
    print(fmt::format("{}, made by {} {} for {}\n", note.at("name").get<std::string>(),
                      note.at("compiler").get<std::string>(), note.at("flags").get<std::string>(),
                      targets_text(note.at("targets"))));
    print(fmt::format("{:<12}{}\n", "here", here_text(note.at("targets"))));
    describe_tensors(note, "inputs", "inputs");
    describe_tensors(note, "outputs", "outputs");
    print(fmt::format("{:<12}{}\n", "parameters",
                      bytes_text(note.at("parameter_bytes").get<int64_t>()) +
                          (note.at("embedded").get<bool>() ? ", inside" : ", to be loaded")));
    for (const auto& [mode, memory] : note.at("memory").items()) {
      const auto bytes = [&](const char* key) { return memory.at(key).get<int64_t>(); };
      print(fmt::format("{:<12}workspace {} + {} an image + {} a thread", mode, bytes_text(bytes("fixed")),
                        bytes_text(bytes("per_image")), bytes_text(bytes("per_thread"))));
      print(bytes("per_run") > 0 ? fmt::format(" + {} for each image on its way\n", bytes_text(bytes("per_run")))
                                 : "\n");
    }
    source = note.at("source").get<std::string>();
  } catch (const Json::exception&) {
    throw Error({}, fmt::format("{}: its note is damaged", path));
  }
  if (const auto network = read_text(std::make_shared<Source>(Source{path, source}))) {
    print("\n");
    describe_network(*network);
  }
}

} // namespace

int info_command(const Arguments& arguments)
{
  Parser parser("cnnc info NETWORK", "What each layer computes, holds and sees.",
                {"cnnc info lenet5.yaml", "cnnc info alexnet.yaml --without conv3,conv4",
                 "cnnc info lenet5.so        # what a compiled library says of itself"});
  std::string path;
  std::vector<std::string> without;
  parser.app.add_option("network", path, "a .yaml, .onnx or .ir file, or a compiled .so")->required();
  add_without_option(parser, without);
  parser.parse(arguments);
  if (path.ends_with(".so") && without.empty())
    describe_library(path);
  else
    describe_network(read_network(path, without));
  return 0;
}

} // namespace cnnc
