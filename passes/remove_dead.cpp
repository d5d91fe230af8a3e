// Ops whose results lead to no output and no update go.
//
//   %a = relu %x                    %a = relu %x
//   %b = tanh %x            =>      output %a
//   output %a
//
// Leaves: every op leads to an output or an update, so one user means one user.
#include "passes/pass.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

void remove_dead(Graph& graph, const Target&, Remarks& remarks)
{
  std::vector<std::pair<std::string, Location>> before;
  for (const Op& op : graph.ops)
    before.emplace_back(graph.values[static_cast<size_t>(op.outputs.at(0))].name, op.location);
  compact(graph);
  for (const auto& [name, where] : before)
    if (graph.find(name) < 0)
      remarks.add(where, fmt::format("{} leads to no output and is removed", name));
}

} // namespace cnnc
