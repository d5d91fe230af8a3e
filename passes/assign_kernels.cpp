// One kernel an op: what runs where nothing is fused, and what fusion starts from.
//
//   %c = conv2d %x, @w                    kernel k0 { %c = conv2d %x, @w }
//   %r = relu %c                  =>      kernel k1 { %r = relu %c }
//
// Leaves: every op has a kernel; those that had one keep it.
#include "passes/pass.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

// A text may come from behind place_parts: its joins get kernels again, so their operands get memory of their own.
void take_apart(Graph& graph)
{
  for (Value& value : graph.values)
    if (value.whole >= 0) {
      value.whole = -1;
      value.whole_at = 0;
      value.layout.reset();
    }
}

} // namespace

void assign_kernels(Graph& graph, const Target&, Remarks&)
{
  take_apart(graph);
  for (Op& op : graph.ops)
    if (op.kernel < 0) {
      op.kernel = static_cast<int>(graph.kernels.size());
      graph.kernels.push_back({.name = "", .ops = {}, .schedule = {}, .nest = -1, .arguments = {}});
    }
  compact(graph); // fills Kernel::ops
  for (size_t k = 0; k < graph.kernels.size(); ++k)
    graph.kernels[k].name = fmt::format("k{}", k);
}

} // namespace cnnc
