#include "passes/formula_op.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

// Of an operand, batch dimensions are named, "N" or "N4" for 4*n, and others have names of their own; of a result they
// are written out: an operand of the same extent may not be there.
std::string operand(const FormulaTensor& tensor, bool is_output)
{
  std::string dims;
  for (size_t d = 0; d < tensor.type.shape.size(); d++) {
    const Dim& dim = tensor.type.shape[d];
    dims += d == 0 ? "" : ",";
    if (dim.batch)
      dims += dim.size == 1 ? "N" : is_output ? fmt::format("{}*N", dim.size) : fmt::format("N{}", dim.size);
    else
      dims += is_output ? fmt::format("{}", dim.size) : fmt::format("{}_{}", tensor.name, d);
  }
  return fmt::format("{}[{}]:{}", tensor.name, dims, to_string(tensor.type.dtype));
}

int add_input(FormulaOp& op, const Graph& graph, int value, std::string name)
{
  op.formula.input_numbers.push_back(static_cast<int>(op.inputs.size()));
  op.inputs.push_back(value);
  op.formula.tensors.push_back({std::move(name), Role::input, graph.values[static_cast<size_t>(value)].type});
  return static_cast<int>(op.formula.tensors.size()) - 1;
}

} // namespace

Attributes attributes_of(const Formula& formula)
{
  std::vector<std::string> inputs, outputs;
  bool knows_batch = false, has_batch_output = false;
  for (const FormulaTensor& tensor : formula.tensors)
    if (tensor.role == Role::input) {
      inputs.push_back(operand(tensor, false));
      knows_batch = knows_batch || has_batch(tensor.type.shape);
    } else if (tensor.role == Role::output) {
      outputs.push_back(operand(tensor, true));
      has_batch_output = has_batch_output || has_batch(tensor.type.shape);
    }
  if (has_batch_output && !knows_batch)
    throw InternalError(fmt::format("no operand of `{}` has the batch", to_string(formula)));
  return {{"inputs", inputs}, {"outputs", outputs}, {"text", to_string(formula)}};
}

int operand_of(const Op& op, const Formula& formula, int tensor)
{
  size_t number = 0;
  for (int t = 0; t < tensor; ++t)
    number += formula.tensors[static_cast<size_t>(t)].role == Role::input;
  return op.inputs[static_cast<size_t>(formula.input_numbers[number])];
}

FormulaOp formula_on(const Graph& graph, const std::vector<std::pair<std::string, int>>& inputs, std::string output,
                     TensorType type)
{
  FormulaOp made;
  for (const auto& [name, value] : inputs)
    add_input(made, graph, value, name);
  made.formula.tensors.push_back({std::move(output), Role::output, std::move(type)});
  return made;
}

int input_for(FormulaOp& op, const Graph& graph, int value, std::string name)
{
  const Formula& f = op.formula;
  for (size_t t = 0, k = 0; t < f.tensors.size(); ++t)
    if (f.tensors[t].role == Role::input && op.inputs[static_cast<size_t>(f.input_numbers[k++])] == value)
      return static_cast<int>(t);
  while (f.find(name) >= 0)
    name += '_';
  return add_input(op, graph, value, std::move(name));
}

std::vector<Affine> assign_each(Formula& f, int target)
{
  Statement s;
  s.target = target;
  const Shape& shape = f.tensors[static_cast<size_t>(target)].type.shape;
  for (size_t d = 0; d < shape.size(); ++d) {
    s.indices.push_back({shape[d].batch ? "n" : fmt::format("i{}", d), shape[d]});
    s.at.push_back(Affine::of(static_cast<int>(d)));
  }
  f.statements.push_back(s);
  return s.at;
}

std::vector<Affine> reduce_to_channel(Formula& f, int target, size_t channel, Update update)
{
  Statement s;
  s.target = target;
  s.update = update;
  std::vector<Affine> at;
  const Shape& shape = f.tensors[0].type.shape;
  for (size_t d = 0; d < shape.size(); ++d) {
    s.indices.push_back({fmt::format("i{}", d), shape[d]});
    at.push_back(Affine::of(static_cast<int>(d)));
  }
  s.at = {at[channel]};
  f.statements.push_back(std::move(s));
  return at;
}

int add_op(Graph& graph, const FormulaOp& made, const std::string& name, const Location& where)
{
  const int op = graph.add_op(op_formula, name, made.inputs, attributes_of(made.formula), where);
  return graph.ops[static_cast<size_t>(op)].outputs[0];
}

void become(Op& op, FormulaOp made)
{
  op.def = &op_formula;
  op.attributes = attributes_of(made.formula);
  op.inputs = std::move(made.inputs);
}

} // namespace cnnc
