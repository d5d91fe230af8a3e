// What `precision i8` must know before lower_precision runs.
#pragma once

#include "ir/graph.h"

namespace cnnc {

// The names of the values whose ranges are wanted: operands of contractions, and what they were moved from.
std::vector<std::string> values_to_calibrate(const Graph&);

} // namespace cnnc
