#include "compiler/layers.h"

#include <algorithm>
#include <fmt/format.h>

namespace cnnc {

namespace {

const ParameterDef* parameter_of(const OpDef& def, std::string_view operand)
{
  for (const ParameterDef& parameter : def.parameters)
    if (parameter.name == operand)
      return &parameter;
  return nullptr;
}

// A number that lives across steps, such as the seed of a dropout's mask.
bool is_state_operand(const OpDef& def, const OperandSpec& operand)
{
  return def.training_only && operand.dims.empty() && !operand.any_rank && !operand.variadic;
}

std::string label_of(const LayerSpec& layer)
{
  return fmt::format("{} '{}'", layer.op, layer.name);
}

class Builder {
public:
  Builder(const std::string& name, bool training) : training(training) { graph.name = name; }

  Graph graph;

  void add_input(const InputSpec& input, DType dtype = DType::f32, int64_t limit = 0)
  {
    Value value;
    value.name = input.name;
    value.kind = ValueKind::input;
    value.type = {dtype, input.shape};
    value.limit = limit;
    value.location = input.where;
    value_of[input.name] = graph.add_value(std::move(value));
  }

  void add_layer(const LayerSpec& layer)
  {
    const std::vector<OperandSpec> operands = input_specs(*layer.def, layer.attributes);
    // First what other layers bring: the parameters' shapes follow from it.
    std::vector<int> inputs;
    size_t next = 0;
    for (const OperandSpec& operand : operands) {
      const bool data = is_data_operand(*layer.def, operand);
      do
        inputs.push_back(data && next < layer.from.size() ? value_of.at(layer.from[next++].name) : -1);
      while (data && operand.variadic && next < layer.from.size());
    }
    guarded(label_of(layer), *layer.def, inputs, layer.where, [&] {
      std::vector<std::optional<TensorType>> types;
      for (const int input : inputs)
        types.push_back(input < 0 ? std::nullopt : std::optional(at(input).type));
      for (const LayerParameter& parameter : parameters_of(*layer.def, types, layer.attributes, layer.where))
        for (size_t i = 0; i < operands.size(); ++i)
          if (operands[i].name == parameter.name)
            inputs[i] = add_parameter(layer, parameter);
    });
    for (size_t i = 0; i < operands.size(); ++i)
      if (is_state_operand(*layer.def, operands[i]))
        inputs[i] = add_state(operands[i], layer.where);
    Attributes attributes = layer.attributes;
    for (const AttributeDef& only_layer : layer.def->layer)
      attributes.erase(only_layer.name);
    if (layer.text_where.is_known())
      check_formula(layer, inputs, attributes);
    if (training && attributes.contains("training"))
      attributes["training"] = true;
    const int number = add_op(label_of(layer), *layer.def, layer.name, inputs, attributes, layer.where);
    const Op& op = graph.ops[static_cast<size_t>(number)];
    value_of[layer.name] = op.outputs[0];
    const std::vector<OperandSpec> results = output_specs(*op.def, op.attributes);
    for (const auto& [output, operand] : op.def->updates)
      for (size_t r = 0; r < results.size(); ++r)
        for (size_t i = 0; i < operands.size(); ++i)
          if (results[r].name == output && operands[i].name == operand)
            graph.updates.push_back({op.inputs[i], op.outputs[r]});
  }

  // Whether the layer is what its row says by default; an axis may count from the end.
  bool has_defaults(const LayerSpec& layer) const
  {
    Attributes attributes = layer.attributes;
    const auto axis = attributes.find("axis");
    if (int64_t* number = axis == attributes.end() ? nullptr : std::get_if<int64_t>(&axis->second);
        number && *number < 0)
      *number += static_cast<int64_t>(at(value_of.at(layer.from[0].name)).type.shape.size());
    return attributes == check_attributes(*layer.def, {}, true, layer.where);
  }

  // A layer that does nothing here: its name stands for what it reads.
  void pass_through(const LayerSpec& layer) { value_of[layer.name] = value_of.at(layer.from[0].name); }

