#include "runtime/image.h"

#include "runtime/files.h"
#include "runtime/jpeg.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <png.h>

namespace cnnc {

namespace {

constexpr int64_t file_limit = int64_t{1} << 30;

uint8_t gray_of(int r, int g, int b)
{
  return static_cast<uint8_t>((299 * r + 587 * g + 114 * b + 500) / 1000);
}

// Interleaved pixels to planes, with the channels that were asked for.
Tensor to_planes(const Pixels& pixels, Channels channels)
{
  int64_t from = pixels.channels, to = channels == Channels::as_stored ? from : channels == Channels::gray ? 1 : 3;
  int64_t count = pixels.height * pixels.width;
  Tensor image(DType::u8, {to, pixels.height, pixels.width});
  auto* out = image.data<uint8_t>();
  const uint8_t* in = pixels.bytes.data();
  for (int64_t i = 0; i < count; ++i, in += from)
    for (int64_t c = 0; c < to; ++c)
      out[c * count + i] = from == to ? in[c] : from == 1 ? in[0] : gray_of(in[0], in[1], in[2]);
  return image;
}

// libpng's simplified interface: it keeps its own errors and needs no long jump through our frames.
struct PngImage {
  png_image image = {};

  PngImage() { image.version = PNG_IMAGE_VERSION; }
  ~PngImage() { png_image_free(&image); }
  PngImage(const PngImage&) = delete;
  PngImage& operator=(const PngImage&) = delete;
};

Pixels decode_png(std::string_view bytes, const std::string& name)
{
  PngImage png;
  if (!png_image_begin_read_from_memory(&png.image, bytes.data(), bytes.size()))
    throw bad_file(name, fmt::format("is not a PNG that can be read: {}", png.image.message));
  Pixels pixels;
  pixels.width = png.image.width;
  pixels.height = png.image.height;
  pixels.channels = png.image.format & PNG_FORMAT_FLAG_COLOR ? 3 : 1;
  check_size(pixels, name);
  png.image.format = pixels.channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  pixels.bytes.resize(static_cast<size_t>(pixels.width * pixels.height * pixels.channels));
  png_color white = {255, 255, 255};
  if (!png_image_finish_read(&png.image, &white, pixels.bytes.data(), 0, nullptr))
    throw bad_file(name, fmt::format("is a damaged PNG: {}", png.image.message));
  return pixels;
}

// "P5" (gray) or "P6" (colour), width, height, highest value; one space; bytes. Comments run from # to the line's end.
Pixels decode_pnm(std::string_view bytes, const std::string& name)
{
  Pixels pixels;
  pixels.channels = bytes[1] == '6' ? 3 : 1;
  bytes.remove_prefix(2);
  auto number = [&](std::string_view what, int64_t limit) {
    for (;;) {
      while (!bytes.empty() && std::strchr(" \t\r\n", bytes.front()) && bytes.front() != '\0')
        bytes.remove_prefix(1);
      if (bytes.empty() || bytes.front() != '#')
        break;
      bytes.remove_prefix(std::min(bytes.find('\n'), bytes.size()));
    }
    int64_t value = 0;
    auto [end, error] = std::from_chars(bytes.data(), bytes.data() + bytes.size(), value);
    if (error != std::errc() || value < 1 || value > limit)
      throw bad_file(name, fmt::format("the {} is not a number from 1 to {}", what, limit));
    bytes.remove_prefix(static_cast<size_t>(end - bytes.data()));
    return value;
  };
  pixels.width = number("width", pixel_limit);
  pixels.height = number("height", pixel_limit);
  int64_t highest = number("highest value", 255);
  check_size(pixels, name);
  if (bytes.empty() || !std::strchr(" \t\r\n", bytes.front()) || bytes.front() == '\0')
    throw bad_file(name, "a space must follow the highest value");
  bytes.remove_prefix(1);
  auto count = static_cast<size_t>(pixels.width * pixels.height * pixels.channels);
  if (bytes.size() < count)
    throw bad_file(name, fmt::format("is cut short: {} bytes of pixels are announced, {} follow", count, bytes.size()));
  pixels.bytes.assign(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count));
  for (uint8_t& value : pixels.bytes) {
    if (value > highest)
      throw bad_file(name, fmt::format("a pixel is {}, {} is the highest value", value, highest));
    value = static_cast<uint8_t>((value * 255 + highest / 2) / highest);
  }
  return pixels;
}

// One axis of a resize: new = sum over taps of weight * old[first + tap], weights in 2^-16 and summing to 2^16.
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

// A triangle around each new pixel's centre: as wide as two old pixels, or as two new ones where the picture shrinks
// (so that nothing between them is passed over).
std::vector<Taps> taps_of(int64_t from, int64_t to)
{
  constexpr int32_t one = 1 << 16;
  std::vector<Taps> result(static_cast<size_t>(to));
  const double ratio = static_cast<double>(from) / static_cast<double>(to), reach = std::max(ratio, 1.0);
  for (int64_t i = 0; i < to; ++i) {
    Taps& taps = result[static_cast<size_t>(i)];
    const double centre = (static_cast<double>(i) + 0.5) * ratio;
    taps.first = std::clamp<int64_t>(static_cast<int64_t>(centre - reach + 0.5), 0, from - 1);
    const int64_t end = std::clamp<int64_t>(static_cast<int64_t>(centre + reach + 0.5), taps.first + 1, from);
    std::vector<double> share;
    double sum = 0;
    for (int64_t j = taps.first; j < end; ++j) {
      share.push_back(std::max(0.0, 1 - std::abs(static_cast<double>(j) + 0.5 - centre) / reach));
      sum += share.back();
    }
    int32_t left = one;
    for (double s : share) {
      taps.weights.push_back(static_cast<int32_t>(std::lround(s / sum * one)));
      left -= taps.weights.back();
    }
    *std::max_element(taps.weights.begin(), taps.weights.end()) += left; // so a plain area stays plain
  }
  return result;
}

} // namespace

