#include "ir/graph_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

std::string quoted(const std::string& text)
{
  return to_string(AttributeValue(text));
}

std::string element(const Tensor& tensor, int64_t i)
{
  switch (tensor.dtype) {
  case DType::f64: return fmt::format("{}", tensor.get(i));
  case DType::i64: return std::to_string(tensor.data<int64_t>()[i]);
  case DType::f32:
  case DType::bf16: return fmt::format("{}", static_cast<float>(tensor.get(i)));
  default: return std::to_string(static_cast<int64_t>(tensor.get(i)));
  }
}

struct Printer {
  const Graph& graph;
  const std::function<std::string(int)>& nest_name;
  std::string text;

  const Value& value(int number) const { return graph.values.at(static_cast<size_t>(number)); }

  std::string name(int number) const
  {
    if (number < 0)
      return "_";
    const Value& v = value(number);
    return std::string(1, sigil(v.kind)) + print_name(v.name);
  }

  std::string names(const std::vector<int>& numbers) const
  {
    std::string list;
    for (int number : numbers)
      list += (list.empty() ? "" : ", ") + name(number);
    return list;
  }

  static std::string at(const Location& where)
  {
    return where.is_known() ? fmt::format(" at {}:{}:{}", quoted(where.source->name), where.line, where.column) : "";
  }

  // Type, layout, place.
  std::string type(const Value& v) const
  {
    std::string result = to_string(v.type);
    if (v.layout)
      result += " as " + to_string(*v.layout);
    if (v.region != Region::none)
      result += fmt::format(" in {} {}", to_string(v.region), v.offset);
    if (v.whole >= 0)
      result += fmt::format(" in {} at {}", name(v.whole), v.whole_at);
    if (v.limit != 0)
      result += fmt::format(" below {}", v.limit);
    return result;
  }

  static std::string data(const Value& v)
  {
    if (!v.data || v.data->size() > inline_limit)
      return " = data " + quoted(v.data_name.empty() ? v.name : v.data_name);
    std::string list;
    for (int64_t i = 0; i < v.data->size(); ++i)
      list += (i == 0 ? "" : ", ") + element(*v.data, i);
    return fmt::format(" = [{}]", list);
  }

  static std::string attributes(const Attributes& attributes)
  {
    std::string list;
    for (const auto& [key, v] : attributes)
      list += fmt::format("{}{} = {}", list.empty() ? "" : ", ", key, to_string(v));
    return list.empty() ? "" : " {" + list + "}";
  }

  // Those that say more than the row does.
  static Attributes notable(const Op& op)
  {
    Attributes required, result;
    for (const AttributeDef& attribute : op.def->attributes)
      if (auto found = op.attributes.find(attribute.name); !attribute.default_value && found != op.attributes.end())
        required.insert(*found);
    Attributes plain = check_attributes(*op.def, required, false, {});
    for (const auto& [key, v] : op.attributes)
      if (auto found = plain.find(key); required.contains(key) || found == plain.end() || found->second != v)
        result[key] = v;
    return result;
  }

  void declare(std::string_view word, const Value& v)
  {
    text += fmt::format("  {} {}{}: {}", word, sigil(v.kind), print_name(v.name), type(v));
    if (!v.initial.empty())
      text += " = " + v.initial;
    if (v.rate != 1)
      text += fmt::format(" rate {}", v.rate);
    if (v.data || !v.data_name.empty() || v.kind == ValueKind::constant)
      text += data(v);
    text += at(v.location) + "\n";
  }

  void print(const Op& op, std::string_view indent)
  {
    text += fmt::format("{}{} = {}", indent, names(op.outputs), op.def->name);
    if (!op.inputs.empty())
      text += " " + names(op.inputs);
    text += attributes(notable(op));
    std::string types;
    for (int output : op.outputs)
      types += (types.empty() ? " : " : ", ") + type(value(output));
    text += types;
    if (op.outputs.empty() || op.name != value(op.outputs[0]).name)
      text += " named " + quoted(op.name);
    text += at(op.location) + "\n";
  }

