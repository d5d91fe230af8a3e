#include "compiler/program/weight_rounding.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace cnnc {

namespace {

constexpr int64_t places_of_image = 64;
constexpr double damping = 0.01; // of the mean square: as much as pictures differ

using Numbers = std::vector<double>;

// Of L L^T = m, in place; false where m is not positive. Row by row, above the diagonal nothing is read or written.
bool factor(Numbers& m, size_t size)
{
  for (size_t i = 0; i < size; ++i)
    for (size_t j = 0; j <= i; ++j) {
      double rest = m[i * size + j];
      for (size_t k = 0; k < j; ++k)
        rest -= m[i * size + k] * m[j * size + k];
      if (i == j && !(rest > 0))
        return false;
      m[i * size + j] = i == j ? std::sqrt(rest) : rest / m[j * size + j];
    }
  return true;
}

Numbers inverse_of_triangle(const Numbers& l, size_t size)
{
  Numbers inverse(l.size());
  for (size_t i = 0; i < size; ++i) {
    double* row = &inverse[i * size];
    for (size_t k = 0; k < i; ++k) {
      const double factor = l[i * size + k];
      for (size_t j = 0; j <= k; ++j)
        row[j] -= factor * inverse[k * size + j];
    }
    for (size_t j = 0; j < i; ++j)
      row[j] /= l[i * size + i];
    row[i] = 1 / l[i * size + i];
  }
  return inverse;
}

// What is passed on, per unit of the error of channel order[k], to those before it in `order`; empty where nothing can be.
Numbers passed_on(const SecondMoments& moments, const std::vector<double>& scales, const std::vector<size_t>& order)
{
  const size_t size = order.size();
  Numbers m(size * size);
  double trace = 0;
  for (size_t i = 0; i < size; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      const size_t a = order[i], b = order[j];
      m[i * size + j] = moments.of(static_cast<int64_t>(a), static_cast<int64_t>(b)) / (scales[a] * scales[b]);
    }
    trace += m[i * size + i];
  }
  for (size_t i = 0; i < size; ++i)
    m[i * size + i] += damping * trace / static_cast<double>(size);
  return factor(m, size) ? inverse_of_triangle(m, size) : Numbers{};
}

// Where the weights of each number of dimension `output` lie: tap by tap, by input channel.
std::vector<std::vector<int64_t>> positions(const Tensor& weights, size_t output, size_t input)
{
  std::vector<int64_t> strides(weights.dims.size(), 1);
  for (size_t d = strides.size() - 1; d > 0; --d)
    strides[d - 1] = strides[d] * weights.dims[d];
  std::vector<int64_t> taps{0};
  for (size_t d = 0; d < strides.size(); ++d)
    if (d != output && d != input) {
      std::vector<int64_t> more;
      for (int64_t tap : taps)
        for (int64_t i = 0; i < weights.dims[d]; ++i)
          more.push_back(tap + i * strides[d]);
      taps = std::move(more);
    }
  std::vector<std::vector<int64_t>> of_output(static_cast<size_t>(weights.dims[output]));
  for (size_t o = 0; o < of_output.size(); ++o)
    for (int64_t tap : taps)
      for (int64_t c = 0; c < weights.dims[input]; ++c)
        of_output[o].push_back(static_cast<int64_t>(o) * strides[output] + tap + c * strides[input]);
  return of_output;
}

} // namespace

void SecondMoments::add(const Tensor& value)
{
  const int64_t n = value.dims[0], size = value.size() / std::max<int64_t>(n * value.dims[1], 1);
  count = value.dims[1];
  sums.resize(static_cast<size_t>(count * (count + 1) / 2));
  const int64_t taken = std::min(size, places_of_image);
  std::vector<float> at(static_cast<size_t>(count));
  for (int64_t image = 0; image < n; ++image, ++images)
    for (int64_t k = 0; k < taken; ++k, ++places) {
      const int64_t place = (k * size / taken + images * 7919) % size; // not always the same ones
      for (int64_t c = 0; c < count; ++c)
        at[static_cast<size_t>(c)] = value.data<float>()[(image * count + c) * size + place];
      float* row = sums.data();
      for (int64_t a = 0; a < count; row += ++a) {
        const float factor = at[static_cast<size_t>(a)];
        if (factor != 0)
          for (int64_t b = 0; b <= a; ++b)
            row[b] += factor * at[static_cast<size_t>(b)];
      }
    }
}

double SecondMoments::of(int64_t a, int64_t b) const
{
  const auto [low, high] = std::minmax(a, b);
  return places > 0 ? sums[static_cast<size_t>(high * (high + 1) / 2 + low)] / static_cast<double>(places) : 0;
}

Tensor round_weights(Tensor weights, size_t output, size_t input, const std::vector<double>& scales,
                     const SecondMoments& moments)
{
  std::vector<size_t> order(scales.size()); // the last is rounded first
  std::iota(order.begin(), order.end(), size_t{0});
  const auto energy = [&](size_t c) {
    return moments.of(static_cast<int64_t>(c), static_cast<int64_t>(c)) / (scales[c] * scales[c]);
  };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return energy(a) < energy(b); });
  const size_t size = order.size();
  const Numbers share = passed_on(moments, scales, order);
  if (share.empty())
    return weights;
  Numbers scaled(size);
  for (const std::vector<int64_t>& places : positions(weights, output, input)) {
    double most = 0;
    for (size_t i = 0; i < places.size(); ++i)
      most = std::max(most, std::abs(weights.get(places[i]) * scales[i % size]));
    if (!(most > 0) || !std::isfinite(most))
      continue;
    const double step = most / 127;
    for (size_t tap = 0; tap < places.size(); tap += size) {
      for (size_t k = 0; k < size; ++k)
        scaled[k] = weights.get(places[tap + order[k]]) * scales[order[k]];
      for (size_t k = size; k-- > 0;) {
        const size_t c = order[k];
        const double before = weights.get(places[tap + c]) * scales[c];
        // The largest one is what the step was made from.
        const double integer = std::abs(before) == most ? std::copysign(127, before)
                                                        : std::clamp(std::nearbyint(scaled[k] / step), -127., 127.);
        const double error = (scaled[k] - integer * step) / share[k * size + k];
        for (size_t j = 0; j < k; ++j)
          scaled[j] -= error * share[k * size + j];
        weights.set(places[tap + c], integer * step / scales[c]);
      }
    }
  }
  return weights;
}

} // namespace cnnc
