#include "runtime/idx.h"

#include "fixture.h"

#include <doctest/doctest.h>
#include <zlib.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

std::string zipped(const std::string& bytes)
{
  z_stream stream = {};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

Tensor pattern(std::vector<int64_t> dims)
{
  Tensor t(DType::u8, std::move(dims));
  for (int64_t i = 0; i < t.size(); ++i)
    t.set(i, static_cast<double>(i * 7 % 251));
  return t;
}

} // namespace

TEST_CASE("idx: plain and gzipped, the round trip")
{
  Folder dir;
  Tensor t = pattern({5, 6, 7});
  for (const std::string& bytes : {to_idx(t), zipped(to_idx(t))}) {
    put(dir / "t", bytes);
    Tensor back = read_idx(dir / "t", 3);
    CHECK(back.dims == t.dims);
    CHECK(back.bytes == t.bytes);
    CHECK(parse_idx(bytes, "t", 3).bytes == t.bytes);
  }
  CHECK(parse_idx(to_idx(pattern({0})), "t", 1).size() == 0);
  CHECK(exit_code_of([&] { read_idx(dir / "none", 3); }) == 3);
}

TEST_CASE("idx: much data behind few gzip bytes is no mistake")
{
  Tensor t(DType::u8, {1000, 1000});
  std::string bytes = zipped(to_idx(t));
  CHECK(bytes.size() < 2000);
  CHECK(parse_idx(bytes, "t", 2).bytes == t.bytes);
}

TEST_CASE("idx: files that lie are refused before anything is allocated")
{
  auto header = [](int type, const std::vector<uint32_t>& dims) {
    std::string bytes = {'\0', '\0', static_cast<char>(type), static_cast<char>(dims.size())};
    for (uint32_t d : dims)
      for (int shift = 24; shift >= 0; shift -= 8)
        bytes += static_cast<char>(d >> shift & 255);
    return bytes;
  };
  struct Case {
    std::string bytes, expected;
  };
  std::vector<Case> cases = {
      {"", "cut short"},
      {"\x1f\x8b", "cut short"},
      {"abcd1234", "two zero bytes"},
      {header(13, {1}), "idx type 0x0d"},
      {header(8, {1, 1}) + "x", "has 2 dimensions, 1 are wanted"},
      {header(8, {2}) + "x", "cut short"},
      {header(8, {4294967295u}) + "x", "4294967295 bytes of data are announced"},
      {header(8, {1}) + "xy", "something follows"},
      {zipped(header(8, {4294967295u}) + "x"), "are announced"},
      {zipped(header(8, {2}) + "x"), "cut short"},
      {zipped(header(8, {1}) + "xy"), "something follows"},
      {zipped(header(8, {1}) + "x") + "more", "something follows"},
      {std::string("\x1f\x8b\x08\x00", 4) + std::string(40, '\xff'), "damaged"},
  };
  for (const Case& c : cases) {
    std::string error = error_of([&] { parse_idx(c.bytes, "dir/t", 1); });
    CAPTURE(error);
    CAPTURE(c.expected);
    CHECK(error.find(c.expected) != std::string::npos);
    CHECK(error.starts_with("dir/t: "));
  }
  std::string huge = header(8, {4294967295u, 4294967295u, 4294967295u});
  CHECK(error_of([&] { parse_idx(huge, "t", 3); }).find("too large") != std::string::npos);
}

TEST_CASE("idx: cut anywhere it is refused; damaged it never crashes")
{
  std::string plain = to_idx(pattern({3, 4, 5}));
  for (const std::string& bytes : {plain, zipped(plain)}) {
    for (size_t length = 0; length < bytes.size(); ++length) {
      CAPTURE(length);
      CHECK(error_of([&] { parse_idx(bytes.substr(0, length), "t", 3); }) != "");
    }
    Damage result = damage(bytes, 4000, 3, [](const std::string& damaged) { parse_idx(damaged, "t", 3); });
    CHECK(result.refused > 2000);
  }
}
