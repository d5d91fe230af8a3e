// conv2d on f32[n,3,32,32] and f32[8,3,5,5]  =>  checks over N, C, H, W, O, stride_h, ...  =>  its formula
#include "ir/op.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace cnnc {

#define OP(name) extern const OpDef op_##name;
#include "ir/ops.def"
#undef OP

namespace {

constexpr const OpDef* table[] = {
#define OP(name) &op_##name,
#include "ir/ops.def"
#undef OP
};

constexpr size_t most_operands = 1 << 12;

bool is_name(std::string_view text)
{
  return !text.empty() && !(text[0] >= '0' && text[0] <= '9') &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; });
}

std::vector<OperandSpec> parse_specs(const std::vector<std::string>& texts)
{
  std::vector<OperandSpec> specs;
  for (const std::string& text : texts)
    specs.push_back(parse_operand_spec(text));
  return specs;
}

std::vector<OperandSpec> specs(const OpDef& def, const std::vector<std::string>& own, const char* attribute,
                               const Attributes& attributes)
{
  if (&def != &op_formula)
    return parse_specs(own);
  return parse_specs(std::get<std::vector<std::string>>(attributes.at(attribute)));
}

// Operands with the types of an op's inputs; a variadic one is written out as x0, x1, ...
std::vector<BoundInput> bind_inputs(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs,
                                    const Attributes& attributes, const Location& where)
{
  std::vector<OperandSpec> specs = input_specs(def, attributes);
  bool variadic = !specs.empty() && specs.back().variadic;
  if (inputs.size() > (variadic ? most_operands : specs.size()))
    throw Error(where,
                fmt::format("takes {} operand{}, found {}", specs.size(), specs.size() == 1 ? "" : "s", inputs.size()));
  if (variadic) {
    OperandSpec last = specs.back();
    specs.pop_back();
    if (inputs.size() <= specs.size())
      throw Error(where, fmt::format("wants at least one {}", last.name));
    last.variadic = false;
    for (size_t k = 0; specs.size() < inputs.size(); ++k) {
      specs.push_back(last);
      specs.back().name += std::to_string(k);
    }
  }
  std::vector<BoundInput> bound;
  for (size_t k = 0; k < specs.size(); ++k) {
    bound.push_back({specs[k], k < inputs.size() ? inputs[k] : std::nullopt});
    if (!bound.back().type && !specs[k].optional)
      throw Error(where, fmt::format("its operand {} is missing", cnnc::to_string(specs[k])));
  }
  return bound;
}

// Symbols of the operands' dimensions, the batch left out.
void add_dims(Symbols& symbols, const std::vector<BoundInput>& inputs, const Location& where)
{
  for (const BoundInput& input : inputs) {
    if (!input.type)
      continue;
    const OperandSpec& spec = input.spec;
    const Shape& shape = input.type->shape;
    if (spec.any_rank ? shape.size() < spec.dims.size() : shape.size() != spec.dims.size()) {
      std::string advice =
          !spec.any_rank && spec.dims.size() == 2 && shape.size() > 2 ? "; put a flatten before it" : "";
      throw Error(where, fmt::format("{} is {}, of {} dimension{}{}", cnnc::to_string(spec),
                                     cnnc::to_string(*input.type), shape.size(), shape.size() == 1 ? "" : "s", advice));
    }
    for (size_t d = 0; d < spec.dims.size(); ++d)
      if (is_name(spec.dims[d]) && !shape[d].batch)
        symbols.emplace(spec.dims[d], shape[d].size); // bind_formula reports a second value
  }
}

std::string to_string(const Symbol& value)
{
  return std::visit([](auto number) { return fmt::format("{}", number); }, value);
}

bool holds(const CheckDef& check, const Symbols& symbols, const Location& where)
{
  return std::visit([](auto number) { return number != 0; }, evaluate(check.condition, symbols, where));
}

// {expression} => its value.
std::string fill(std::string_view text, const Symbols& symbols, const Location& where)
{
  std::string result;
  while (!text.empty()) {
    size_t open = text.find('{'), close = text.find('}');
    result += text.substr(0, open);
    if (open == text.npos || close == text.npos)
      break;
    result += to_string(evaluate(text.substr(open + 1, close - open - 1), symbols, where));
    text.remove_prefix(close + 1);
  }
  return result;
}

struct Bound {
  std::vector<BoundInput> inputs;
  Symbols attributes;
  Symbols all; // dimensions too
};

Bound bind_operands(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs,
                    const Attributes& attributes, const Location& where)
{
  Bound bound;
  bound.attributes = symbols_of(def, attributes);
  bound.inputs = bind_inputs(def, inputs, attributes, where);
  bound.all = bound.attributes;
  add_dims(bound.all, bound.inputs, where);
  return bound;
}

