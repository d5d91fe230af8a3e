// Kernels to nests: what the schedule passes start from.
#pragma once

#include "passes/pass.h"
#include "passes/stages.h"

namespace cnnc {

// One kernel as a nest in canonical form: stages one after the other, each a chain of loops over its box around
//   a first value for the accumulator, the reduction's loops with the update, the stores.
// Stages that pass a tensor of one image share the loop over images (and the loops that Kernel::schedule names in
// `share`: pairs of a dimension of the last result and a step), and that tensor is local to it.
// Sets Kernel::arguments; adds temporaries to the graph where a tensor must survive the loop that makes it.
Nest lower_kernel(Graph&, int kernel);

// The nest without its own name, its buffers' and its place: two kernels of equal text share one nest.
std::string canonical_text(Nest);

} // namespace cnnc
