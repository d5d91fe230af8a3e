#include "runtime/npy.h"

#include "runtime/files.h"

#include "fixture.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

std::string file_of(const std::string& header, const std::string& data, int major = 1)
{
  std::string bytes = "\x93NUMPY";
  bytes += static_cast<char>(major);
  bytes += '\0';
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i)
    bytes += static_cast<char>(header.size() >> (8 * i) & 255);
  return bytes + header + data;
}

std::string dictionary(const std::string& descr, const std::string& shape, const std::string& fortran = "False")
{
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

} // namespace

TEST_CASE("npy: every element type makes the round trip")
{
  Folder dir;
  for (DType dtype :
       {DType::f32, DType::f64, DType::bf16, DType::i8, DType::u8, DType::i32, DType::i64, DType::boolean})
    for (const std::vector<int64_t>& dims : {std::vector<int64_t>{}, {7}, {2, 3, 4}, {3, 0, 2}}) {
      CAPTURE(to_string(dtype));
      Tensor t(dtype, dims);
      for (int64_t i = 0; i < t.size(); ++i)
        t.set(i, static_cast<double>(i * 3 % 17));
      write_npy(dir / "t.npy", t);
      Tensor back = read_npy(dir / "t.npy");
      CHECK(back.dtype == (dtype == DType::bf16 ? DType::f32 : dtype));
      CHECK(back.dims == dims);
      CHECK(back.bytes == (dtype == DType::bf16 ? convert(t, DType::f32) : t).bytes);
    }
}

TEST_CASE("npy: what NumPy 1.24 writes")
{
  // np.save(f, np.array([[1, 2, 3], [4, 5, 6]], dtype='<i4', order='F')), header padded to 64 bytes
  std::string header = dictionary("<i4", "(2, 3)", "True");
  header.resize(128 - 10 - 1, ' ');
  std::string data;
  for (int32_t v : {1, 4, 2, 5, 3, 6})
    data.append(reinterpret_cast<const char*>(&v), sizeof v);
  Tensor t = parse_npy(file_of(header + "\n", data), "t.npy");
  CHECK(t.dims == std::vector<int64_t>{2, 3});
  for (int i = 0; i < 6; ++i)
    CHECK(t.get(i) == i + 1);
}

TEST_CASE("npy: Fortran order of a three-dimensional array, versions 2 and 3, other spellings")
{
  Tensor expected(DType::u8, {2, 3, 4});
  std::string columns(24, '\0');
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k) {
        expected.set((i * 3 + j) * 4 + k, i * 100 + j * 10 + k);
        columns[static_cast<size_t>(i + 2 * (j + 3 * k))] = static_cast<char>(i * 100 + j * 10 + k);
      }
  for (int major : {1, 2, 3})
    CHECK(parse_npy(file_of(dictionary("|u1", "(2, 3, 4)", "True"), columns, major), "t").bytes == expected.bytes);
  CHECK(parse_npy(file_of("{\"shape\":(1L,),\"fortran_order\":False,\"descr\":\"u1\"}", "x"), "t").get(0) == 'x');
  Tensor half = parse_npy(file_of(dictionary("<f2", "(2,)"), std::string("\x00\x3c\x00\xc0", 4)), "t");
  CHECK(half.dtype == DType::f32);
  CHECK(half.get(1) == -2);
}

TEST_CASE("npy: files that lie are refused, with the reason")
{
  struct Case {
    std::string bytes, expected;
  };
  std::vector<Case> cases = {
      {"", "does not start"},
      {"\x93NUMPY", "cut short"},
      {std::string("\x93NUMPY\x02\0\0\0", 10), "cut short"},
      {std::string("\x93NUMPY\x04\0\0\0", 10), "version 4"},
      {std::string("\x93NUMPY\x01\0\xff\xff{}", 12), "65535 bytes, 2 follow"},
      {std::string("\x93NUMPY\x02\0\xff\xff\xff\xff{}", 14), "4294967295 bytes, 2 follow"},
      {file_of(std::string(70000, ' '), "", 2), "at most"},
      {file_of("", ""), "'{' expected"},
      {file_of("{}", ""), "needs descr"},
      {file_of("{'descr': '<f4'", ""), "'}' expected"},
      {file_of("{'descr': '<f4', 'descr': '<f4'}", ""), "repeated key"},
      {file_of("{'x': '<f4'}", ""), "unknown or repeated key 'x'"},
      {file_of("{'descr': [('a', '<f4')]}", ""), "records"},
      {file_of(dictionary("<f4", "(1,)") + "x", "1234"), "follows the dictionary"},
      {file_of(dictionary(">f4", "(1,)"), "1234"), "little-endian"},
      {file_of(dictionary("<c8", "(1,)"), "12345678"), "'<c8' elements"},
      {file_of(dictionary("|O", "(1,)"), "12345678"), "'|O' elements"},
      {file_of(dictionary("<f4", "(1,)", "Maybe"), "1234"), "True or False"},
      {file_of(dictionary("<f4", "(-1,)"), "1234"), "a dimension expected"},
      {file_of(dictionary("<f4", "(99999999999999999999,)"), "1234"), "too large"},
      {file_of(dictionary("<f4", "(1099511627776, 1099511627776)"), ""), "too large"},
      {file_of(dictionary("<f4", "(2,)"), "1234"), "has 8 bytes, 4 follow"},
      {file_of(dictionary("<f4", "(1,)"), "12345"), "has 4 bytes, 5 follow"},
      {file_of(dictionary("|b1", "(1,)"), "\2"), "neither 0 nor 1"},
      {file_of(dictionary("<f4", "(" + std::string(200, '1') + ")"), ""), "too large"},
      {file_of(dictionary("<f4", "((((((1"), ""), "a dimension expected"},
  };
  for (const Case& c : cases) {
    std::string error = error_of([&] { parse_npy(c.bytes, "dir/x.npy"); });
    CAPTURE(c.bytes.substr(0, 200));
    CAPTURE(error);
    CHECK(error.find(c.expected) != std::string::npos);
    CHECK(error.starts_with("dir/x.npy: "));
  }
  CHECK(exit_code_of([&] { read_npy("/nonexistent/x.npy"); }) == 3);
}

TEST_CASE("npy: cut anywhere it is refused; damaged it never crashes")
{
  Tensor t(DType::f32, {2, 3});
  std::string bytes = to_npy(t);
  for (size_t length = 0; length < bytes.size(); ++length)
    CHECK(error_of([&] { parse_npy(bytes.substr(0, length), "t"); }) != "");
  std::string fortran = file_of(dictionary("<f8", "(2, 3, 2)", "True"), std::string(96, '\1'));
  for (const std::string& start : {bytes, fortran}) {
    Damage result = damage(start, 4000, 2, [](const std::string& damaged) { parse_npy(damaged, "t"); });
    CHECK(result.accepted > 0);
    CHECK(result.refused > 2000);
  }
}