  int value(const std::string& name) const { return value_of.at(name); }

  int add_loss(const LossSpec& loss, int prediction)
  {
    const OpDef& def = *loss.def;
    std::vector<OperandSpec> operands;
    for (const std::string& text : def.inputs)
      operands.push_back(parse_operand_spec(text));
    const TensorType type = graph.values[static_cast<size_t>(prediction)].type;
    // The dimensions that the row names; `...` is the rest, the same for all operands.
    const size_t named = operands[0].dims.size();
    if (operands[0].any_rank ? type.shape.size() < named : type.shape.size() != named)
      throw shape_error(
          def.name, loss.where, {prediction},
          fmt::format("{} wants {}, which does not fit what the network computes", def.name, to_string(operands[0])));
    std::map<std::string, Dim> dims;
    for (size_t i = 0; i < named; ++i)
      dims[operands[0].dims[i]] = type.shape[i];

    std::vector<int> inputs{prediction};
    Attributes attributes = loss.attributes;
    for (size_t k = 1; k < operands.size(); ++k) {
      InputSpec input{operands[k].name, {}, loss.where};
      for (const std::string& dim : operands[k].dims)
        input.shape.push_back(dims.at(dim));
      if (operands[k].any_rank)
        input.shape.insert(input.shape.end(), type.shape.begin() + static_cast<int64_t>(named), type.shape.end());
      if (operands[k].optional) {
        inputs.push_back(add_numbers(input, loss, type.dtype));
        continue;
      }
      const DType dtype = operands[k].dtype.value_or(type.dtype);
      // A label says which of the prediction's elements is the right one.
      int64_t classes = 0;
      if (!is_float(dtype))
        for (size_t i = 0; i < operands[0].dims.size() && i < type.shape.size(); ++i)
          if (std::find(operands[k].dims.begin(), operands[k].dims.end(), operands[0].dims[i]) ==
              operands[k].dims.end())
            classes = type.shape[i].size;
      // Where some label says nothing, it may be any number.
      const auto ignored = attributes.find("ignore_index");
      if (ignored != attributes.end() && ignored->second != AttributeValue(std::vector<int64_t>{}))
        classes = 0;
      add_input(input, dtype, classes);
      inputs.push_back(value_of.at(input.name));
    }
    for (const AttributeDef& only_layer : def.layer)
      attributes.erase(only_layer.name);
    const int op = add_op(def.name, def, "loss", inputs, attributes, loss.where);
    const int value = graph.ops[static_cast<size_t>(op)].outputs[0];
    if (!at(value).type.shape.empty())
      throw Error(loss.where, fmt::format("the loss is {}: training wants one number, as `reduction: mean` makes it",
                                          to_string(at(value).type)));
    return value;
  }

private:
  // An optional operand of the loss that its YAML row gives as a list of the same name; -1 where it does not.
  int add_numbers(const InputSpec& input, const LossSpec& loss, DType dtype)
  {
    const auto given = loss.attributes.find(input.name);
    const auto* numbers = given == loss.attributes.end() ? nullptr : std::get_if<std::vector<double>>(&given->second);
    if (!numbers || numbers->empty())
      return -1;
    if (elements(input.shape) != static_cast<int64_t>(numbers->size()))
      throw Error(loss.where, fmt::format("{} is a list of {} numbers here, found {}", input.name,
                                          elements(input.shape), numbers->size()));
    Tensor data(dtype, {static_cast<int64_t>(numbers->size())});
    for (size_t i = 0; i < numbers->size(); ++i)
      data.set(static_cast<int64_t>(i), (*numbers)[i]);
    Value value;
    value.name = input.name;
    value.kind = ValueKind::constant;
    value.type = {dtype, input.shape};
    value.data = std::make_shared<const Tensor>(std::move(data));
    value.location = input.where;
    return graph.add_value(std::move(value));
  }