void check_size(const Pixels& pixels, const std::string& name)
{
  if (pixels.width < 1 || pixels.height < 1 || pixels.width > pixel_limit / pixels.height)
    throw bad_file(name, fmt::format("a picture of {} x {} pixels: from 1 to {} are read", pixels.width, pixels.height,
                                     pixel_limit));
}

Tensor decode_image(std::string_view bytes, const std::string& name, Channels channels)
{
  if (bytes.starts_with("\x89PNG"))
    return to_planes(decode_png(bytes, name), channels);
  if (bytes.starts_with("\xff\xd8"))
    return to_planes(decode_jpeg(bytes, name), channels);
  if (bytes.starts_with("P5") || bytes.starts_with("P6"))
    return to_planes(decode_pnm(bytes, name), channels);
  throw bad_file(name, "is not a picture that can be read: PNG, JPEG, binary PGM or PPM are wanted");
}

Tensor read_image(const std::string& path, Channels channels)
{
  return decode_image(read_file(path, file_limit), path, channels);
}

std::string to_png(const Tensor& image)
{
  if (image.dtype != DType::u8 || image.dims.size() != 3 || (image.dims[0] != 1 && image.dims[0] != 3) ||
      image.dims[1] < 1 || image.dims[2] < 1)
    throw InternalError("to_png: u8 [1,H,W] or [3,H,W] is wanted");
  int64_t channels = image.dims[0], height = image.dims[1], width = image.dims[2], count = height * width;
  if (width > pixel_limit / height)
    throw Error(
        {}, fmt::format("a picture of {} x {} pixels cannot be written: {} are the most", width, height, pixel_limit));
  std::vector<uint8_t> pixels(static_cast<size_t>(count * channels));
  for (int64_t i = 0; i < count; ++i)
    for (int64_t c = 0; c < channels; ++c)
      pixels[static_cast<size_t>(i * channels + c)] = image.data<uint8_t>()[c * count + i];
  PngImage png;
  png.image.width = static_cast<uint32_t>(width);
  png.image.height = static_cast<uint32_t>(height);
  png.image.format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png.image);
  std::string bytes(size, '\0');
  if (!png_image_write_to_memory(&png.image, bytes.data(), &size, 0, pixels.data(), 0, nullptr))
    throw Error({}, fmt::format("cannot make a PNG: {}", png.image.message));
  bytes.resize(size);
  return bytes;
}

void write_png(const std::string& path, const Tensor& image)
{
  write_file_atomically(path, to_png(image));
}

Tensor resize(const Tensor& image, int64_t height, int64_t width)
{
  if (image.dtype != DType::u8 || image.dims.size() != 3 || image.dims[1] < 1 || image.dims[2] < 1 || height < 1 ||
      width < 1)
    throw InternalError("resize: u8 [C,H,W] and a size of at least 1 x 1 are wanted");
  int64_t channels = image.dims[0], old_height = image.dims[1], old_width = image.dims[2];
  std::vector<Taps> rows = taps_of(old_height, height), cols = taps_of(old_width, width);
  Tensor result(DType::u8, {channels, height, width});
  std::vector<int64_t> line(static_cast<size_t>(old_width));
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t y = 0; y < height; ++y) {
      const Taps& row = rows[static_cast<size_t>(y)];
      std::fill(line.begin(), line.end(), 0);
      for (size_t t = 0; t < row.weights.size(); ++t) {
        const uint8_t* in = image.data<uint8_t>() + (c * old_height + row.first + static_cast<int64_t>(t)) * old_width;
        for (size_t x = 0; x < line.size(); ++x)
          line[x] += int64_t{row.weights[t]} * in[x];
      }
      uint8_t* out = result.data<uint8_t>() + (c * height + y) * width;
      for (int64_t x = 0; x < width; ++x) {
        const Taps& col = cols[static_cast<size_t>(x)];
        int64_t sum = int64_t{1} << 31; // half of 2^32, the scale of both axes
        for (size_t t = 0; t < col.weights.size(); ++t)
          sum += col.weights[t] * line[static_cast<size_t>(col.first) + t];
        out[x] = static_cast<uint8_t>(std::clamp<int64_t>(sum >> 32, 0, 255));
      }
    }
  return result;
}

} // namespace cnnc
