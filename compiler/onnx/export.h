// Network => OnnxModel: what was made here, for other programs.
#pragma once

#include "compiler/network.h"
#include "compiler/onnx/model.h"
#include "ir/interpret.h"

namespace cnnc {

// The forward function. `weights` by parameter, for those whose data the graph does not have. Throws Error with the
// layer for an op that the standard has no counterpart of, or a parameter that is not known. The shapes of inputs and
// outputs hold the number of images, or the name "N" where it is 0.
OnnxModel export_onnx(const Network&, const NamedTensors& weights, int64_t batch = 0);

} // namespace cnnc
