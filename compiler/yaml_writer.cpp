#include "compiler/yaml_writer.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <set>

namespace cnnc {

namespace {

constexpr size_t columns = 110;

std::string text_of_value(const AttributeValue& value, const AttributeDef& def)
{
  // One number stands for all parts.
  if (const auto* list = std::get_if<std::vector<int64_t>>(&value))
    if (list->size() > 1 && (def.kind == AttributeKind::padding || !def.parts.empty()) &&
        std::all_of(list->begin(), list->end(), [&](int64_t v) { return v == list->front(); }))
      return std::to_string(list->front());
  if (const auto* number = std::get_if<double>(&value))
    return std::isinf(*number) ? (*number < 0 ? "-.inf" : ".inf") : fmt::format("{}", *number);
  if (const auto* text = std::get_if<std::string>(&value))
    return *text;
  return to_string(value);
}

class Writer {
public:
  Writer(const Network& network, const std::string& weights, const std::string& comment)
      : network(network),
        graph(network.forward),
        weights(weights),
        comment(comment)
  {
  }

  WrittenNetwork run()
  {
    for (const int input : values_of(graph, ValueKind::input))
      names[input] = at(input).name;
    for (const Op& op : graph.ops)
      add_op(op);
    result.text = comment.empty() ? "" : "# " + comment + "\n";
    result.text += fmt::format("name: {}\ninput:", network.name);
    const std::vector<int> inputs = values_of(graph, ValueKind::input);
    std::string list;
    for (const int input : inputs)
      list += (list.empty() ? "" : ", ") + at(input).name + ": " + input_shape(at(input));
    result.text += fmt::format(" {{{}}}\n", list);
    if (!weights.empty() && !result.tensors.empty())
      result.text += fmt::format("weights: {}\n", weights);
    if (!user_ops.empty())
      result.text += "ops:\n" + user_ops;
    result.text += "layers:\n" + layers;
    std::vector<std::string> outputs;
    for (const int output : graph.outputs)
      outputs.push_back(name_of(output));
    if (outputs.size() != 1 || outputs[0] != last)
      result.text += fmt::format("output: [{}]\n", fmt::join(outputs, ", "));
    return std::move(result);
  }

private:
  const Network& network;
  const Graph& graph;
  const std::string &weights, &comment;
  WrittenNetwork result;
  std::map<int, std::string> names;            // of values that layers and inputs make
  std::map<std::string, std::string> formulas; // a user's op by its text
  std::string layers, user_ops, last;
  bool first = true;

  const Value& at(int value) const { return graph.values[static_cast<size_t>(value)]; }

  static std::string input_shape(const Value& input)
  {
    const Shape& shape = input.type.shape;
    if (input.type.dtype != DType::f32 || shape.size() < 2 || !(shape[0] == Dim{1, true}))
      throw Error(input.location, fmt::format("the input '{}' is {}: a .yaml reads images, f32[n, ...]", input.name,
                                              to_string(input.type)));
    std::string text;
    for (size_t d = 1; d < shape.size(); ++d)
      text += fmt::format("{}{}", d > 1 ? ", " : "", shape[d].size);
    return "[" + text + "]";
  }

  const std::string& name_of(int value)
  {
    if (const auto known = names.find(value); known != names.end())
      return known->second;
    const Value& constant = at(value);
    if (!constant.data || constant.kind == ValueKind::result || constant.type.dtype != DType::f32)
      throw Error(constant.location,
                  constant.kind == ValueKind::result
                      ? fmt::format("'{}' is not the first result of its op: a .yaml cannot name it", constant.name)
                      : fmt::format("the tensor '{}' is {}: a .yaml has parameters in f32", constant.name,
                                    to_string(constant.type)));
    // A scalar has one element, and broadcasts all the same.
    std::vector<int64_t> dims = constant.data->dims.empty() ? std::vector<int64_t>{1} : constant.data->dims;
    auto tensor = std::make_shared<Tensor>(*constant.data);
    tensor->dims = dims;
    std::string name = constant.name;
    std::replace(name.begin(), name.end(), '.', '_');
    add_line("parameter",
             {fmt::format("name: {}", name), fmt::format("shape: [{}]", fmt::join(dims, ", ")), "freeze: true"});
    last = name;
    result.tensors[name + ".value"] = tensor;
    return names[value] = name;
  }

