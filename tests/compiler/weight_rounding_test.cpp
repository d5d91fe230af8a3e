#include "compiler/program/weight_rounding.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

using namespace cnnc;

namespace {

constexpr int64_t channels = 12, outputs = 6, taps = 2;

// Channels that have much in common, and a mean.
Tensor data(std::mt19937& random)
{
  std::normal_distribution<double> normal;
  Tensor made(DType::f32, {40, channels, 3, 5});
  for (int64_t n = 0; n < 40; ++n)
    for (int64_t place = 0; place < 15; ++place) {
      const double common = 1 + normal(random);
      for (int64_t c = 0; c < channels; ++c)
        made.set((n * channels + c) * 15 + place, common * (1 + 0.1 * static_cast<double>(c)) + 0.2 * normal(random));
    }
  return made;
}

// [outputs, channels, taps], or with the first two dimensions swapped.
Tensor draw_weights(std::mt19937& random, bool swapped)
{
  std::normal_distribution<double> normal;
  Tensor made(DType::f32, {swapped ? channels : outputs, swapped ? outputs : channels, taps});
  for (int64_t i = 0; i < made.size(); ++i)
    made.set(i, normal(random));
  return made;
}

int64_t place(const Tensor& weights, size_t output, int64_t o, int64_t c, int64_t tap)
{
  return ((output == 0 ? o * weights.dims[1] + c : c * weights.dims[1] + o)) * taps + tap;
}

// What lower_precision makes of them.
Tensor rounded_to_nearest(const Tensor& weights, size_t output, const std::vector<double>& scales)
{
  Tensor rounded = weights;
  for (int64_t o = 0; o < outputs; ++o) {
    float most = 0;
    const auto scaled = [&](int64_t i, int64_t c) {
      return static_cast<float>(weights.get(i)) * static_cast<float>(scales[static_cast<size_t>(c)]);
    };
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t tap = 0; tap < taps; ++tap)
        most = std::max(most, std::abs(scaled(place(weights, output, o, c, tap), c)));
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t i = place(weights, output, o, c, tap);
        rounded.set(i, std::nearbyint(scaled(i, c) * (127 / most)) * most / 127 / scales[static_cast<size_t>(c)]);
      }
  }
  return rounded;
}

double squared_error(const Tensor& x, const Tensor& weights, const Tensor& rounded, size_t output)
{
  double sum = 0;
  for (int64_t n = 0; n < x.dims[0]; ++n)
    for (int64_t at = 0; at < 15; ++at)
      for (int64_t o = 0; o < outputs; ++o)
        for (int64_t tap = 0; tap < taps; ++tap) {
          double error = 0;
          for (int64_t c = 0; c < channels; ++c) {
            const int64_t i = place(weights, output, o, c, tap);
            error += (rounded.get(i) - weights.get(i)) * x.get((n * channels + c) * 15 + at);
          }
          sum += error * error;
        }
  return sum;
}

} // namespace

TEST_CASE("moments are means over images and places")
{
  Tensor value(DType::f32, {2, 2, 1, 2});
  const double numbers[] = {1, 2, 3, 4, 5, 6, 7, 8}; // channel 0: 1, 2, 5, 6; channel 1: 3, 4, 7, 8
  for (int64_t i = 0; i < 8; ++i)
    value.set(i, numbers[i]);
  SecondMoments moments;
  moments.add(value);
  moments.add(value);
  CHECK_EQ(moments.channels(), 2);
  CHECK_EQ(moments.of(0, 0), doctest::Approx((1 + 4 + 25 + 36) / 4.));
  CHECK_EQ(moments.of(0, 1), doctest::Approx((3 + 8 + 35 + 48) / 4.));
  CHECK_EQ(moments.of(1, 0), moments.of(0, 1));
}

TEST_CASE("weights rounded together err less, and are what the nearest integers are made from")
{
  std::mt19937 random(3);
  for (int draw = 0; draw < 10; ++draw)
    for (size_t output : {0, 1}) {
      CAPTURE(draw);
      const Tensor x = data(random), weights = draw_weights(random, output == 1);
      std::vector<double> scales;
      for (int64_t c = 0; c < channels; ++c)
        scales.push_back(static_cast<float>(std::exp(std::uniform_real_distribution(-1.0, 1.0)(random))));
      SecondMoments moments;
      moments.add(x);
      const Tensor together = round_weights(weights, output, 1 - output, scales, moments);
      const Tensor nearest = rounded_to_nearest(weights, output, scales),
                   again = rounded_to_nearest(together, output, scales);
      for (int64_t i = 0; i < weights.size(); ++i)
        CHECK_EQ(again.get(i), doctest::Approx(together.get(i)).epsilon(1e-5));
      CHECK_LT(squared_error(x, weights, together, output), 0.5 * squared_error(x, weights, nearest, output));
    }
}

TEST_CASE("without data weights stay as they are, and numbers that are not finite do")
{
  std::mt19937 random(3);
  const Tensor weights = draw_weights(random, false);
  const std::vector<double> scales(channels, 1);
  CHECK(round_weights(weights, 0, 1, scales, {}).bytes == weights.bytes);
  Tensor infinite = weights;
  infinite.set(0, INFINITY);
  SecondMoments moments;
  moments.add(data(random));
  const Tensor rounded = round_weights(infinite, 0, 1, scales, moments);
  for (int64_t i = 0; i < channels * taps; ++i)
    CHECK_EQ(rounded.get(i), infinite.get(i));
}
