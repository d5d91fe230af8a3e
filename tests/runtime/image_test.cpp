#include "runtime/image.h"

#include "runtime/files.h"

#include "fixture.h"

#include <cstdio>
#include <doctest/doctest.h>

#include <jpeglib.h>
#include <png.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

Tensor gradient(int64_t channels, int64_t height, int64_t width)
{
  Tensor t(DType::u8, {channels, height, width});
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x)
        t.set((c * height + y) * width + x, static_cast<double>((c * 90 + y * 5 + x * 3) % 256));
  return t;
}

// By libjpeg's own encoder; `components` 4 makes a CMYK file.
std::string to_jpeg(const Tensor& image, bool progressive, int components)
{
  jpeg_compress_struct info = {};
  jpeg_error_mgr errors = {};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &out, &size);
  int64_t height = image.dims[1], width = image.dims[2];
  info.image_height = static_cast<JDIMENSION>(height);
  info.image_width = static_cast<JDIMENSION>(width);
  info.input_components = components;
  info.in_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  if (progressive)
    jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  std::vector<uint8_t> line(static_cast<size_t>(width * components));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < components; ++c)
        line[static_cast<size_t>(x * components + c)] =
            image.data<uint8_t>()[(std::min(c, image.dims[0] - 1) * height + y) * width + x];
    JSAMPROW row = line.data();
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  std::string bytes(reinterpret_cast<char*>(out), size);
  jpeg_destroy_compress(&info);
  free(out);
  return bytes;
}

double largest_difference(const Tensor& a, const Tensor& b)
{
  REQUIRE(a.dims == b.dims);
  double largest = 0;
  for (int64_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(a.get(i) - b.get(i)));
  return largest;
}

} // namespace

TEST_CASE("png: gray and colour make the round trip")
{
  Folder dir;
  for (int64_t channels : {1, 3}) {
    Tensor image = gradient(channels, 9, 13);
    write_png(dir / "a.png", image);
    Tensor back = read_image(dir / "a.png");
    CHECK(back.dims == image.dims);
    CHECK(back.bytes == image.bytes);
  }
  Tensor gray = decode_image(to_png(gradient(1, 4, 4)), "a", Channels::rgb);
  CHECK(gray.dims == std::vector<int64_t>{3, 4, 4});
  CHECK(gray.get(5) == gray.get(5 + 32));
  Tensor red(DType::u8, {3, 1, 1});
  red.set(0, 255);
  CHECK(decode_image(to_png(red), "a", Channels::gray).get(0) == 76);
}

TEST_CASE("png: sixteen bits and transparency are brought to eight on white")
{
  png_image png = {};
  png.version = PNG_IMAGE_VERSION;
  png.width = 2;
  png.height = 1;
  png.format = PNG_FORMAT_RGBA;
  const uint8_t pixels[] = {10, 20, 30, 255, 10, 20, 30, 0};
  std::string bytes(10000, '\0');
  png_alloc_size_t size = bytes.size();
  REQUIRE(png_image_write_to_memory(&png, bytes.data(), &size, 0, pixels, 0, nullptr));
  Tensor image = decode_image(bytes.substr(0, size), "a", Channels::as_stored);
  REQUIRE(image.dims == std::vector<int64_t>{3, 1, 2});
  CHECK(image.get(0) == 10);
  CHECK(image.get(1) == 255);
  CHECK(image.get(2) == 20);
  CHECK(image.get(5) == 255);

  png.format = PNG_FORMAT_LINEAR_Y;
  const uint16_t light[] = {0, 65535};
  size = bytes.size();
  REQUIRE(png_image_write_to_memory(&png, bytes.data(), &size, 0, light, 0, nullptr));
  image = decode_image(bytes.substr(0, size), "a", Channels::as_stored);
  REQUIRE(image.dims == std::vector<int64_t>{1, 1, 2});
  CHECK(image.get(0) == 0);
  CHECK(image.get(1) == 255);
}

TEST_CASE("jpeg: gray and colour, baseline and progressive")
{
  for (int64_t channels : {1, 3})
    for (bool progressive : {false, true}) {
      Tensor image(DType::u8, {channels, 16, 24});
      for (int64_t i = 0; i < image.size(); ++i)
        image.set(i, static_cast<double>(50 + i / 384 * 60 + i % 24 * 3));
      Tensor back = decode_image(to_jpeg(image, progressive, static_cast<int>(channels)), "a", Channels::as_stored);
      CHECK(largest_difference(image, back) <= 12);
    }
  CHECK(error_of([&] {
          decode_image(to_jpeg(gradient(1, 8, 8), false, 4), "a", Channels::rgb);
        }).find("4 components") != std::string::npos);
}

