// The way back, and the optimizer's step, as ordinary ops.
//
//   %h = dense %x, @w                   %h = dense %x, @w
//   %loss = mean %h                =>   %loss = mean %h
//   train %loss {optimizer = "sgd"}     %h.gradient = formula {...}                      # of loss
//                                       %w.gradient = formula %h.gradient, %x {...}
//                                       %w.new, %w.velocity.new = sgd @w, @w.velocity, %w.gradient, @learning_rate
//                                       update @w = %w.new
//                                       update @w.velocity = %w.velocity.new
//
// Needs:  a graph without kernels.
// Leaves: no `train`; gradients of nothing but what leads from the loss to a trained parameter or a named value. The
//         gradient of a value with several users is one `add`. Ops that gradients brought in may be scatters.
#include "ir/gradient.h"
#include "ir/subscripts.h"
#include "passes/formula_op.h"
#include "passes/pass.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

class Differentiate {
public:
  Differentiate(Graph& graph, Remarks& remarks) : graph(graph), remarks(remarks), training(*graph.training) {}

  void run()
  {
    graph.training.reset();
    find_active();
    seed();
    for (int op = static_cast<int>(graph.ops.size()) - 1; op >= 0; op--)
      reverse(op);
    if (std::find(graph.outputs.begin(), graph.outputs.end(), training.loss) == graph.outputs.end())
      graph.outputs.push_back(training.loss);
    for (const std::string& name : training.gradients)
      graph.outputs.push_back(named_gradient(name));
    if (training.optimizer)
      add_optimizer();
    compact(graph);
  }

private:
  Graph& graph;
  Remarks& remarks;
  const Training training;
  std::vector<bool> active;               // of a value: depends on what is differentiated for
  std::vector<std::vector<int>> adjoints; // of a value: the terms of its gradient
  int one = -1;                           // the loss's gradient

  bool is_trained(const Value& value) const { return value.kind == ValueKind::parameter && value.rate != 0; }

  void find_active()
  {
    active.resize(graph.values.size());
    for (size_t v = 0; v < graph.values.size(); v++)
      active[v] = training.optimizer && is_trained(graph.values[v]);
    for (const std::string& name : training.gradients)
      active.at(find_named(name)) = true;
    for (const Op& op : graph.ops) {
      bool any = std::any_of(op.inputs.begin(), op.inputs.end(), [&](int v) { return v >= 0 && active[v]; });
      for (int output : op.outputs)
        active[output] = active[output] || (any && is_float(graph.values[output].type.dtype));
    }
  }

  size_t find_named(const std::string& name) const
  {
    int value = graph.find(name);
    if (value < 0)
      throw Error(graph.location, fmt::format("no value '{}' to give the gradient of", name));
    if (!is_float(graph.values[value].type.dtype))
      throw Error(graph.values[value].location,
                  fmt::format("'{}' is {}: only floats have a gradient", name, to_string(graph.values[value].type)));
    return static_cast<size_t>(value);
  }

  void seed()
  {
    const Value& loss = graph.values.at(training.loss);
    if (!loss.type.shape.empty() || !is_float(loss.type.dtype))
      throw Error(loss.location,
                  fmt::format("the loss '{}' is {}, and must be one float", loss.name, to_string(loss.type)));
    Tensor data(loss.type.dtype, {});
    data.set(0, 1);
    one = add_value({.name = loss.name + ".gradient",
                     .kind = ValueKind::constant,
                     .type = loss.type,
                     .data = std::make_shared<const Tensor>(std::move(data)),
                     .location = loss.location});
    adjoints[training.loss].push_back(one);
  }

  int add_value(Value value)
  {
    int number = graph.add_value(std::move(value));
    adjoints.resize(graph.values.size());
    active.resize(graph.values.size());
    return number;
  }

  int add_op(const OpDef& def, std::string name, std::vector<int> inputs, Attributes attributes, const Location& where)
  {
    int op = graph.add_op(def, std::move(name), std::move(inputs), std::move(attributes), where);
    adjoints.resize(graph.values.size());
    active.resize(graph.values.size());
    return op;
  }

