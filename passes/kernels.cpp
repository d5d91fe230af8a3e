#include "passes/kernels.h"

namespace cnnc {

void merge_kernels(Graph& graph, int into, int from)
{
  Kernel& target = graph.kernels[into];
  const Kernel& source = graph.kernels[from];
  target.ops.insert(target.ops.end(), source.ops.begin(), source.ops.end());
  graph.kernels.erase(graph.kernels.begin() + from);

  std::vector<Op> ops;
  ops.reserve(graph.ops.size());
  for (size_t k = 0; k < graph.kernels.size(); k++)
    for (int& op : graph.kernels[k].ops) {
      ops.push_back(std::move(graph.ops[op]));
      ops.back().kernel = static_cast<int>(k);
      op = static_cast<int>(ops.size()) - 1;
      for (int value : ops.back().outputs)
        if (value >= 0)
          graph.values[value].op = op;
    }
  graph.ops = std::move(ops);
}

} // namespace cnnc