// The number of a winning term fits the tap's type.
void widen_taps(Formula& formula)
{
  for (const Statement& statement : formula.statements) {
    if (statement.tap < 0)
      continue;
    int64_t taps = 1;
    for (size_t k = 0; k < statement.indices.size(); ++k)
      if (!statement.is_output_index(static_cast<int>(k)))
        taps = std::min<int64_t>(taps, element_limit) * std::max<int64_t>(1, statement.indices[k].extent.size);
    DType& type = formula.tensors[static_cast<size_t>(statement.tap)].type.dtype;
    if (type == DType::u8 && taps > 256)
      type = DType::i32;
  }
}

} // namespace

void OpCall::want_floats() const
{
  if (const DType dtype = inputs.at(0).type->dtype; !is_float(dtype))
    throw Error({}, fmt::format("its operand is {}: real numbers are wanted, which a cast makes", to_string(dtype)));
}

int64_t OpCall::integer(std::string_view name) const
{
  const auto found = symbols.find(name);
  const int64_t* value = found == symbols.end() ? nullptr : std::get_if<int64_t>(&found->second);
  if (!value)
    throw InternalError(fmt::format("'{}' is no integer", name));
  return *value;
}

double OpCall::real(std::string_view name) const
{
  const auto found = symbols.find(name);
  if (found == symbols.end())
    throw InternalError(fmt::format("'{}' is no number", name));
  return std::visit([](auto number) { return static_cast<double>(number); }, found->second);
}

const std::string& OpCall::text(std::string_view name) const
{
  const auto found = attributes.find(name);
  if (found == attributes.end() || !std::holds_alternative<std::string>(found->second))
    throw InternalError(fmt::format("'{}' is no text", name));
  return std::get<std::string>(found->second);
}

const std::vector<int64_t>& OpCall::integers(std::string_view name) const
{
  const auto found = attributes.find(name);
  if (found == attributes.end() || !std::holds_alternative<std::vector<int64_t>>(found->second))
    throw InternalError(fmt::format("'{}' is no list of integers", name));
  return std::get<std::vector<int64_t>>(found->second);
}

const std::vector<double>& OpCall::reals(std::string_view name) const
{
  const auto found = attributes.find(name);
  if (found == attributes.end() || !std::holds_alternative<std::vector<double>>(found->second))
    throw InternalError(fmt::format("'{}' is no list of numbers", name));
  return std::get<std::vector<double>>(found->second);
}

std::span<const OpDef* const> op_table()
{
  return table;
}

const OpDef* find_op(std::string_view name)
{
  for (const OpDef* def : table)
    if (def->name == name)
      return def;
  return name == op_formula.name ? &op_formula : nullptr;
}

std::vector<std::string> op_names()
{
  std::vector<std::string> names;
  for (const OpDef* def : table)
    names.push_back(def->name);
  return names;
}

extern const OpDef op_formula{
    .name = "formula",
    .doc = "what its text says: gradients, and ops that a network defines itself",
    .attributes = {{.name = "inputs", .kind = AttributeKind::texts, .doc = "operands, such as x[N,C,H,W] or x[...]"},
                   {.name = "outputs", .kind = AttributeKind::texts, .doc = "results"},
                   {.name = "text", .kind = AttributeKind::text, .doc = "statements in index notation"}},
};

std::vector<OperandSpec> input_specs(const OpDef& def, const Attributes& attributes)
{
  return specs(def, def.inputs, "inputs", attributes);
}

std::vector<OperandSpec> output_specs(const OpDef& def, const Attributes& attributes)
{
  std::vector<OperandSpec> outputs = specs(def, def.outputs, "outputs", attributes);
  const auto training = attributes.find("training");
  if (training == attributes.end() || training->second != AttributeValue(true))
    std::erase_if(outputs, [&](const OperandSpec& output) {
      return std::any_of(def.updates.begin(), def.updates.end(),
                         [&](const auto& update) { return update.first == output.name; });
    });
  return outputs;
}

