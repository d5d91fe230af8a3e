// Weights to 8 bits, each with regard to those that are rounded already.
#pragma once

#include "ir/tensor.h"

#include <vector>

namespace cnnc {

// Means of the products of two channels, at some places of each image.
class SecondMoments {
public:
  void add(const Tensor& value); // f32 [n,channels,...]
  int64_t channels() const { return count; }
  double of(int64_t a, int64_t b) const; // 0 before the first image

private:
  int64_t count = 0, places = 0, images = 0;
  std::vector<float> sums; // channel a's with channels up to itself
};

// As many channels as can be looked at together: the time grows with their cube.
constexpr int64_t most_channels_together = 1024;

// The weights that lower_precision will round to the integers which are best for data of these moments; `scales` are those
// of the data's channels, the weights' dimension `input`; those of each number of dimension `output` have one step, which
// stays what it is. One channel after the other is rounded, those with the most energy first, and the error is passed on to
// the channels that are still to come, as far as they move with it (GPTQ: Frantar et al. 2023, section 3, after "Optimal
// Brain Surgeon"). Each tap of a window is looked at by itself.
Tensor round_weights(Tensor weights, size_t output, size_t input, const std::vector<double>& scales,
                     const SecondMoments& moments);

} // namespace cnnc