  bool training;                                    // this is the step's graph, not forward's
  std::map<std::string, int, std::less<>> value_of; // of inputs and layers
  std::map<std::string, int, std::less<>> states;

  const Value& at(int value) const { return graph.values[static_cast<size_t>(value)]; }

  // The message with both ends: the op, and what each operand is.
  Error shape_error(const std::string& label, const Location& where, const std::vector<int>& inputs,
                    std::string text) const
  {
    std::vector<Error::Note> notes;
    for (const int input : inputs)
      if (input >= 0 && at(input).kind != ValueKind::parameter && at(input).kind != ValueKind::state)
        notes.push_back({at(input).location, fmt::format("'{}' {} {}", at(input).name,
                                                         at(input).kind == ValueKind::input ? "is" : "produces",
                                                         to_string(at(input).type))});
    if (text.find(label) == text.npos)
      text = fmt::format("{}: {}", label, text);
    return Error(where, text, std::move(notes));
  }

  // Whatever goes wrong in there is told with the layer's name and both ends.
  void guarded(const std::string& label, const OpDef& def, const std::vector<int>& inputs, const Location& where,
               const std::function<void()>& body) const
  {
    try {
      body();
    } catch (const Error& e) {
      std::string text = e.what();
      if (text.starts_with(def.name + ": "))
        text.erase(0, def.name.size() + 2);
      // An error in a value of the layer is no matter of shapes.
      if (e.where.is_known() && !(e.where == where))
        throw Error(e.where, fmt::format("{}: {}", label, text), e.notes);
      throw shape_error(label, where, inputs, text);
    }
  }

  int add_op(const std::string& label, const OpDef& def, const std::string& name, const std::vector<int>& inputs,
             const Attributes& attributes, const Location& where)
  {
    int op = -1;
    guarded(label, def, inputs, where, [&] {
      op = graph.add_op(def, name, inputs, attributes, where);
      for (const int output : graph.ops[static_cast<size_t>(op)].outputs)
        check_result(at(output).type.shape);
    });
    return op;
  }

  static void check_result(const Shape& shape)
  {
    for (size_t d = 0; d < shape.size(); ++d) {
      if (d > 0 && shape[d].batch)
        throw Error({}, fmt::format("it makes {}: the batch must stay the first dimension", to_string(shape)));
      if (!shape[d].batch && shape[d].size == 0)
        throw Error({}, fmt::format("it makes {}, which has no elements", to_string(shape)));
    }
  }

  // An error in a user's formula belongs to its text; the layer that uses it is where the shapes come from.
  void check_formula(const LayerSpec& layer, const std::vector<int>& inputs, const Attributes& attributes) const
  {
    std::vector<std::optional<TensorType>> types;
    for (const int input : inputs)
      types.push_back(input < 0 ? std::nullopt : std::optional(at(input).type));
    try {
      cnnc::bind(*layer.def, types, attributes, layer.text_where);
    } catch (const Error& e) {
      Error error = shape_error(fmt::format("op '{}'", layer.op), e.where, inputs, e.what());
      error.notes.insert(error.notes.begin(), {layer.where, fmt::format("used by '{}'", layer.name)});
      throw error;
    }
  }

  int add_parameter(const LayerSpec& layer, const LayerParameter& parameter)
  {
    Value value;
    value.name = layer.name + "." + parameter.name;
    value.kind = ValueKind::parameter;
    value.type = parameter.type;
    value.initial = parameter.initial;
    value.rate = parameter.is_learnt ? layer.rate : 0;
    value.location = layer.where;
    if (layer.values)
      value.data = layer.values(parameter.name, value.type);
    return graph.add_value(std::move(value));
  }

