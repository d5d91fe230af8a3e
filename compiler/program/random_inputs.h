// What a network is called with where nobody looks at its results.
#pragma once

#include "ir/tensor.h"
#include "runtime/artefact/cnn.h"

#include <vector>

namespace cnnc {

// Floats in [0, 1), integers in [0, limit): what the network accepts; the same for the same seed.
std::vector<Tensor> random_inputs(const cnn_tensor* inputs, int32_t count, int64_t batch, uint64_t seed);
std::vector<const void*> data_of(const std::vector<Tensor>&);

} // namespace cnnc