  // The name as wanted, or with a number where it is taken.
  void rename(int value, const std::string& wanted)
  {
    std::string name = wanted;
    for (int k = 1; graph.find(name) >= 0 && graph.find(name) != value; k++)
      name = fmt::format("{}.{}", wanted, k);
    graph.values[value].name = name;
  }

  std::string title(const Op& op) const
  {
    return !op.name.empty() ? op.name : op.outputs.empty() ? op.def->name : graph.values[op.outputs[0]].name;
  }

  // The sum of a value's adjoints; -1 where it has none.
  int adjoint_of(int value)
  {
    std::vector<int> terms = adjoints[value];
    if (terms.size() < 2)
      return terms.empty() ? -1 : terms[0];
    const OpDef* add = find_op("add");
    if (!add)
      throw InternalError("no op `add` to sum gradients with");
    const std::string name = graph.values[value].name + ".gradient";
    const Location where = graph.values[value].location;
    int sum = terms[0];
    for (size_t i = 1; i < terms.size(); i++) {
      int op = add_op(*add, name, {sum, terms[i]}, {}, where);
      sum = graph.ops[op].outputs[0];
    }
    // The sum takes the name that its first term had.
    for (int other = 0; other < static_cast<int>(graph.values.size()); other++)
      if (graph.values[other].name == name)
        rename(other, name + ".part");
    rename(sum, name);
    adjoints[value] = {sum};
    return sum;
  }

  void reverse(int number)
  {
    const Op op = graph.ops[number]; // a copy: ops are appended
    std::vector<int> wanted;
    std::vector<std::optional<TensorType>> types;
    for (size_t i = 0; i < op.inputs.size(); i++) {
      int value = op.inputs[i];
      types.push_back(value < 0 ? std::nullopt : std::optional(graph.values[value].type));
      if (value >= 0 && active[value])
        wanted.push_back(static_cast<int>(i));
    }
    std::vector<bool> have;
    for (int output : op.outputs)
      have.push_back(!adjoints[output].empty());
    if (wanted.empty() || std::none_of(have.begin(), have.end(), [](bool b) { return b; }))
      return;
    if (!op.def->no_gradient.empty())
      throw Error(op.location,
                  fmt::format("{} '{}' has no gradient: {}", op.def->name, title(op), op.def->no_gradient));
    std::vector<int> incoming;
    for (int output : op.outputs)
      incoming.push_back(adjoint_of(output));
    for (Gradient& gradient : gradients_of(*op.def, types, op.attributes, wanted, have, op.location))
      add_gradient(number, std::move(gradient), incoming);
  }

  void add_gradient(int number, Gradient gradient, const std::vector<int>& incoming)
  {
    fold_one(gradient, incoming);
    const int alias = copied_adjoint(gradient, incoming);
    const int input = gradient.wanted[0], value = graph.ops[number].inputs[input];
    if (alias >= 0 && !is_named(value)) {
      adjoints[value].push_back(alias);
      return;
    }
    std::string operand_name = name_of_input(number, input);
    add_batch(gradient, operand_name, graph.values[value].type);
    std::vector<int> operands;
    for (const Gradient::Operand& operand : gradient.operands) {
      if (operand.from == Gradient::From::output &&
          operand.number >= static_cast<int>(graph.ops[number].outputs.size()))
        add_kept(graph, number);
      const Op& op = graph.ops[number];
      operands.push_back(operand.from == Gradient::From::input    ? op.inputs[operand.number]
                         : operand.from == Gradient::From::output ? op.outputs[operand.number]
                                                                  : incoming[operand.number]);
    }
    const Op op = graph.ops[number];
    int made = add_op(op_formula, fmt::format("{}.gradient.{}", title(op), operand_name), operands,
                      attributes_of(gradient.formula), op.location);
    int result = graph.ops[made].outputs[0];
    rename(result, graph.values[value].name + ".gradient");
    adjoints[value].push_back(result);
    std::string text = to_string(gradient.formula);
    for (size_t at = text.find('\n'); at != text.npos; at = text.find('\n', at))
      text.replace(at, 1, "; ");
    remarks.add(op.location, fmt::format("{} is the gradient of {} through {}: {}", graph.values[result].name,
                                         graph.values[value].name, title(op), text));
  }

