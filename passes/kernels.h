// Moving ops between kernels.
#pragma once

#include "ir/graph.h"

namespace cnnc {

// The ops of `from` go behind those of `into`; `from` is gone. Ops are put in the order of the kernels again. The caller
// answers for operands coming before their users.
void merge_kernels(Graph&, int into, int from);

} // namespace cnnc