  void add_line(const std::string& op, const std::vector<std::string>& keys)
  {
    std::string line = fmt::format("  - {}: {{", op);
    size_t start = 0;
    for (size_t i = 0; i < keys.size(); ++i) {
      if (i > 0 && line.size() - start + keys[i].size() > columns) {
        line += ",\n";
        start = line.size();
        line += std::string(op.size() + 7, ' ');
      } else if (i > 0) {
        line += ", ";
      }
      line += keys[i];
    }
    layers += line + "}\n";
  }

  // Whether the row would have that value without being told.
  static bool goes_without_saying(const Op& op, const std::string& name)
  {
    Attributes others = op.attributes;
    const AttributeValue value = others.at(name);
    others.erase(name);
    try {
      const Attributes checked = check_attributes(*op.def, others, false, {});
      const auto found = checked.find(name);
      return found != checked.end() && found->second == value;
    } catch (const Error&) {
      return false;
    }
  }

  void add_op(const Op& op)
  {
    const std::vector<OperandSpec> specs = input_specs(*op.def, op.attributes);
    std::vector<std::string> from, keys{fmt::format("name: {}", op.name)};
    for (size_t i = 0; i < op.inputs.size(); ++i) {
      const OperandSpec& spec = specs.at(std::min(i, specs.size() - 1));
      const bool is_parameter = std::any_of(op.def->parameters.begin(), op.def->parameters.end(),
                                            [&](const ParameterDef& parameter) { return parameter.name == spec.name; });
      if (op.inputs[i] < 0)
        continue;
      if (!is_parameter) {
        from.push_back(name_of(op.inputs[i]));
        continue;
      }
      const Value& value = at(op.inputs[i]);
      if (value.kind == ValueKind::result || value.kind == ValueKind::input)
        throw Error(op.location, fmt::format("{} '{}' takes its {} from a layer: a .yaml has it as a parameter",
                                             op.def->name, op.name, spec.name));
      if (value.data)
        result.tensors[op.name + "." + spec.name] = value.data;
    }
    std::string name = op.def->name;
    if (op.def == &op_formula)
      name = user_op(op);
    else {
      add_layer_attributes(op, specs, keys);
      for (const AttributeDef& def : op.def->attributes)
        if (const auto value = op.attributes.find(def.name);
            value != op.attributes.end() && def.name != "training" && !goes_without_saying(op, def.name))
          keys.push_back(fmt::format("{}: {}", def.name, text_of_value(value->second, def)));
    }
    const bool above = from.size() == 1 && (first ? values_of(graph, ValueKind::input).size() == 1 : from[0] == last);
    const bool variadic = !specs.empty() && specs.back().variadic;
    if (!from.empty() && (!above || variadic))
      keys.push_back(from.size() == 1 && !variadic ? fmt::format("from: {}", from[0])
                                                   : fmt::format("from: [{}]", fmt::join(from, ", ")));
    add_line(name, keys);
    names[op.outputs[0]] = last = op.name;
    first = false;
  }

  std::string user_op(const Op& op)
  {
    const auto& text = std::get<std::string>(op.attributes.at("text"));
    const auto &inputs = std::get<std::vector<std::string>>(op.attributes.at("inputs")),
               &outputs = std::get<std::vector<std::string>>(op.attributes.at("outputs"));
    std::string& name = formulas[text];
    if (!name.empty())
      return name;
    name = op.name + "_op";
    user_ops += fmt::format("  {}:\n    inputs: [\"{}\"]\n    outputs: [\"{}\"]\n    formula: |\n", name,
                            fmt::join(inputs, "\", \""), fmt::join(outputs, "\", \""));
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      user_ops += "      " + text.substr(begin, end - begin) + "\n";
      begin = end + 1;
    }
    return name;
  }

