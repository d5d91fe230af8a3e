#include "compiler/program/run_input.h"
#include "runtime/files.h"
#include "runtime/idx.h"
#include "runtime/image.h"
#include "runtime/model.h"
#include "runtime/npy.h"

#include <algorithm>
#include <fmt/format.h>

namespace cnnc {

namespace {

constexpr int64_t input_byte_limit = int64_t{4} << 30;
constexpr std::string_view numpy_mark = "\x93NUMPY";

std::string shape_text(const std::vector<int64_t>& dims, bool batch)
{
  return fmt::format("[{}{}]", batch ? "n," : "", fmt::join(dims, ","));
}

Tensor reshaped(Tensor tensor, std::vector<int64_t> dims)
{
  tensor.dims = std::move(dims);
  return tensor;
}

// Raw pixels as numbers: 0 ... 1, where numbers are floats.
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

// [C,H,W] of one image; empty where the input has none. A network for one picture only has its 1 among its own extents.
std::vector<int64_t> picture_dims(const cnn_tensor& input)
{
  std::vector<int64_t> dims = dims_of(input, 1);
  if (!has_images(input) && (dims.size() != 4 || dims[0] != 1))
    return {};
  dims.erase(dims.begin());
  return takes_pictures(dims) ? dims : std::vector<int64_t>{};
}

Tensor decoded(const std::string& bytes, const std::string& path, const cnn_tensor& input)
{
  const std::vector<int64_t> dims = picture_dims(input);
  if (dims.empty()) {
    std::vector<int64_t> image = dims_of(input, 1);
    if (has_images(input))
      image.erase(image.begin());
    throw Error({}, fmt::format("{} is a picture, the input '{}' is {}: a .npy file of that shape is wanted", path,
                                input.name, shape_text(image, has_images(input))));
  }
  return decode_image(bytes, path, dims[0] == 1 ? Channels::gray : Channels::rgb);
}

} // namespace

bool has_images(const cnn_tensor& tensor)
{
  return tensor.rank > 0 && tensor.dims[0] < 0;
}

Tensor read_input(const std::string& path, const cnn_tensor& input, const Preprocessing& preprocessing)
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
  if (bytes.starts_with(numpy_mark)) {
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
  return input_of(decoded(bytes, path, input), input, preprocessing);
}

std::optional<Tensor> read_picture(const std::string& path, const cnn_tensor& input)
{
  const std::string bytes = read_file(path, input_byte_limit);
  if (bytes.starts_with(numpy_mark) || is_idx(bytes))
    return {};
  return decoded(bytes, path, input);
}

Tensor input_of(const Tensor& picture, const cnn_tensor& input, const Preprocessing& preprocessing)
{
  const std::vector<int64_t> pixels = picture_dims(input);
  const DType dtype = dtype_of(input);
  // Integers are pixels as they are.
  Tensor result =
      is_float(dtype) ? preprocess(picture, preprocessing, pixels) : fit_picture(picture, preprocessing, pixels);
  result.dims.insert(result.dims.begin(), 1);
  return result.dtype == dtype ? result : convert(result, dtype);
}

} // namespace cnnc
