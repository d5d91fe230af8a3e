// An op on constants alone is computed now.
//
//   constant @a: f32[2] = [1, 2]
//   %b = relu @a                    =>      constant @b: f32[2] = [1, 2]
//
// Leaves: no op on constants alone, but those whose results would be much larger than their operands.
#include "ir/interpret.h"
#include "passes/pass.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

// Folding must not make the artefact large (a small constant broadcast to a picture) nor the compiler slow.
constexpr int64_t growth_limit = 1 << 20; // bytes
constexpr double work_limit = 1e8;        // points of a statement's box

int64_t bytes(const TensorType& type)
{
  return elements(type.shape) * bytes_of(type.dtype);
}

double work(const Formula& formula)
{
  double points = 0;
  for (const Statement& statement : formula.statements) {
    double box = 1;
    for (const Index& index : statement.indices)
      box *= static_cast<double>(index.extent.size);
    points += box;
  }
  return points;
}

// Why it is not folded; empty where it is, nothing where it has other operands than constants.
std::optional<std::string> obstacle(const Graph& graph, const Op& op)
{
  int64_t given = 0, made = 0;
  bool any = false;
  for (int input : op.inputs)
    if (input >= 0) {
      const Value& value = graph.values[static_cast<size_t>(input)];
      if (value.kind != ValueKind::constant || !value.data)
        return {};
      any = true;
      given += bytes(value.type);
    }
  for (int output : op.outputs) {
    // Outputs are written by kernels: a constant would need one that copies.
    bool leaves = std::find(graph.outputs.begin(), graph.outputs.end(), output) != graph.outputs.end() ||
                  std::any_of(graph.updates.begin(), graph.updates.end(),
                              [&](const StateUpdate& update) { return update.value == output; });
    if (leaves)
      return {};
    const TensorType& type = graph.values[static_cast<size_t>(output)].type;
    if (has_batch(type.shape))
      return {};
    made += bytes(type);
  }
  if (!any)
    return {};
  if (made > given && made - given > growth_limit)
    return fmt::format("is made of constants, but would add {} bytes to the file", made - given);
  if (double points = work(formula_of(graph, op)); points > work_limit)
    return fmt::format("is made of constants, but takes {:.0e} steps to compute", points);
  return "";
}

} // namespace

void fold_constants(Graph& graph, const Target&, Remarks& remarks)
{
  bool folded = false;
  for (Op& op : graph.ops) {
    std::optional<std::string> why_not = obstacle(graph, op);
    if (!why_not)
      continue;
    const std::string& name = graph.values[static_cast<size_t>(op.outputs.at(0))].name;
    if (!why_not->empty()) {
      remarks.add(op.location, fmt::format("{} {}", name, *why_not));
      continue;
    }
    Formula formula = formula_of(graph, op);
    std::vector<const Tensor*> inputs;
    for (int number : formula.input_numbers)
      inputs.push_back(graph.values[static_cast<size_t>(op.inputs[static_cast<size_t>(number)])].data.get());
    std::vector<Tensor> results = interpret(formula, inputs);
    for (size_t k = 0; k < op.outputs.size(); ++k) {
      Value& value = graph.values[static_cast<size_t>(op.outputs[k])];
      value.kind = ValueKind::constant;
      value.data = std::make_shared<const Tensor>(convert(results[k], value.type.dtype));
      value.op = -1;
      value.output = 0;
    }
    remarks.add(op.location, fmt::format("{} is made of constants and computed now", name));
    op.outputs.clear();
    folded = true;
  }
  if (!folded)
    return;
  std::erase_if(graph.ops, [](const Op& op) { return op.outputs.empty(); });
  compact(graph);
}

} // namespace cnnc
