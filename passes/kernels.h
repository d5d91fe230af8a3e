// Moving ops between kernels.
#pragma once

#include "ir/graph.h"

#include <functional>

namespace cnnc {

// The ops of `from` go behind those of `into`; `from` is gone. Ops are put in the order of the kernels again. The caller
// answers for operands coming before their users.
void merge_kernels(Graph&, int into, int from);

// A copy of `value` in `layout`, in a kernel of its own before `kernel`; the readers in kernels from there on for which
// `wants` holds read the copy.
int insert_copy(Graph&, int value, const Layout&, size_t kernel, const std::function<bool(int op)>& wants);

} // namespace cnnc
