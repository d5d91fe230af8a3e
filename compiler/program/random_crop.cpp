#include "compiler/program/random_crop.h"

#include <algorithm>
#include <cmath>

namespace cnnc {

Tensor random_crop(const Tensor& picture, std::mt19937& random)
{
  const auto uniform = [&](double low, double high) { return std::uniform_real_distribution(low, high)(random); };
  const int64_t channels = picture.dims[0], height = picture.dims[1], width = picture.dims[2];
  const double area = uniform(1. / 3, 1), shape = std::exp(uniform(std::log(3. / 4), std::log(4. / 3)));
  const double all = static_cast<double>(height * width) * area;
  const auto rows = std::clamp<int64_t>(std::llround(std::sqrt(all / shape)), 1, height);
  const auto columns = std::clamp<int64_t>(std::llround(std::sqrt(all * shape)), 1, width);
  const auto top = static_cast<int64_t>(uniform(0, static_cast<double>(height - rows + 1)));
  const auto left = static_cast<int64_t>(uniform(0, static_cast<double>(width - columns + 1)));
  const bool mirrored = random() % 2 == 0;
  Tensor part(DType::u8, {channels, rows, columns});
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t y = 0; y < rows; ++y)
      for (int64_t x = 0; x < columns; ++x)
        part.data<uint8_t>()[(c * rows + y) * columns + (mirrored ? columns - 1 - x : x)] =
            picture
                .data<uint8_t>()[(c * height + std::min(top + y, height - 1)) * width + std::min(left + x, width - 1)];
  return part;
}

} // namespace cnnc
