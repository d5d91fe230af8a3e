#include "compiler/program/wide_values.h"

#include <algorithm>
#include <numeric>

namespace cnnc {

namespace {

constexpr double error_wanted = 0.015, most_time = 1. / 7, worth = 3;

} // namespace

std::vector<size_t> wide_values(const std::vector<NarrowValue>& values)
{
  std::vector<size_t> order(values.size()), wide;
  std::iota(order.begin(), order.end(), size_t{0});
  const auto gain = [&](size_t i) { return values[i].error / values[i].time; };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return gain(a) > gain(b); });
  double error = 0, time = 0, taken = 0;
  for (const NarrowValue& value : values) {
    error += value.error;
    time += value.time;
  }
  for (size_t i : order) {
    if (error <= error_wanted * error_wanted || gain(i) * time < worth * error)
      break;
    if (taken + values[i].time > most_time * time)
      continue;
    taken += values[i].time;
    error -= values[i].error;
    wide.push_back(i);
  }
  return wide;
}

} // namespace cnnc