  void print()
  {
    text = "net @" + print_name(graph.name) + "(";
    bool first = true;
    for (const Value& v : graph.values)
      if (v.kind == ValueKind::input) {
        text += fmt::format("{}%{}: {}{}", first ? "" : ", ", print_name(v.name), type(v), at(v.location));
        first = false;
      }
    text += ")" + at(graph.location) + " {\n";
    if (graph.fixed_bytes != 0 || graph.image_bytes != 0 || graph.thread_bytes != 0 || graph.run_bytes != 0)
      text += fmt::format("  workspace fixed {} image {} thread {}{}\n", graph.fixed_bytes, graph.image_bytes,
                          graph.thread_bytes, graph.run_bytes != 0 ? fmt::format(" run {}", graph.run_bytes) : "");
    for (const Value& v : graph.values)
      if (v.kind == ValueKind::parameter)
        declare("parameter", v);
      else if (v.kind == ValueKind::state)
        declare("state", v);
      else if (v.kind == ValueKind::prepared)
        declare("prepared", v);
      else if (v.kind == ValueKind::constant)
        declare("constant", v);
      else if (v.kind == ValueKind::temporary)
        declare("temporary", v);

    int open = -1;
    for (const Op& op : graph.ops) {
      if (op.kernel != open) {
        if (open >= 0)
          text += "  }\n";
        open = op.kernel;
        if (open >= 0) {
          const Kernel& kernel = graph.kernels.at(static_cast<size_t>(open));
          text += "  kernel " + print_name(kernel.name);
          if (kernel.nest >= 0)
            text += " -> @" + print_name(nest_name(kernel.nest)) + "(" + names(kernel.arguments) + ")";
          if (!kernel.schedule.empty())
            text += " schedule" + attributes(kernel.schedule);
          text += " {\n";
        }
      }
      print(op, open >= 0 ? "    " : "  ");
    }
    if (open >= 0)
      text += "  }\n";

    if (!graph.outputs.empty())
      text += "  output " + names(graph.outputs) + "\n";
    for (const StateUpdate& update : graph.updates)
      text += fmt::format("  update {} = {}\n", name(update.target), name(update.value));
    if (graph.training) {
      const Training& training = *graph.training;
      Attributes all = training.attributes;
      if (training.optimizer)
        all["optimizer"] = training.optimizer->name;
      if (!training.gradients.empty())
        all["gradients"] = training.gradients;
      text += "  train " + name(training.loss) + attributes(all) + "\n";
    }
    if (graph.precision) {
      text += fmt::format("  precision {}{}\n", to_string(graph.precision->type),
                          graph.precision->weights_only ? " weights" : "");
      for (const auto& [of, ranges] : graph.precision->ranges)
        text += fmt::format("  range %{} = {}\n", print_name(of), limits(ranges));
      for (const std::string& of : graph.precision->wide)
        text += fmt::format("  range %{} = bf16\n", print_name(of));
    }
    text += "}\n";
  }

  static std::string limits(const LowPrecision::Ranges& ranges)
  {
    const auto text_of = [](const LowPrecision::Range& range) {
      return fmt::format("{}, {}{}", range.low, range.high, range.mean != 0 ? fmt::format(", {}", range.mean) : "");
    };
    if (ranges.size() == 1)
      return text_of(ranges[0]);
    std::vector<std::string> channels;
    for (const LowPrecision::Range& range : ranges)
      channels.push_back(fmt::format("[{}]", text_of(range)));
    return fmt::format("{}", fmt::join(channels, ", "));
  }
};

} // namespace

std::string_view to_string(Region region)
{
  static constexpr std::string_view names[] = {"none", "fixed", "image", "run", "parameter", "state", "constant"};
  return names[static_cast<size_t>(region)];
}

char sigil(ValueKind kind)
{
  bool one_call = kind == ValueKind::input || kind == ValueKind::result || kind == ValueKind::temporary;
  return one_call ? '%' : '@';
}

std::string print_name(std::string_view name)
{
  bool plain = !name.empty() && std::all_of(name.begin(), name.end(),
                                            [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.'; });
  return plain && name != "_" ? std::string(name) : quoted(std::string(name));
}

std::string print_graph(const Graph& graph, const std::function<std::string(int)>& nest_name)
{
  Printer printer{graph, nest_name, {}};
  printer.print();
  return printer.text;
}

std::string to_string(const Graph& graph)
{
  return print_graph(graph, [](int nest) { return std::to_string(nest); });
}

std::vector<std::pair<std::string, const Tensor*>> elided_data(const Graph& graph)
{
  std::vector<std::pair<std::string, const Tensor*>> elided;
  for (const Value& value : graph.values)
    if (value.data && value.data->size() > inline_limit)
      elided.emplace_back(value.data_name.empty() ? value.name : value.data_name, value.data.get());
  return elided;
}

} // namespace cnnc
