// What `precision i8` must know before lower_precision runs.
#pragma once

#include "ir/graph.h"

namespace cnnc {

// A value whose range is wanted: an operand of contractions, or what it was moved from.
struct ToCalibrate {
  // It multiplies the value's channels: they are its dimension `input`, the result's channels its dimension `output`.
  struct Weight {
    std::string name;
    size_t output, input;
  };
  std::string name;
  std::vector<Weight> weights = {};
  // Of those contractions, for an image, and of their weights; 0 where it is only moved.
  int64_t multiplications = 0, weight_elements = 0;
};

// Those whose range is neither given nor stated by the network itself; none where no integers are asked for.
std::vector<ToCalibrate> values_to_calibrate(const Graph&);

} // namespace cnnc
