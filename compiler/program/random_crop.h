// A few pictures are many inputs.
#pragma once

#include "ir/tensor.h"

#include <random>

namespace cnnc {

// A part of a picture u8 [C,H,W]: a third of its area or more, up to 4/3 wider or higher than that part of it, perhaps
// mirrored (as networks are trained: Szegedy et al. 2015, "Going deeper with convolutions", section 6).
Tensor random_crop(const Tensor& picture, std::mt19937& random);

} // namespace cnnc
