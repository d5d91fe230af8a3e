// Kernels through which the images of a batch go one by one.
#pragma once

#include "ir/graph.h"

namespace cnnc {

// Of the run that the kernel belongs to: neighbours with one number; -1 where all images go through it at once.
int64_t run_number(const Kernel&);

} // namespace cnnc
