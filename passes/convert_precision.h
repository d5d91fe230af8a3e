// The same network in another float type: gradients are checked in double precision.
//
//   %y = dense %x, @w : f32[n,10]   =>   %y = dense %x, @w : f64[n,10]
#pragma once

#include "ir/graph.h"

namespace cnnc {

// Types of values, their data, and the types that `formula` ops spell out.
void convert_precision(Graph&, DType from, DType to);

} // namespace cnnc