namespace {

Formula bind_text(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs, const Attributes& attributes,
                  const Location& where)
{
  if (&def == &op_formula) // its operands are a user's text
    try {
      std::vector<OperandSpec> outputs = output_specs(def, attributes);
      std::vector<BoundInput> bound = bind_inputs(def, inputs, attributes, where);
      return bind_formula(std::get<std::string>(attributes.at("text")), bound, outputs, {}, where);
    } catch (const InternalError& error) {
      throw Error(where, error.what());
    }
  Bound bound = bind_operands(def, inputs, attributes, where);
  for (const CheckDef& check : def.checks)
    if (!holds(check, bound.all, where))
      throw Error(where, fill(check.message, bound.all, where));
  std::string text = def.make_formula ? def.make_formula({bound.inputs, attributes, bound.all}) : def.formula;
  std::vector<OperandSpec> outputs = output_specs(def, attributes);
  if (def.make_type)
    outputs.at(0).dtype = def.make_type({bound.inputs, attributes, bound.all});
  Formula formula = bind_formula(text, bound.inputs, outputs, bound.attributes, where);
  widen_taps(formula);
  return formula;
}

// All that the formula follows from.
std::string key_of(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs, const Attributes& attributes)
{
  std::string key = def.name;
  for (const auto& [name, value] : attributes) {
    const auto* number = std::get_if<double>(&value);
    key +=
        fmt::format("\n{} {} {}", name, value.index(), number ? fmt::format("{:a}", *number) : cnnc::to_string(value));
    if (const auto* numbers = std::get_if<std::vector<double>>(&value))
      for (const double each : *numbers)
        key += fmt::format(" {:a}", each);
  }
  for (const std::optional<TensorType>& type : inputs)
    key += '\n' + (type ? cnnc::to_string(*type) : "-");
  return key;
}

} // namespace

// Every pass asks for the formulas of all ops, and those of Winograd's tiles are long: each text is read once.
Formula bind(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs, const Attributes& attributes,
             const Location& where)
{
  constexpr size_t most = 1 << 10;
  thread_local std::unordered_map<std::string, Formula> known;
  std::string key = key_of(def, inputs, attributes);
  if (const auto found = known.find(key); found != known.end())
    return found->second;
  Formula formula = bind_text(def, inputs, attributes, where);
  if (known.size() == most)
    known.clear();
  known.emplace(std::move(key), formula);
  return formula;
}

std::string gradient_text(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs,
                          const Attributes& attributes)
{
  if (!def.make_gradient)
    return def.gradient;
  Bound bound = bind_operands(def, inputs, attributes, {});
  return def.make_gradient({bound.inputs, attributes, bound.all});
}

std::vector<LayerParameter> parameters_of(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs,
                                          const Attributes& attributes, const Location& where)
{
  Symbols symbols = symbols_of(def, attributes);
  std::vector<BoundInput> data;
  std::vector<OperandSpec> specs = input_specs(def, attributes);
  DType dtype = DType::f32;
  bool first_float = true;
  for (size_t k = 0; k < inputs.size() && k < specs.size(); ++k) {
    data.push_back({specs[k], inputs[k]});
    if (inputs[k] && is_float(inputs[k]->dtype) && first_float) {
      dtype = inputs[k]->dtype;
      first_float = false;
    }
  }
  add_dims(symbols, data, where);

  auto integer = [&](const std::string& expression) {
    Symbol value = evaluate(expression, symbols, where);
    if (const auto* number = std::get_if<int64_t>(&value))
      return *number;
    throw InternalError(fmt::format("{}: '{}' is no integer", def.name, expression));
  };
  std::vector<LayerParameter> parameters;
  for (const ParameterDef& parameter : def.parameters) {
    if (!parameter.only_when.empty() && integer(parameter.only_when) == 0)
      continue;
    TensorType type{dtype, {}};
    const auto add_dim = [&](int64_t extent, const std::string& dim) {
      if (extent < 1 || extent > element_limit)
        throw Error(where, fmt::format("its {} would have {} elements along '{}'", parameter.name, extent, dim));
      type.shape.push_back({extent});
    };
    for (const std::string& dim : parameter.dims)
      add_dim(integer(dim), dim);
    if (parameter.make_dims)
      for (const int64_t extent : parameter.make_dims({data, attributes, symbols}))
        add_dim(extent, parameter.name);
    if (!parameter.shape_from.empty())
      for (const int64_t extent : std::get<std::vector<int64_t>>(attributes.find(parameter.shape_from)->second))
        add_dim(extent, parameter.shape_from);
    try {
      elements(type.shape);
    } catch (const Error& error) {
      throw Error(where, fmt::format("its {}: {}", parameter.name, error.what()));
    }
    std::string initial = parameter.initial;
    if (!parameter.fan_in.empty())
      initial += fmt::format("({})", integer(parameter.fan_in));
    parameters.push_back({parameter.name, type, initial, parameter.is_learnt});
  }
  return parameters;
}

std::vector<std::string> hints(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs,
                               const Attributes& attributes)
{
  std::vector<std::string> result;
  if (def.hints.empty())
    return result;
  Bound bound = bind_operands(def, inputs, attributes, {});
  for (const CheckDef& hint : def.hints)
    if (!holds(hint, bound.all, {}))
      result.push_back(fill(hint.message, bound.all, {}));
  return result;
}

} // namespace cnnc
