// Kernels through which the images of a batch go one by one.
#pragma once

#include "ir/graph.h"

namespace cnnc {

// Numbers of the first kernel and the last.
struct Run {
  int first, last;
};

// In their order. Kernels that are in none compute all images at once.
std::vector<Run> runs_of(const Graph&);

} // namespace cnnc
