// The loops that tile made for vectors become vectors.
//
//   for o.lanes in 0..16 { %acc[o.lanes] = 0 }   =>   lanes o.lanes in 0..16 { %acc[o.lanes] = 0 }
//
// Needs:  tiled nests.
// Leaves: everything below such a loop is one vector operation.
#include "passes/stage_loops.h"

namespace cnnc {

void vectorize(Nest& nest, const Target&, Remarks&)
{
  for_each_node(nest.body, [&](Node& node) {
    if (Loop* loop = std::get_if<Loop>(&node.is))
      if (nest.indices[loop->index].name.find(lanes_loop) != std::string::npos)
        loop->kind = LoopKind::lanes;
  });
}

} // namespace cnnc
