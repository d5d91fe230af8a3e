#include "compiler/program/wide_values.h"

#include <algorithm>
#include <numeric>

namespace cnnc {

namespace {

constexpr double error_wanted = 0.015, most_multiplications = 1. / 8;

} // namespace

std::vector<size_t> wide_values(const std::vector<NarrowValue>& values)
{
  std::vector<size_t> order(values.size()), wide;
  std::iota(order.begin(), order.end(), size_t{0});
  const auto gain = [&](size_t i) { return values[i].error / static_cast<double>(values[i].multiplications); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return gain(a) > gain(b); });
  double error = 0, budget = 0;
  for (const NarrowValue& value : values) {
    error += value.error;
    budget += most_multiplications * static_cast<double>(value.multiplications);
  }
  for (size_t i : order) {
    if (error <= error_wanted * error_wanted)
      break;
    const auto cost = static_cast<double>(values[i].multiplications);
    if (cost > budget)
      continue;
    budget -= cost;
    error -= values[i].error;
    wide.push_back(i);
  }
  return wide;
}

} // namespace cnnc
