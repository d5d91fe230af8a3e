#include "runtime/preprocessing.h"

#include "fixture.h"

#include <doctest/doctest.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

// Each pixel is 10*row + column, plus 100 a channel.
Tensor numbered(int64_t channels, int64_t rows, int64_t columns)
{
  Tensor picture(DType::u8, {channels, rows, columns});
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t y = 0; y < rows; ++y)
      for (int64_t x = 0; x < columns; ++x)
        picture.set((c * rows + y) * columns + x, static_cast<double>(100 * c + 10 * y + x));
  return picture;
}

} // namespace

TEST_CASE("preprocessing: the middle, channels in order, scale, mean and deviation")
{
  Preprocessing p;
  p.crop_rows = p.crop_columns = 2;
  p.order = ChannelOrder::bgr;
  p.scale = 1;
  p.mean = {1, 2, 3};
  p.std = {2};
  const Tensor result = preprocess(numbered(3, 4, 5), p, {3, 2, 2});
  // The middle of 4 x 5: rows 1 and 2, columns 1 and 2; blue comes first.
  CHECK(result.dims == std::vector<int64_t>{3, 2, 2});
  CHECK(result.get(0) == (211 - 1) / 2.0);
  CHECK(result.get(3) == (222 - 1) / 2.0);
  CHECK(result.get(8) == (11 - 3) / 2.0);
}

TEST_CASE("preprocessing: the shorter side goes to `resize`, and nothing is left uncovered")
{
  Preprocessing p;
  p.resize = 4;
  const Tensor flat(DType::u8, {3, 8, 20});
  CHECK(fit_picture(flat, p, {3, 4, 4}).dims == std::vector<int64_t>{3, 4, 4});
  CHECK(fit_picture(flat, p, {1, 4, 10}).dims == std::vector<int64_t>{1, 4, 10});
  // Smaller than the crop: it grows.
  Preprocessing crop;
  crop.crop_rows = 9, crop.crop_columns = 30;
  CHECK(fit_picture(flat, crop, {3, 9, 30}).dims == std::vector<int64_t>{3, 9, 30});
  // One pixel high and as long as may be: a clear error, no memory.
  p.resize = 16384;
  CHECK(exit_code_of([&] { fit_picture(Tensor(DType::u8, {1, 1, 1 << 20}), p, {1, 4, 4}); }) == 1);
}

TEST_CASE("preprocessing: gray and colours become one another; what is no picture is refused")
{
  CHECK(preprocess(numbered(1, 2, 2), {}, {3, 2, 2}).get(11) == doctest::Approx(11 / 255.0));
  Tensor red(DType::u8, {3, 1, 1});
  red.set(0, 200);
  CHECK(preprocess(red, default_preprocessing({1, 1, 1}), {1, 1, 1}).get(0) == doctest::Approx(60 / 255.0));
  CHECK(exit_code_of([&] { preprocess(red, {}, {2, 1, 1}); }) == 1);
  CHECK(exit_code_of([&] { preprocess(red, {}, {100}); }) == 1);
  CHECK_FALSE(takes_pictures({3, 4}));
  Preprocessing p;
  p.mean = {1, 2};
  CHECK(exit_code_of([&] { preprocess(red, p, {3, 1, 1}); }) == 1);
}