  std::vector<std::optional<TensorType>> data_types(const Op& op, const std::vector<OperandSpec>& specs) const
  {
    std::vector<std::optional<TensorType>> types;
    for (size_t i = 0; i < op.inputs.size(); ++i) {
      const OperandSpec& spec = specs.at(std::min(i, specs.size() - 1));
      const bool is_parameter = std::any_of(op.def->parameters.begin(), op.def->parameters.end(),
                                            [&](const ParameterDef& parameter) { return parameter.name == spec.name; });
      types.push_back(op.inputs[i] < 0 || is_parameter ? std::nullopt : std::optional(at(op.inputs[i]).type));
    }
    return types;
  }

  // Does the row make the parameters that the op has?
  bool makes_parameters(const Op& op, const std::vector<OperandSpec>& specs, const Attributes& attributes) const
  {
    try {
      for (const LayerParameter& made :
           parameters_of(*op.def, data_types(op, specs), check_attributes(*op.def, attributes, true, {}), {}))
        for (size_t i = 0; i < op.inputs.size(); ++i)
          if (specs.at(std::min(i, specs.size() - 1)).name == made.name &&
              (op.inputs[i] < 0 || at(op.inputs[i]).type.shape != made.type.shape))
            return false;
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  // filters, kernel, units, bias, shape: read off the parameters.
  void add_layer_attributes(const Op& op, const std::vector<OperandSpec>& specs, std::vector<std::string>& keys) const
  {
    Attributes known = op.attributes;
    const auto operand = [&](const std::string& name) {
      for (size_t i = 0; i < op.inputs.size(); ++i)
        if (specs.at(std::min(i, specs.size() - 1)).name == name)
          return op.inputs[i];
      return -1;
    };
    const auto extent = [&](const std::string& symbol) -> std::optional<int64_t> {
      for (const ParameterDef& parameter : op.def->parameters)
        if (const int value = operand(parameter.name); value >= 0)
          for (size_t d = 0; d < parameter.dims.size(); ++d)
            if (parameter.dims[d] == symbol)
              return at(value).type.shape.at(d).size;
      return {};
    };
    std::vector<const AttributeDef*> open;
    for (const AttributeDef& def : op.def->layer) {
      std::optional<AttributeValue> value;
      for (const ParameterDef& parameter : op.def->parameters) {
        if (parameter.only_when == def.name)
          value = operand(parameter.name) >= 0;
        if (parameter.shape_from == def.name && operand(parameter.name) >= 0) {
          std::vector<int64_t> dims;
          for (const Dim& dim : at(operand(parameter.name)).type.shape)
            dims.push_back(dim.size);
          value = dims;
        }
      }
      if (!value && !def.parts.empty()) {
        std::vector<int64_t> parts;
        for (const std::string& part : def.parts)
          if (const auto size = extent(part))
            parts.push_back(*size);
        if (parts.size() == def.parts.size())
          value = parts;
      } else if (!value) {
        if (const auto size = extent(def.name))
          value = *size;
      }
      if (value)
        known[def.name] = *value;
      else
        open.push_back(&def);
    }
    // What stands in no shape alone (the filters of a group): the number that makes the same parameters.
    for (const AttributeDef* def : open)
      for (const Dim& dim : at(op.outputs[0]).type.shape) {
        Attributes tried = known;
        tried[def->name] = dim.size;
        if (def->kind == AttributeKind::integer && makes_parameters(op, specs, tried)) {
          known = tried;
          break;
        }
      }
    if (!op.def->layer.empty() && !makes_parameters(op, specs, known))
      throw Error(op.location, fmt::format("{} '{}' cannot be written as a layer: its parameters have other shapes",
                                           op.def->name, op.name));
    for (const AttributeDef& def : op.def->layer)
      if (const auto value = known.find(def.name);
          value != known.end() && !(def.default_value && *def.default_value == value->second))
        keys.push_back(fmt::format("{}: {}", def.name, text_of_value(value->second, def)));
  }
};

} // namespace

WrittenNetwork yaml_of(const Network& network, const std::string& weights, const std::string& comment)
{
  return Writer(network, weights, comment).run();
}

} // namespace cnnc
