#include "runtime/preprocessing.h"

#include "ir/location.h"
#include "runtime/image.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace cnnc {

namespace {

// Rec. 601, as runtime/image.h has it.
Tensor to_gray(const Tensor& picture)
{
  const int64_t plane = picture.dims[1] * picture.dims[2];
  Tensor gray(DType::u8, {1, picture.dims[1], picture.dims[2]});
  const auto* in = picture.data<uint8_t>();
  auto* out = gray.data<uint8_t>();
  for (int64_t i = 0; i < plane; ++i)
    out[i] = static_cast<uint8_t>(std::lround(0.299 * in[i] + 0.587 * in[plane + i] + 0.114 * in[2 * plane + i]));
  return gray;
}

Tensor with_channels(Tensor picture, int64_t channels, ChannelOrder order)
{
  if (picture.dims[0] == 3 && channels == 1)
    return to_gray(picture);
  const int64_t plane = picture.dims[1] * picture.dims[2];
  Tensor result(DType::u8, {channels, picture.dims[1], picture.dims[2]});
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t from = picture.dims[0] == 1 ? 0 : order == ChannelOrder::bgr ? 2 - c : c;
    std::copy_n(picture.data<uint8_t>() + from * plane, plane, result.data<uint8_t>() + c * plane);
  }
  return result;
}

// Rows and columns out of the middle; an odd pixel more is left out at the end.
Tensor middle(const Tensor& picture, int64_t rows, int64_t columns)
{
  const int64_t channels = picture.dims[0], height = picture.dims[1], width = picture.dims[2];
  const int64_t top = (height - rows) / 2, left = (width - columns) / 2;
  Tensor result(DType::u8, {channels, rows, columns});
  auto* out = result.data<uint8_t>();
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t y = 0; y < rows; ++y, out += columns)
      std::copy_n(picture.data<uint8_t>() + (c * height + top + y) * width + left, columns, out);
  return result;
}

// The longer side goes with the shorter one; a picture that is still too small for the crop grows until it fits.
Tensor resized(const Tensor& picture, int64_t shorter, int64_t rows, int64_t columns)
{
  const auto height = static_cast<double>(picture.dims[1]), width = static_cast<double>(picture.dims[2]);
  double factor = static_cast<double>(shorter) / std::min(height, width);
  factor = std::max({factor, static_cast<double>(rows) / height, static_cast<double>(columns) / width});
  const auto extent = [&](double size, int64_t least) {
    const double wanted = std::max(std::floor(size * factor + 1e-6), static_cast<double>(least));
    if (wanted > static_cast<double>(pixel_limit))
      throw Error({}, fmt::format("a picture of {} x {} is too long to be resized to a shorter side of {}",
                                  picture.dims[1], picture.dims[2], shorter));
    return static_cast<int64_t>(wanted);
  };
  const int64_t to_rows = extent(height, rows), to_columns = extent(width, columns);
  if (to_rows > pixel_limit / to_columns)
    throw Error({}, fmt::format("a picture of {} x {} is too long to be resized to a shorter side of {}",
                                picture.dims[1], picture.dims[2], shorter));
  if (to_rows == picture.dims[1] && to_columns == picture.dims[2])
    return picture;
  return resize(picture, to_rows, to_columns);
}

double of_channel(const std::vector<double>& values, int64_t channel)
{
  return values.size() == 1 ? values[0] : values.at(static_cast<size_t>(channel));
}

} // namespace

std::string_view to_string(ChannelOrder order)
{
  switch (order) {
  case ChannelOrder::rgb: return "rgb";
  case ChannelOrder::bgr: return "bgr";
  case ChannelOrder::gray: return "gray";
  }
  return "";
}

bool takes_pictures(const std::vector<int64_t>& dims)
{
  return dims.size() == 3 && (dims[0] == 1 || dims[0] == 3) && dims[1] > 0 && dims[2] > 0 &&
         dims[1] <= pixel_limit / dims[2];
}

Preprocessing default_preprocessing(const std::vector<int64_t>& dims)
{
  Preprocessing result;
  if (!dims.empty() && dims[0] == 1)
    result.order = ChannelOrder::gray;
  return result;
}

Tensor fit_picture(const Tensor& picture, const Preprocessing& preprocessing, const std::vector<int64_t>& dims)
{
  if (!takes_pictures(dims))
    throw Error({}, fmt::format("an input of shape [{}] takes no pictures: they have 1 or 3 channels, rows and columns",
                                fmt::join(dims, ",")));
  if (picture.dtype != DType::u8 || picture.dims.size() != 3 || (picture.dims[0] != 1 && picture.dims[0] != 3))
    throw InternalError("fit_picture: u8 [1,H,W] or [3,H,W] is wanted");
  Tensor fitted = picture;
  if (preprocessing.resize > 0)
    fitted = resized(fitted, preprocessing.resize, dims[1], dims[2]);
  if (preprocessing.resize > 0 || preprocessing.crop_rows > 0) {
    // Without `resize` a picture is cut as it is, and grows only where it is too small.
    if (fitted.dims[1] < dims[1] || fitted.dims[2] < dims[2])
      fitted = resized(fitted, 0, dims[1], dims[2]);
    fitted = middle(fitted, dims[1], dims[2]);
  } else if (fitted.dims[1] != dims[1] || fitted.dims[2] != dims[2]) {
    fitted = resize(fitted, dims[1], dims[2]);
  }
  return with_channels(std::move(fitted), dims[0], preprocessing.order);
}

Tensor preprocess(const Tensor& picture, const Preprocessing& preprocessing, const std::vector<int64_t>& dims)
{
  const Tensor fitted = fit_picture(picture, preprocessing, dims);
  for (const std::vector<double>* values : {&preprocessing.mean, &preprocessing.std})
    if (values->size() != 1 && static_cast<int64_t>(values->size()) != dims[0])
      throw Error({}, fmt::format("{} values of mean or std for {} channels", values->size(), dims[0]));
  Tensor result(DType::f32, dims);
  const int64_t plane = dims[1] * dims[2];
  for (int64_t c = 0; c < dims[0]; ++c) {
    const double mean = of_channel(preprocessing.mean, c), deviation = of_channel(preprocessing.std, c);
    const uint8_t* in = fitted.data<uint8_t>() + c * plane;
    float* out = result.data<float>() + c * plane;
    for (int64_t i = 0; i < plane; ++i)
      out[i] = static_cast<float>((in[i] * preprocessing.scale - mean) / deviation);
  }
  return result;
}

} // namespace cnnc
