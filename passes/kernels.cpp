#include "passes/kernels.h"

#include <algorithm>

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

int insert_copy(Graph& graph, int value, const Layout& layout, size_t kernel, const std::function<bool(int op)>& wants)
{
  Value copy;
  copy.name = graph.values[value].name + ".copy";
  copy.type = graph.values[value].type;
  copy.layout = layout;
  copy.location = graph.values[value].location;
  int number = graph.add_value(copy);
  Op op;
  op.def = find_op("copy");
  op.name = graph.values[number].name;
  op.inputs = {value};
  op.outputs = {number};
  op.location = copy.location;
  op.kernel = static_cast<int>(kernel);
  size_t at = graph.kernels[kernel].ops.front();
  for (Op& o : graph.ops)
    if (o.kernel >= static_cast<int>(kernel))
      o.kernel++;
  graph.ops.insert(graph.ops.begin() + static_cast<std::ptrdiff_t>(at), op);
  for (Kernel& k : graph.kernels)
    for (int& o : k.ops)
      if (o >= static_cast<int>(at))
        o++;
  Kernel k;
  k.name = graph.values[number].name;
  k.ops = {static_cast<int>(at)};
  graph.kernels.insert(graph.kernels.begin() + static_cast<std::ptrdiff_t>(kernel), k);
  for (Value& v : graph.values)
    if (v.op >= static_cast<int>(at))
      v.op++;
  graph.values[number].op = static_cast<int>(at);
  for (size_t o = at + 1; o < graph.ops.size(); o++)
    if (wants(static_cast<int>(o)))
      std::replace(graph.ops[o].inputs.begin(), graph.ops[o].inputs.end(), value, number);
  return number;
}

} // namespace cnnc