  bool is_named(int value) const
  {
    return std::find(training.gradients.begin(), training.gradients.end(), graph.values[value].name) !=
           training.gradients.end();
  }

  // The adjoint that the gradient hands on as it is, as a sum does; else -1.
  static int copied_adjoint(const Gradient& gradient, const std::vector<int>& incoming)
  {
    const Formula& formula = gradient.formula;
    if (formula.statements.size() != 1 || gradient.operands.size() != 1 ||
        gradient.operands[0].from != Gradient::From::adjoint)
      return -1;
    const Statement& s = formula.statements[0];
    bool is_copy = s.update == Update::assign && s.value->fn == Fn::read && s.value->at == s.at &&
                   formula.tensors[s.target].type == formula.tensors[s.value->tensor].type &&
                   is_complete(s, formula.tensors[s.target].type.shape);
    return is_copy ? incoming[gradient.operands[0].number] : -1;
  }

  std::string name_of_input(int number, int input) const
  {
    Formula forward = formula_of(graph, graph.ops[number]);
    for (size_t t = 0, k = 0; t < forward.tensors.size(); t++)
      if (forward.tensors[t].role == Role::input && forward.input_numbers[k++] == input)
        return forward.tensors[t].name;
    throw InternalError("an input that its formula does not have");
  }

  // The loss's own gradient is 1: multiplied away.
  void fold_one(Gradient& gradient, const std::vector<int>& incoming) const
  {
    Formula& formula = gradient.formula;
    std::vector<bool> is_one(formula.tensors.size());
    size_t input = 0;
    for (size_t t = 0; t < formula.tensors.size(); t++)
      if (formula.tensors[t].role == Role::input) {
        const Gradient::Operand& operand = gradient.operands[input++];
        is_one[t] = operand.from == Gradient::From::adjoint && incoming[operand.number] == one;
      }
    for (Statement& s : formula.statements) {
      s.value = transform(
          s.value, [&](const ExprPtr& e) { return e->fn == Fn::read && is_one[e->tensor] ? constant(1, e->type) : e; });
      if (s.tap < 0)
        order_indices(s);
    }
    std::vector<Gradient::Operand> operands = gradient.operands;
    std::vector<int> old = remove_dead(formula);
    gradient.operands.clear();
    for (size_t t = 0; t < old.size(); t++)
      if (formula.tensors[t].role == Role::input)
        gradient.operands.push_back(operands[formula.input_numbers[t]]);
    for (size_t i = 0; i < gradient.operands.size(); i++)
      formula.input_numbers[i] = static_cast<int>(i);
  }

  // A formula's batch comes from an operand, even where no term reads one: the gradient of a plain sum.
  void add_batch(Gradient& gradient, const std::string& name, const TensorType& type) const
  {
    Formula& formula = gradient.formula;
    bool knows = false, wants = false;
    for (const FormulaTensor& tensor : formula.tensors) {
      knows = knows || (tensor.role == Role::input && has_batch(tensor.type.shape));
      wants = wants || (tensor.role == Role::output && has_batch(tensor.type.shape));
    }
    if (knows || !wants)
      return;
    int at = static_cast<int>(gradient.operands.size()); // inputs come first
    formula.tensors.insert(formula.tensors.begin() + at, {name, Role::input, type});
    formula.input_numbers.push_back(at);
    gradient.operands.push_back({Gradient::From::input, gradient.wanted[0]});
    for (Statement& s : formula.statements) {
      s.target += s.target >= at;
      s.tap += s.tap >= at;
      s.value = transform(s.value, [&](const ExprPtr& e) {
        return e->fn == Fn::read && e->tensor >= at ? read(e->tensor + 1, e->type, e->at, e->checked) : e;
      });
    }
  }

