#include "ir/graph.h"

#include "ir/subscripts.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

namespace cnnc {

namespace {

// "relu", else "relu.1", "relu.2", ...
std::string unique_name(const Graph& graph, const std::string& wanted)
{
  if (graph.find(wanted) < 0)
    return wanted;
  std::unordered_set<std::string_view> taken;
  for (const Value& value : graph.values)
    taken.insert(value.name);
  for (size_t k = 1;; ++k)
    if (std::string name = fmt::format("{}.{}", wanted, k); !taken.contains(name))
      return name;
}

std::vector<std::optional<TensorType>> operand_types(const Graph& graph, const std::vector<int>& inputs)
{
  std::vector<std::optional<TensorType>> types;
  for (int input : inputs)
    types.push_back(input < 0 ? std::nullopt : std::optional(graph.values.at(static_cast<size_t>(input)).type));
  return types;
}

std::vector<int> output_tensors(const Formula& formula)
{
  std::vector<int> outputs;
  for (size_t t = 0; t < formula.tensors.size(); ++t)
    if (formula.tensors[t].role == Role::output)
      outputs.push_back(static_cast<int>(t));
  return outputs;
}

// "conv2d 'c2': ", or "conv2d: "
std::string title(const OpDef& def, const std::string& name)
{
  return name.empty() ? def.name + ": " : fmt::format("{} '{}': ", def.name, name);
}

} // namespace

int Graph::find(std::string_view name) const
{
  for (size_t v = 0; v < values.size(); ++v)
    if (values[v].name == name)
      return static_cast<int>(v);
  return -1;
}

int Graph::add_value(Value value)
{
  value.name = unique_name(*this, value.name.empty() ? "v" : value.name);
  values.push_back(std::move(value));
  return static_cast<int>(values.size()) - 1;
}

int Graph::add_op(const OpDef& def, std::string name, std::vector<int> inputs, Attributes attributes, Location where)
{
  Op op{.def = &def, .name = std::move(name), .inputs = std::move(inputs), .location = where};
  op.attributes = check_attributes(def, attributes, false, where);
  Formula formula;
  try {
    formula = cnnc::bind(def, operand_types(*this, op.inputs), op.attributes, where);
  } catch (const Error& error) {
    std::vector<Error::Note> notes = error.notes;
    for (int input : op.inputs)
      if (input >= 0) {
        const Value& value = values[static_cast<size_t>(input)];
        if (value.location.is_known() && !(value.location == where))
          notes.push_back({value.location, fmt::format("'{}' is {}", value.name, cnnc::to_string(value.type))});
      }
    throw Error(error.where.is_known() ? error.where : where, title(def, op.name) + error.what(), std::move(notes),
                error.exit_code);
  }

  int number = static_cast<int>(ops.size());
  std::vector<int> outputs = output_tensors(formula);
  for (size_t k = 0; k + def.kept.size() < outputs.size(); ++k) {
    const FormulaTensor& tensor = formula.tensors[static_cast<size_t>(outputs[k])];
    std::string stem = op.name.empty() ? def.name : op.name;
    op.outputs.push_back(add_value({.name = k == 0 ? stem : stem + "." + tensor.name,
                                    .type = tensor.type,
                                    .op = number,
                                    .output = static_cast<int>(k),
                                    .location = where}));
  }
  ops.push_back(std::move(op));
  return number;
}

bool may_be_updated(ValueKind kind)
{
  return kind == ValueKind::parameter || kind == ValueKind::state || kind == ValueKind::prepared;
}

std::vector<int> values_of(const Graph& graph, ValueKind kind)
{
  std::vector<int> result;
  for (size_t v = 0; v < graph.values.size(); ++v)
    if (graph.values[v].kind == kind)
      result.push_back(static_cast<int>(v));
  return result;
}

std::string why_no_part(const Graph& graph, const Value& part)
{
  const Value& whole = graph.values.at(static_cast<size_t>(part.whole));
  if (part.kind != ValueKind::result || whole.kind != ValueKind::result)
    return "both are results of ops";
  if (whole.whole >= 0)
    return fmt::format("'{}' is a part itself", whole.name);
  if (part.region != Region::none)
    return "it has a place of its own";
  if (part.type.dtype != whole.type.dtype)
    return fmt::format("{} in {}", to_string(part.type), to_string(whole.type));
  const Shape &shape = part.type.shape, &all = whole.type.shape;
  const Layout layout = part.layout.value_or(planar(shape.size()));
  std::optional<Layout> there = layout_of_part(whole.layout.value_or(planar(all.size())), all, shape, part.whole_at);
  if (!there || *there != layout)
    return fmt::format("{} as {} does not lie at {} of {}", to_string(part.type), to_string(layout), part.whole_at,
                       there ? "it as " + to_string(*there) : to_string(whole.type));
  return "";
}

int64_t elements_before(const Graph& graph, const Value& part)
{
  const Value& whole = graph.values.at(static_cast<size_t>(part.whole));
  const Shape& shape = whole.type.shape;
  return elements_before(whole.layout.value_or(planar(shape.size())), shape, part.whole_at);
}

std::vector<std::vector<int>> users_of(const Graph& graph)
{
  std::vector<std::vector<int>> users(graph.values.size());
  for (size_t o = 0; o < graph.ops.size(); ++o)
    for (int input : graph.ops[o].inputs) {
      if (input < 0)
        continue;
      std::vector<int>& of_value = users[static_cast<size_t>(input)];
      if (of_value.empty() || of_value.back() != static_cast<int>(o))
        of_value.push_back(static_cast<int>(o));
    }
  return users;
}

Formula formula_of(const Graph& graph, const Op& op)
{
  Formula formula = cnnc::bind(*op.def, operand_types(graph, op.inputs), op.attributes, op.location);
  std::vector<int> outputs = output_tensors(formula);
  if (outputs.size() <= op.outputs.size())
    return formula;
  for (size_t k = op.outputs.size(); k < outputs.size(); ++k)
    formula.tensors[static_cast<size_t>(outputs[k])].role = Role::local;
  remove_dead(formula); // and moves what others read behind the outputs
  return formula;
}

void add_kept(Graph& graph, int number)
{
  Op op = graph.ops.at(static_cast<size_t>(number)); // a copy: values move
  Formula formula = cnnc::bind(*op.def, operand_types(graph, op.inputs), op.attributes, op.location);
  std::vector<int> outputs = output_tensors(formula);
  for (size_t k = op.outputs.size(); k < outputs.size(); ++k) {
    const FormulaTensor& tensor = formula.tensors[static_cast<size_t>(outputs[k])];
    std::string stem = op.outputs.empty() ? op.def->name : graph.values[static_cast<size_t>(op.outputs[0])].name;
    op.outputs.push_back(graph.add_value({.name = stem + "." + tensor.name,
                                          .type = tensor.type,
                                          .op = number,
                                          .output = static_cast<int>(k),
                                          .location = op.location}));
  }
  graph.ops[static_cast<size_t>(number)].outputs = op.outputs;
}

void compact(Graph& graph)
{
  std::vector<bool> wanted(graph.values.size());
  auto want = [&](int value) {
    if (value >= 0)
      wanted[static_cast<size_t>(value)] = true;
  };
  auto is_wanted = [&](int value) { return wanted[static_cast<size_t>(value)]; };
  for (int output : graph.outputs)
    want(output);
  for (const StateUpdate& update : graph.updates) {
    want(update.target);
    want(update.value);
  }
  if (graph.training)
    want(graph.training->loss);

  std::vector<Op> ops;
  for (size_t o = graph.ops.size(); o-- > 0;) {
    Op& op = graph.ops[o];
    if (std::none_of(op.outputs.begin(), op.outputs.end(), is_wanted))
      continue;
    for (int input : op.inputs)
      want(input);
    for (size_t k = 0; k < op.def->kept.size() && op.outputs.size() > 1 && !is_wanted(op.outputs.back()); ++k)
      if (op.outputs.size() + op.def->kept.size() > output_specs(*op.def, op.attributes).size())
        op.outputs.pop_back();
    std::for_each(op.outputs.begin(), op.outputs.end(), want);
    ops.push_back(std::move(op));
  }
  std::reverse(ops.begin(), ops.end());

  std::vector<int> number(graph.values.size(), -1);
  std::vector<Value> values;
  for (size_t v = 0; v < graph.values.size(); ++v) {
    ValueKind kind = graph.values[v].kind;
    if (wanted[v] || kind == ValueKind::input || kind == ValueKind::parameter || kind == ValueKind::state) {
      number[v] = static_cast<int>(values.size());
      values.push_back(std::move(graph.values[v]));
    }
  }
  auto renumber = [&](int& value) { value = value < 0 ? value : number[static_cast<size_t>(value)]; };
  for (Value& value : values)
    renumber(value.whole);
  for (size_t o = 0; o < ops.size(); ++o) {
    std::for_each(ops[o].inputs.begin(), ops[o].inputs.end(), renumber);
    std::for_each(ops[o].outputs.begin(), ops[o].outputs.end(), renumber);
    for (size_t k = 0; k < ops[o].outputs.size(); ++k) {
      values[static_cast<size_t>(ops[o].outputs[k])].op = static_cast<int>(o);
      values[static_cast<size_t>(ops[o].outputs[k])].output = static_cast<int>(k);
    }
  }
  std::for_each(graph.outputs.begin(), graph.outputs.end(), renumber);
  for (StateUpdate& update : graph.updates) {
    renumber(update.target);
    renumber(update.value);
  }
  if (graph.training)
    renumber(graph.training->loss);

  // Kernels in the order of their first ops.
  std::vector<int> kernel_number(graph.kernels.size(), -1);
  std::vector<Kernel> kernels;
  for (size_t o = 0; o < ops.size(); ++o) {
    int& kernel = ops[o].kernel;
    if (kernel < 0)
      continue;
    int& renumbered = kernel_number[static_cast<size_t>(kernel)];
    if (renumbered < 0) {
      renumbered = static_cast<int>(kernels.size());
      kernels.push_back(std::move(graph.kernels[static_cast<size_t>(kernel)]));
      kernels.back().ops.clear();
      std::for_each(kernels.back().arguments.begin(), kernels.back().arguments.end(), renumber);
    }
    kernel = renumbered;
    kernels[static_cast<size_t>(kernel)].ops.push_back(static_cast<int>(o));
  }
  graph.values = std::move(values);
  graph.ops = std::move(ops);
  graph.kernels = std::move(kernels);
}

} // namespace cnnc
