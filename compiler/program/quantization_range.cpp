#include "compiler/program/quantization_range.h"

#include <algorithm>
#include <cmath>

namespace cnnc {

namespace {

constexpr double narrowest = 1. / 8; // of the widest channel's range: other pictures may show more in a quiet one
constexpr int rounds = 10;

// What rounding does behind one tensor of weights; squared errors, in twelfths of a squared step.
struct Reader {
  std::vector<double> energy;               // by input channel: the sum of its squared weights
  std::vector<std::vector<double>> largest; // by output and input channel
  double taps = 1;                          // weights from one channel to another

  // The weights' own error is that times the sum of (number / step)^2.
  double of_weights(const std::vector<double>& steps) const
  {
    double sum = 0;
    for (const std::vector<double>& weights : largest) {
      double most = 0;
      for (size_t c = 0; c < steps.size(); ++c)
        most = std::max(most, weights[c] * steps[c]);
      sum += most * most / (127 * 127);
    }
    return sum * taps;
  }

  double of_data(const std::vector<double>& steps) const
  {
    double sum = 0;
    for (size_t c = 0; c < steps.size(); ++c)
      sum += steps[c] * steps[c] * energy[c];
    return sum;
  }

  // Of what it computes, were the channels independent.
  double signal(const std::vector<double>& variances) const
  {
    double sum = 0;
    for (size_t c = 0; c < variances.size(); ++c)
      sum += variances[c] * energy[c];
    return sum;
  }
};

Reader reader_of(const ChannelWeights& weights)
{
  const std::vector<int64_t>& dims = weights.numbers.dims;
  const auto inputs = static_cast<size_t>(dims[weights.input]), outputs = static_cast<size_t>(dims[weights.output]);
  Reader reader{std::vector<double>(inputs), std::vector(outputs, std::vector<double>(inputs)),
                static_cast<double>(weights.numbers.size()) / static_cast<double>(inputs * outputs)};
  const auto position = [&](int64_t i, size_t dimension) {
    for (size_t d = dims.size() - 1; d > dimension; --d)
      i /= dims[d];
    return static_cast<size_t>(i % dims[dimension]);
  };
  for (int64_t i = 0; i < weights.numbers.size(); ++i) {
    const double w = std::abs(weights.numbers.get(i));
    const size_t input = position(i, weights.input);
    double& largest = reader.largest[position(i, weights.output)][input];
    largest = std::max(largest, w);
    reader.energy[input] += w * w;
  }
  return reader;
}

// The sum of s^2 * energy and of_weights * variance / s^2 is least where both are equal. `of_weights` follows from the
// steps, but less than in proportion: a few rounds settle it.
void widen(std::vector<double>& steps, const std::vector<double>& variances, const std::vector<Reader>& readers)
{
  const std::vector<double> least = steps;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> energy(steps.size());
    double of_weights = 0;
    for (const Reader& reader : readers)
      if (const double signal = reader.signal(variances); signal > 0) {
        for (size_t c = 0; c < steps.size(); ++c)
          energy[c] += reader.energy[c] / signal;
        of_weights += reader.of_weights(steps) / signal;
      }
    for (size_t c = 0; c < steps.size(); ++c)
      if (energy[c] > 0) // the larger of least and NaN, from weights that are not finite, is least
        steps[c] = std::max(least[c], std::pow(of_weights * variances[c] / energy[c], 0.25));
  }
}

} // namespace

void QuantizationRange::add(const float* numbers, int64_t size)
{
  for (int64_t i = 0; i < size; ++i) {
    const double x = numbers[i];
    if (!std::isfinite(x))
      continue;
    range = {std::min(range.low, x), std::max(range.high, x)};
    sum += x;
    squares += x * x;
    ++count;
  }
}

double QuantizationRange::variance() const
{
  return count > 0 ? std::max(0.0, squares / static_cast<double>(count) - mean() * mean()) : 0;
}

LowPrecision::Ranges balanced_ranges(const std::vector<QuantizationRange>& channels,
                                     const std::vector<ChannelWeights>& weights)
{
  LowPrecision::Ranges ranges;
  std::vector<double> steps, variances;
  double widest = 0;
  for (const QuantizationRange& channel : channels) {
    ranges.push_back(channel.whole());
    steps.push_back((ranges.back().high - ranges.back().low) / 255);
    variances.push_back(channel.variance());
    widest = std::max(widest, steps.back());
  }
  for (double& step : steps)
    step = std::max(step, widest * narrowest);
  std::vector<Reader> readers;
  for (const ChannelWeights& of_reader : weights)
    readers.push_back(reader_of(of_reader));
  widen(steps, variances, readers);
  for (size_t c = 0; c < steps.size(); ++c) {
    LowPrecision::Range& range = ranges[c];
    const double width = range.high - range.low;
    range.high = width > 0 ? range.high * (255 * steps[c] / width) : 255 * steps[c];
    range.low *= width > 0 ? 255 * steps[c] / width : 0;
  }
  return ranges;
}

double error_of_weights(const LowPrecision::Ranges& ranges, const std::vector<QuantizationRange>& channels,
                        const std::vector<ChannelWeights>& weights)
{
  std::vector<double> steps, variances;
  double in_steps = 0, of_data = 0, of_weights = 0;
  for (size_t c = 0; c < channels.size(); ++c) {
    steps.push_back((ranges[c].high - ranges[c].low) / 255);
    variances.push_back(channels[c].variance());
    if (steps[c] > 0)
      in_steps += variances[c] / (steps[c] * steps[c]);
  }
  for (const ChannelWeights& of_reader : weights) {
    const Reader reader = reader_of(of_reader);
    if (const double signal = reader.signal(variances); signal > 0) {
      of_data += reader.of_data(steps) / signal;
      of_weights += reader.of_weights(steps) * in_steps / signal;
    }
  }
  return of_data > 0 && std::isfinite(of_weights) ? of_weights / of_data : 0;
}

} // namespace cnnc