  int named_gradient(const std::string& name)
  {
    int value = static_cast<int>(find_named(name)), adjoint = adjoint_of(value);
    if (adjoint < 0)
      throw Error(graph.values[value].location, fmt::format("'{}' has no gradient: it does not influence the loss '{}'",
                                                            name, graph.values[training.loss].name));
    return adjoint;
  }

  int state(const std::string& name, const TensorType& type, const std::string& initial, const Location& where)
  {
    if (int found = graph.find(name); found >= 0 && graph.values[found].kind == ValueKind::state)
      return found;
    return add_value({.name = name, .kind = ValueKind::state, .type = type, .initial = initial, .location = where});
  }

  // One op a parameter, as ir/op.h says at is_optimizer; the step counter advances before they read it.
  void add_optimizer()
  {
    const OpDef& def = *training.optimizer;
    int step = state("step", {DType::i64, {}}, "zero", graph.location);
    int advance = add_op(op_formula, "step.new", {step},
                         {{"inputs", std::vector<std::string>{"step[]:i64"}},
                          {"outputs", std::vector<std::string>{"next[]:i64"}},
                          {"text", std::string("next[] = step[] + 1")}},
                         graph.location);
    int next = graph.ops[advance].outputs[0];
    graph.updates.push_back({step, next});
    for (int parameter : values_of(graph, ValueKind::parameter)) {
      if (!is_trained(graph.values[parameter]))
        continue;
      int gradient = adjoint_of(parameter);
      if (gradient < 0)
        remarks.add(graph.values[parameter].location,
                    fmt::format("{} stays as it is: it does not influence the loss", graph.values[parameter].name));
      else
        add_update(def, parameter, gradient, next);
    }
  }

  void add_update(const OpDef& def, int parameter, int gradient, int step)
  {
    const Value of = graph.values[parameter]; // a copy: values are appended
    Attributes attributes = training.attributes;
    attributes["rate_factor"] = of.rate;
    std::vector<OperandSpec> specs = input_specs(def, attributes);
    std::vector<int> inputs = {parameter};
    for (size_t i = 1; i < specs.size(); i++)
      if (i < def.outputs.size())
        inputs.push_back(state(of.name + "." + specs[i].name, of.type, "zero", of.location));
      else if (specs[i].name == "gradient")
        inputs.push_back(gradient);
      else if (specs[i].name == "rate")
        inputs.push_back(state("learning_rate", {DType::f32, {}}, first_rate(def), graph.location));
      else if (specs[i].name == "step")
        inputs.push_back(step);
      else
        throw InternalError(fmt::format("optimizer {}: no meaning for the operand {}", def.name, specs[i].name));
    int op = add_op(def, of.name + ".update", inputs, attributes, of.location);
    for (size_t i = 0; i < def.outputs.size(); i++) {
      rename(graph.ops[op].outputs[i], graph.values[inputs[i]].name + ".new");
      graph.updates.push_back({inputs[i], graph.ops[op].outputs[i]});
    }
  }

  std::string first_rate(const OpDef& def) const
  {
    Attributes all = check_attributes(def, training.attributes, false, graph.location);
    auto found = all.find("learning_rate");
    if (found == all.end())
      throw InternalError(fmt::format("optimizer {} reads `rate`, but has no attribute learning_rate", def.name));
    if (const auto* whole = std::get_if<int64_t>(&found->second))
      return fmt::format("constant({})", *whole);
    return fmt::format("constant({})", std::get<double>(found->second));
  }
};

} // namespace

void differentiate(Graph& graph, const Target&, Remarks& remarks)
{
  if (graph.training)
    Differentiate(graph, remarks).run();
}

} // namespace cnnc