TEST_CASE("pgm and ppm")
{
  Tensor gray = decode_image(std::string("P5\n# a comment\n2 2 15\n\x00\x05\x0a\x0f", 26), "a", Channels::as_stored);
  REQUIRE(gray.dims == std::vector<int64_t>{1, 2, 2});
  CHECK(gray.get(1) == 85);
  CHECK(gray.get(3) == 255);
  Tensor colour = decode_image("P6 1 1 255 abc", "a", Channels::as_stored);
  REQUIRE(colour.dims == std::vector<int64_t>{3, 1, 1});
  CHECK(colour.get(2) == 'c');
  for (std::string bad : {"P5", "P5 ", "P5 2", "P5 2 2 255", "P5 2 2 255 abc", "P5 0 2 255 ", "P5 -1 2 255 ",
                          "P5 2 2 256 abcd", "P5 99999999999999999999 1 255 ", "P5 67108864 67108864 255 ",
                          "P5 8192 8193 255 ", "P5 1 1 5 z", "P5 #", "P4 1 1 ", "GIF89a", "BM", ""}) {
    CAPTURE(bad);
    CHECK(exit_code_of([&] { decode_image(bad, "a", Channels::gray); }) == 1);
  }
}

TEST_CASE("a picture that is announced larger than the limit is refused")
{
  std::string png = to_png(gradient(1, 2, 2));
  png[16] = '\x00', png[17] = '\x0f', png[20] = '\x00', png[21] = '\x0f'; // IHDR's extents, big-endian
  CHECK(error_of([&] { decode_image(png, "a", Channels::gray); }) != "");
  std::string jpeg = to_jpeg(gradient(1, 8, 8), false, 1);
  size_t frame = jpeg.find("\xff\xc0");
  REQUIRE(frame != std::string::npos);
  for (size_t i : {5, 6, 7, 8})
    jpeg[frame + i] = '\xf0';
  CHECK(error_of([&] { decode_image(jpeg, "a", Channels::gray); }).find("from 1 to") != std::string::npos);
}

TEST_CASE("pictures cut anywhere are refused; damaged they never crash")
{
  // Without the end marker's second byte a JPEG is complete, and a PNG without its last checksum too, as its reader
  // sees it.
  for (const std::string& bytes :
       {to_png(gradient(3, 6, 7)), to_jpeg(gradient(3, 9, 10), false, 3), to_jpeg(gradient(1, 9, 10), true, 1),
        std::string("P6 2 3 255 abcdefghijklmnopqr")}) {
    for (size_t length = 0; length + 16 < bytes.size(); ++length) {
      CAPTURE(length);
      CHECK(error_of([&] { decode_image(bytes.substr(0, length), "t", Channels::rgb); }) != "");
    }
    Damage result =
        damage(bytes, 2000, 4, [](const std::string& damaged) { decode_image(damaged, "t", Channels::rgb); });
    CHECK(result.refused > 500);
  }
}

TEST_CASE("resize: plain areas stay plain, shrinking averages, growing interpolates")
{
  Tensor plain(DType::u8, {2, 10, 7});
  for (int64_t i = 0; i < plain.size(); ++i)
    plain.set(i, i < 70 ? 255 : 13);
  for (int64_t size : {1, 3, 10, 16, 33}) {
    Tensor r = resize(plain, size, size + 2);
    for (int64_t i = 0; i < r.size(); ++i)
      CHECK(r.get(i) == (i < r.size() / 2 ? 255 : 13));
  }
  Tensor four(DType::u8, {1, 2, 2});
  four.set(1, 100);
  four.set(3, 200);
  CHECK(resize(four, 1, 1).get(0) == 75); // the same part of each
  CHECK(resize(four, 2, 2).bytes == four.bytes);
  Tensor wide = resize(four, 2, 4); // centres at -0.25 (clamped), 0.25, 0.75, 1.25 (clamped)
  CHECK(wide.get(0) == 0);
  CHECK(wide.get(1) == 25);
  CHECK(wide.get(2) == 75);
  CHECK(wide.get(3) == 100);
  Tensor six(DType::u8, {1, 1, 3});
  six.set(0, 30), six.set(1, 60), six.set(2, 90);
  Tensor two = resize(six, 1, 2); // centres at 0.75 and 2.25, 1.5 to each side: (5*30 + 3*60) / 8 in twelfths
  CHECK(two.get(0) == 41);
  CHECK(two.get(1) == 79);
}

TEST_CASE("real photos")
{
  std::string photos = std::string(CNNC_SOURCE_DIR) + "/../shared/photos/";
  if (!std::filesystem::exists(photos)) {
    MESSAGE("skipped: no " << photos);
    return;
  }
  Tensor coffee = read_image(photos + "coffee.png");
  CHECK(coffee.dims == std::vector<int64_t>{3, 400, 600});
  Tensor rocket = read_image(photos + "rocket.jpg", Channels::gray);
  CHECK(rocket.dims == std::vector<int64_t>{1, 427, 640});
  CHECK(resize(rocket, 28, 28).dims == std::vector<int64_t>{1, 28, 28});
}
