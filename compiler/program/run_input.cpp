#include "compiler/program/run_input.h"
#include "runtime/files.h"
#include "runtime/idx.h"
#include "runtime/image.h"
#include "runtime/model.h"
#include "runtime/npy.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <limits>
#include <numeric>

namespace cnnc {

namespace {

constexpr int64_t input_byte_limit = int64_t{4} << 30;
constexpr int64_t printed_numbers = 256;

std::string shape_text(const std::vector<int64_t>& dims, bool batch)
{
  return fmt::format("[{}{}]", batch ? "n," : "", fmt::join(dims, ","));
}

Tensor reshaped(Tensor tensor, std::vector<int64_t> dims)
{
  tensor.dims = std::move(dims);
  return tensor;
}

Tensor scaled(const Tensor& pixels, DType dtype)
{
  Tensor result(is_float(dtype) ? DType::f32 : dtype, pixels.dims);
  for (int64_t i = 0; i < pixels.size(); ++i)
    result.set(i, is_float(dtype) ? pixels.get(i) / 255 : pixels.get(i));
  return result;
}

// idx, gzipped or not: two zeros and "unsigned bytes", or gzip's own mark.
bool is_idx(std::string_view bytes)
{
  return bytes.starts_with(std::string_view("\0\0\x08", 3)) || bytes.starts_with("\x1f\x8b");
}

} // namespace

bool has_images(const cnn_tensor& tensor)
{
  return tensor.rank > 0 && tensor.dims[0] < 0;
}

Tensor read_input(const std::string& path, const cnn_tensor& input)
{
  std::vector<int64_t> one = dims_of(input, 1); // the batch first
  const bool batched = has_images(input);
  const std::vector<int64_t> image(one.begin() + (batched ? 1 : 0), one.end());
  const std::string bytes = read_file(path, input_byte_limit);
  const DType dtype = dtype_of(input);
  const auto fail = [&](const std::vector<int64_t>& found) {
    return Error({}, fmt::format("{} has the shape {}, the input '{}' is {}", path, shape_text(found, false),
                                 input.name, shape_text(image, batched)));
  };
  if (bytes.starts_with("\x93NUMPY")) {
    Tensor array = parse_npy(bytes, path);
    std::vector<int64_t> dims = array.dims;
    if (!batched && dims != image)
      throw fail(dims);
    if (batched && dims == image) {
      dims.insert(dims.begin(), 1);
      array = reshaped(std::move(array), dims);
    }
    if (batched && (dims.size() != one.size() || !std::equal(image.begin(), image.end(), dims.begin() + 1)))
      throw fail(array.dims);
    if (array.size() < 1)
      throw Error({}, fmt::format("{} holds no image: its shape is {}", path, shape_text(dims, false)));
    return array.dtype == dtype ? std::move(array) : convert(array, dtype);
  }
  if (is_idx(bytes)) {
    Tensor pixels = parse_idx(bytes, path, 3);
    const std::vector<int64_t> dims{pixels.dims[0], 1, pixels.dims[1], pixels.dims[2]};
    if (image != std::vector<int64_t>{1, dims[2], dims[3]})
      throw fail(pixels.dims);
    return convert(scaled(reshaped(std::move(pixels), dims), dtype), dtype);
  }
  if (!batched || image.size() != 3 || (image[0] != 1 && image[0] != 3))
    throw Error({}, fmt::format("{} is a picture, the input '{}' is {}: a .npy file of that shape is wanted", path,
                                input.name, shape_text(image, batched)));
  Tensor picture = decode_image(bytes, path, image[0] == 1 ? Channels::gray : Channels::rgb);
  picture = resize(picture, image[1], image[2]);
  std::vector<int64_t> dims = picture.dims;
  dims.insert(dims.begin(), 1);
  return convert(scaled(reshaped(std::move(picture), dims), dtype), dtype);
}

namespace {

Tensor to_picture(const std::string& path, const Tensor& output)
{
  std::vector<int64_t> dims = output.dims;
  if (dims.size() == 3)
    dims.insert(dims.begin() + 1, 1);
  if (dims.size() != 4 || dims[0] != 1)
    throw Error({}, fmt::format("{}: an output of shape {} is no picture: a .npy file can hold it", path,
                                shape_text(output.dims, false)));
  const int64_t channels = dims[1], height = dims[2], width = dims[3];
  double low = 0, high = 1;
  for (int64_t i = 0; i < output.size(); ++i)
    if (std::isfinite(output.get(i))) {
      low = std::min(low, output.get(i));
      high = std::max(high, output.get(i));
    }
  const auto pixel = [&](int64_t i) {
    const double value = output.get(i);
    return std::isfinite(value) ? std::round((value - low) / (high - low) * 255) : 0;
  };
  if (channels == 3) {
    Tensor picture(DType::u8, {3, height, width});
    for (int64_t i = 0; i < picture.size(); ++i)
      picture.set(i, pixel(i));
    return picture;
  }
  Tensor picture(DType::u8, {1, height, channels * width});
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x)
        picture.set(y * channels * width + c * width + x, pixel((c * height + y) * width + x));
  return picture;
}

} // namespace

void write_output(const std::string& path, const Tensor& output)
{
  if (path.ends_with(".png"))
    write_png(path, to_picture(path, output));
  else
    write_npy(path, output);
}

std::string describe_output(const std::string& name, const Tensor& output, int64_t top)
{
  const int64_t n = output.dims.empty() ? 1 : output.dims[0];
  const int64_t each = output.size() / std::max<int64_t>(1, n);
  std::string text;
  if (output.dims.size() == 2 && top > 0) {
    for (int64_t i = 0; i < n; ++i) {
      std::vector<int64_t> order(static_cast<size_t>(each));
      std::iota(order.begin(), order.end(), 0);
      const int64_t shown = std::min(top, each);
      std::partial_sort(order.begin(), order.begin() + shown, order.end(), [&](int64_t a, int64_t b) {
        const double x = output.get(i * each + a), y = output.get(i * each + b);
        return x != y ? x > y : a < b;
      });
      text += n > 1 ? fmt::format("{} {}:", name, i) : fmt::format("{}:", name);
      for (int64_t k = 0; k < shown; ++k)
        text += fmt::format("  {} ({:.4g})", order[static_cast<size_t>(k)],
                            output.get(i * each + order[static_cast<size_t>(k)]));
      text += "\n";
    }
    return text;
  }
  text = fmt::format("{} {}", name, shape_text(output.dims, false));
  if (output.size() > printed_numbers) {
    double low = std::numeric_limits<double>::infinity(), high = -low, sum = 0;
    for (int64_t i = 0; i < output.size(); ++i) {
      low = std::min(low, output.get(i));
      high = std::max(high, output.get(i));
      sum += output.get(i);
    }
    return text + fmt::format(": between {:.6g} and {:.6g}, mean {:.6g}\n", low, high,
                              sum / static_cast<double>(output.size()));
  }
  text += ":\n";
  const int64_t row = output.dims.empty() ? 1 : output.dims.back();
  const int64_t matrix = output.dims.size() > 1 ? row * output.dims[output.dims.size() - 2] : row;
  size_t width = 1;
  for (int64_t i = 0; i < output.size(); ++i)
    width = std::max(width, fmt::format("{:.6g}", output.get(i)).size());
  for (int64_t i = 0; i < output.size(); ++i) {
    if (i > 0 && i % matrix == 0)
      text += "\n";
    text +=
        fmt::format("{}{:>{}.6g}{}", i % row == 0 ? "  " : " ", output.get(i), width, (i + 1) % row == 0 ? "\n" : "");
  }
  return text;
}

} // namespace cnnc
