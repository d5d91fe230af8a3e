// Which ranges 256 steps are to have.
#pragma once

#include "ir/graph.h"
#include "ir/tensor.h"

#include <vector>

namespace cnnc {

// Of the numbers that a value, or one channel of it, had on some pictures: all of them, and zero. An outlier is kept,
// as it costs its own channel's steps only.
class QuantizationRange {
public:
  void add(const float* numbers, int64_t count); // those that are not finite count for nothing
  LowPrecision::Range whole() const { return {range.low, range.high, mean()}; }
  double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
  double variance() const; // zero where there is nothing

private:
  LowPrecision::Range range;
  double sum = 0, squares = 0;
  int64_t count = 0;
};

// What the channels of a value are multiplied with.
struct ChannelWeights {
  Tensor numbers;
  size_t output, input; // its dimensions: the result's channels, and the value's
};

// A range for each channel, of which 255 steps are made. Rounding the value errs in proportion to its channels' steps.
// The weights are rounded as well, after they were multiplied by those steps, with one step for all that lead to one
// channel of the result: a channel of small steps has small weights and errs much there. So ranges are wider than
// whole() where the sum of both errors is less (after SmoothQuant, Xiao et al. 2023, section 4, which balances the
// largest numbers of both), and for channels that had hardly any numbers on these pictures. What the weights' error does
// to the mean of a result does not count: lower_precision takes it off.
LowPrecision::Ranges balanced_ranges(const std::vector<QuantizationRange>& channels,
                                     const std::vector<ChannelWeights>& weights);

// The weights' part in what rounding to these ranges does to the results, over the data's (of variances).
double error_of_weights(const LowPrecision::Ranges& ranges, const std::vector<QuantizationRange>& channels,
                        const std::vector<ChannelWeights>& weights);

} // namespace cnnc
