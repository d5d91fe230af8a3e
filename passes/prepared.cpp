#include "passes/prepared.h"

#include <algorithm>

namespace cnnc {

Graph* forward_of(Program& program)
{
  if (program.functions.empty())
    return nullptr;
  Graph& graph = program.functions[0];
  return graph.updates.empty() && !graph.training && graph.kernels.empty() ? &graph : nullptr;
}

std::vector<bool> steady_values(const Graph& graph)
{
  std::vector<bool> steady(graph.values.size());
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const ValueKind kind = graph.values[v].kind;
    steady[v] = kind == ValueKind::parameter || kind == ValueKind::constant || kind == ValueKind::prepared;
  }
  for (const Op& op : graph.ops) {
    bool all = true, any = false;
    for (const int input : op.inputs)
      if (input >= 0) {
        all = all && steady[static_cast<size_t>(input)];
        any = any || graph.values[static_cast<size_t>(input)].kind != ValueKind::constant;
      }
    for (const int output : op.outputs)
      steady[static_cast<size_t>(output)] =
          all && any && !has_batch(graph.values[static_cast<size_t>(output)].type.shape);
  }
  return steady;
}

} // namespace cnnc
