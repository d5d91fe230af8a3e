#include "compiler/program/quantization_range.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

using namespace cnnc;

namespace {

QuantizationRange range_of(const std::vector<float>& numbers)
{
  QuantizationRange range;
  range.add(numbers.data(), static_cast<int64_t>(numbers.size()));
  return range;
}

// Between zero and `largest`, which is one number of many.
QuantizationRange channel(double largest)
{
  QuantizationRange range = range_of({static_cast<float>(largest)});
  for (int i = 0; i < 99; ++i) {
    const auto number = static_cast<float>(largest * i / 300);
    range.add(&number, 1);
  }
  return range;
}

ChannelWeights weights(const std::vector<std::vector<double>>& by_output)
{
  const auto outputs = static_cast<int64_t>(by_output.size()), inputs = static_cast<int64_t>(by_output[0].size());
  ChannelWeights made{Tensor(DType::f32, {outputs, inputs, 1, 1}), 0, 1};
  for (int64_t o = 0; o < outputs; ++o)
    for (int64_t c = 0; c < inputs; ++c)
      made.numbers.set(o * inputs + c, by_output[static_cast<size_t>(o)][static_cast<size_t>(c)]);
  return made;
}

// What rounding makes of sum over c of w[c] * x[c], with steps from `ranges`: the variance of the errors, times twelve.
double error_of(const LowPrecision::Ranges& ranges, const std::vector<double>& variances, const std::vector<double>& w)
{
  double most = 0, error = 0;
  std::vector<double> steps;
  for (size_t c = 0; c < w.size(); ++c) {
    steps.push_back((ranges[c].high - ranges[c].low) / 255);
    most = std::max(most, std::abs(w[c]) * steps[c]);
  }
  for (size_t c = 0; c < w.size(); ++c)
    error += steps[c] * steps[c] * w[c] * w[c] + most * most / (127 * 127) * variances[c] / (steps[c] * steps[c]);
  return error;
}

} // namespace

TEST_CASE("a range has all finite numbers and zero")
{
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  QuantizationRange range = range_of({3, inf, -2, nan, 1, -inf});
  CHECK_EQ(range.whole().low, -2);
  CHECK_EQ(range.whole().high, 3);
  CHECK_EQ(range.whole().mean, doctest::Approx(2. / 3));
  CHECK_EQ(range.variance(), doctest::Approx(14. / 3 - 4. / 9));
  CHECK_EQ(range_of({2, 3}).whole().low, 0);
  CHECK_EQ(range_of({-2, -3}).whole().high, 0);
  for (const QuantizationRange& none : {range_of({}), range_of({nan})}) {
    CHECK_EQ(none.whole().low, 0);
    CHECK_EQ(none.whole().high, 0);
    CHECK_EQ(none.mean(), 0);
    CHECK_EQ(none.variance(), 0);
  }
}

TEST_CASE("an outlier widens its own channel's range alone")
{
  const LowPrecision::Ranges ranges = balanced_ranges({range_of({1, 2, 1000}), range_of({400, 300})}, {});
  CHECK_EQ(ranges[0].high, doctest::Approx(1000));
  CHECK_EQ(ranges[1].high, doctest::Approx(400));
}

TEST_CASE("a channel without numbers on the pictures has a range nevertheless")
{
  const LowPrecision::Ranges ranges = balanced_ranges({range_of({8, -8}), range_of({}), range_of({0.5f, -0.25f})}, {});
  CHECK_EQ(ranges[1].low, 0);
  CHECK_EQ(ranges[1].high, doctest::Approx(2));
  CHECK_EQ(ranges[2].high - ranges[2].low, doctest::Approx(2));
  CHECK_EQ(ranges[2].high, doctest::Approx(-2 * ranges[2].low)); // as lopsided as it was
  CHECK_EQ(balanced_ranges({range_of({}), range_of({})}, {})[0].high, 0);
  CHECK(balanced_ranges({}, {}).empty());
}

TEST_CASE("ranges are widened where data and weights together lose less")
{
  std::mt19937 random(7);
  for (int draw = 0; draw < 50; ++draw) {
    CAPTURE(draw);
    std::vector<QuantizationRange> channels;
    std::vector<double> variances, w;
    LowPrecision::Ranges plain;
    for (int c = 0; c < 8; ++c) {
      const double largest = std::exp(std::uniform_real_distribution(-1.0, 1.0)(random));
      channels.push_back(channel(largest));
      variances.push_back(channels.back().variance());
      plain.push_back(channels.back().whole());
      w.push_back(std::exp(std::uniform_real_distribution(-3.0, 3.0)(random)));
    }
    const LowPrecision::Ranges ranges = balanced_ranges(channels, {weights({w})});
    for (size_t c = 0; c < ranges.size(); ++c)
      CHECK_GE(ranges[c].high, plain[c].high * 0.9999);
    CHECK_LE(error_of(ranges, variances, w), error_of(plain, variances, w) * 1.0001);
  }
}

TEST_CASE("weights that are not finite widen nothing")
{
  const ChannelWeights infinite = weights({{std::numeric_limits<double>::infinity(), 1}}), finite = weights({{1, 1}});
  const LowPrecision::Ranges ranges = balanced_ranges({range_of({1}), range_of({2})}, {infinite, finite});
  CHECK_EQ(ranges[0].high, doctest::Approx(1));
  CHECK_EQ(ranges[1].high, doctest::Approx(2));
}