  int add_state(const OperandSpec& operand, const Location& where)
  {
    const auto found = states.find(operand.name);
    if (found != states.end())
      return found->second;
    Value value;
    value.name = operand.name;
    value.kind = ValueKind::state;
    value.type = {operand.dtype.value_or(DType::f32), {}};
    value.initial = "zero";
    value.location = where;
    return states[operand.name] = graph.add_value(std::move(value));
  }
};

// Which layers the outputs depend on.
std::vector<bool> wanted_layers(const std::vector<LayerSpec>& layers, const std::vector<std::string>& outputs)
{
  std::map<std::string, size_t, std::less<>> number;
  for (size_t i = 0; i < layers.size(); ++i)
    number[layers[i].name] = i;
  std::vector<bool> wanted(layers.size(), false);
  const auto want = [&](const std::string& name) {
    if (const auto found = number.find(name); found != number.end())
      wanted[found->second] = true;
  };
  for (const std::string& output : outputs)
    want(output);
  for (size_t i = layers.size(); i-- > 0;)
    if (wanted[i])
      for (const NameAt& from : layers[i].from)
        want(from.name);
  return wanted;
}

// `left_out`: not an op of this name, where it is an output.
Builder build(const std::string& name, const std::vector<InputSpec>& inputs, const std::vector<LayerSpec>& layers,
              const std::vector<std::string>& outputs, bool training, const std::string& left_out)
{
  Builder builder(name, training);
  for (const InputSpec& input : inputs)
    builder.add_input(input);
  const std::vector<bool> wanted = wanted_layers(layers, outputs);
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerSpec& layer = layers[i];
    if (!wanted[i])
      continue;
    const bool is_output = std::find(outputs.begin(), outputs.end(), layer.name) != outputs.end();
    if ((layer.def->training_only && !training) ||
        (is_output && layer.def->name == left_out && builder.has_defaults(layer))) {
      builder.pass_through(layer);
      continue;
    }
    try {
      builder.add_layer(layer);
    } catch (Error& error) {
      error.notes.insert(error.notes.end(), layer.uses.begin(), layer.uses.end());
      throw;
    }
  }
  return builder;
}

std::vector<std::string> names_of(const std::vector<NameAt>& outputs, const std::vector<LayerSpec>& layers)
{
  std::vector<std::string> names;
  for (const NameAt& output : outputs)
    names.push_back(output.name);
  if (names.empty())
    names.push_back(layers.back().name);
  return names;
}

} // namespace

bool is_data_operand(const OpDef& def, const OperandSpec& operand)
{
  return !parameter_of(def, operand.name) && !is_state_operand(def, operand);
}

Graph build_forward(const std::string& name, const std::vector<InputSpec>& inputs, const std::vector<LayerSpec>& layers,
                    const std::vector<NameAt>& outputs)
{
  const std::vector<std::string> names = names_of(outputs, layers);
  Builder builder = build(name, inputs, layers, names, false, "");
  for (size_t i = 0; i < names.size(); ++i) {
    const int value = builder.value(names[i]);
    const Location where = i < outputs.size() ? outputs[i].where : layers.back().where;
    if (builder.graph.values[static_cast<size_t>(value)].kind == ValueKind::input)
      throw Error(where, names.size() == 1 ? std::string("the network computes nothing: its output is its input")
                                           : fmt::format("the output '{}' is an input of the network", names[i]));
    for (size_t k = 0; k < i; ++k)
      if (builder.graph.outputs[k] == value)
        throw Error(where, fmt::format("the outputs '{}' and '{}' are the same tensor", names[k], names[i]));
    builder.graph.outputs.push_back(value);
  }
  return std::move(builder.graph);
}

Graph build_training(const std::string& name, const std::vector<InputSpec>& inputs,
                     const std::vector<LayerSpec>& layers, const LossSpec& loss, bool training,
                     const std::vector<NameAt>& outputs)
{
  const std::vector<std::string> names{names_of(outputs, layers)[0]};
  Builder builder = build(name, inputs, layers, names, training, loss.def->absorbs);
  const int value = builder.add_loss(loss, builder.value(names[0]));
  builder.graph.outputs.push_back(value);
  builder.graph.training = Training{value, loss.optimizer, loss.optimizer_attributes, {}};
  return std::move(builder.graph);
}

} // namespace cnnc
