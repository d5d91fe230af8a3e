#include "runtime/safetensors.h"

#include "runtime/half.h"

#include "fixture.h"

#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

std::string file_of(const std::string& header, const std::string& data)
{
  uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

Tensor counting(DType dtype, std::vector<int64_t> dims)
{
  Tensor t(dtype, std::move(dims));
  for (int64_t i = 0; i < t.size(); ++i)
    t.set(i, static_cast<double>(i % 100));
  return t;
}

// The error for a file of these bytes; "" where it is read.
std::string reading(const Folder& dir, const std::string& bytes)
{
  put(dir / "x", bytes);
  return error_of([&] { read_safetensors(dir / "x"); });
}

} // namespace

TEST_CASE("safetensors: every element type makes the round trip")
{
  Folder dir;
  std::map<std::string, Tensor> tensors;
  for (DType dtype :
       {DType::f32, DType::f64, DType::bf16, DType::i8, DType::u8, DType::i32, DType::i64, DType::boolean})
    tensors[std::string(to_string(dtype)) + " \"\\ü"] = counting(dtype, {3, 1, 5});
  tensors["scalar"] = counting(DType::f32, {});
  tensors["nothing"] = counting(DType::f32, {4, 0});
  std::vector<std::pair<std::string, const Tensor*>> list;
  for (const auto& [name, tensor] : tensors)
    list.emplace_back(name, &tensor);
  write_safetensors(dir / "t", list, {{"epoch", "3"}});

  SafetensorsFile file(dir / "t");
  CHECK(file.metadata() == Metadata{{"epoch", "3"}});
  CHECK(file.entries().size() == tensors.size());
  auto read = read_safetensors(dir / "t");
  REQUIRE(read.size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    CAPTURE(name);
    REQUIRE(read.contains(name));
    CHECK(read[name].dtype == tensor.dtype);
    CHECK(read[name].dims == tensor.dims);
    CHECK(read[name].bytes == tensor.bytes);
  }
  for (const auto& entry : file.entries())
    CHECK(entry.begin % bytes_of(*entry.dtype) == 0);
  CHECK(file.find("none") == nullptr);
}

TEST_CASE("safetensors: a half is converted exactly")
{
  CHECK(half_to_float(0x3c00) == 1.0f);
  CHECK(half_to_float(0xc000) == -2.0f);
  CHECK(half_to_float(0x0001) == 0x1p-24f);
  CHECK(half_to_float(0x83ff) == -1023 * 0x1p-24f);
  CHECK(half_to_float(0x0400) == 0x1p-14f);
  CHECK(half_to_float(0x7bff) == 65504.0f);
  CHECK(std::isinf(half_to_float(0x7c00)));
  CHECK(std::isnan(half_to_float(0x7e00)));
  CHECK(std::signbit(half_to_float(0x8000)));

  Folder dir;
  put(dir / "h",
      file_of(R"({"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", std::string("\x00\x3c\x00\xc0", 4)));
  Tensor h = read_safetensors(dir / "h").at("h");
  CHECK(h.dtype == DType::f32);
  CHECK(h.get(0) == 1);
  CHECK(h.get(1) == -2);
}

TEST_CASE("safetensors: a tensor of a type that is not supported disturbs only who asks for it")
{
  Folder dir;
  put(dir / "x", file_of(R"({"a":{"dtype":"U16","shape":[1],"data_offsets":[0,2]},
                             "b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                         "\1\2\3"));
  SafetensorsFile file(dir / "x");
  CHECK(file.read(*file.find("b")).get(0) == 3);
  CHECK(error_of([&] { file.read(*file.find("a")); }).find("U16 is not supported") != std::string::npos);
}

TEST_CASE("safetensors: files that lie are refused, with the reason")
{
  Folder dir;
  auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return fmt::format(R"({{"a":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape, offsets);
  };
  struct Case {
    std::string bytes, expected;
  };
  std::string four(4, '\0');
  std::string good = one("F32", "[1]", "[0,4]");
  CHECK(reading(dir, file_of(good, four)) == "");
  CHECK(reading(dir, file_of(good + "   ", four)) == "");
  CHECK(reading(dir, file_of("{}", "")) == "");
  std::vector<Case> cases = {
      {"", "too few"},
      {"1234567", "too few"},
      {std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10), "is announced"},
      {std::string("\x03\0\0\0\0\0\0\0{}", 10), "is announced"},
      {file_of("", ""), "not JSON"},
      {file_of("[]", ""), "it is a list"},
      {file_of("17", ""), "must be an object"},
      {file_of("{}x", ""), "not JSON"},
      {file_of("{\"a\":", ""), "not JSON"},
      {file_of("{\"a\":1}", ""), "is not expected"},
      {file_of("{\"\xff\":{}}", ""), "not JSON"},
      {file_of(std::string(100000, '['), ""), "is"},
      {file_of("{\"a\":" + std::string(100000, '{'), ""), "not JSON"},
      {file_of(R"({"a":{"dtype":"F32","shape":)" + std::string(100000, '[') + "}}", ""), "list is not expected"},
      {file_of(R"({"a":{}})", ""), "needs dtype"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1]}})", four), "needs dtype"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", four), "unknown key 'x'"},
      {file_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four), "occurs twice"},
      {file_of(good.substr(0, good.size() - 1) + "," + good.substr(1), four), "occurs twice"},
      {file_of(one("F33", "[1]", "[0,4]"), four), "unknown dtype"},
      {file_of(one("F32", "[1]", "[0,8]"), four), "not within"},
      {file_of(one("F32", "[1]", "[4,0]"), four), "not within"},
      {file_of(one("F32", "[2]", "[0,4]"), four), "takes 8 bytes"},
      {file_of(one("F32", "[1]", "[0]"), four), "two numbers"},
      {file_of(one("F32", "[1]", "[0,4,4]"), four), "two numbers"},
      {file_of(one("F32", "[-1]", "[0,4]"), four), "-1"},
      {file_of(one("F32", "[1.5]", "[0,4]"), four), "1.5"},
      {file_of(one("F32", "[1e400]", "[0,4]"), four), "not JSON"},
      {file_of(one("F32", "[18446744073709551615]", "[0,4]"), four), "too large"},
      {file_of(one("F32", "[99999999999999999999999]", "[0,4]"), four), "not expected"},
      {file_of(one("F32", "[4294967296,4294967296]", "[0,0]"), ""), "too large"},
      {file_of(one("F32", "[4611686018427387905]", "[0,4]"), four), "too large"},
      {file_of(one("F32", "[0,4294967296,4294967296,4294967296]", "[0,0]"), ""), ""},
      {file_of(one("F32", "[9223372036854775807,0]", "[0,0]"), ""), "too large"},
      {file_of(one("F32", "[[1]]", "[0,4]"), four), "list is not expected"},
      {file_of(one("F32", "[\"1\"]", "[0,4]"), four), "not expected"},
      {file_of(one("F32", "null", "[0,4]"), four), "null"},
      {file_of(good, four + "x"), "follow the last"},
      {file_of(good, "xxx"), "not within"},
      {file_of(one("U8", "[3]", "[1,4]"), four), "starts at byte 1"},
      {file_of(
           R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
           four),
       "starts at byte 2"},
      {file_of(
           R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
           four),
       "starts at byte 0"},
      {file_of(R"({"__metadata__":{"a":1}})", ""), "not expected"},
      {file_of(R"({"__metadata__":{"a":"1","a":"2"}})", ""), "occurs twice"},
      {file_of(R"({"__metadata__":[]})", ""), "not expected"},
      {file_of(one("BOOL", "[1]", "[0,1]"), "\2"), "neither 0 nor 1"},
  };
  for (const Case& c : cases) {
    std::string error = reading(dir, c.bytes);
    CAPTURE(c.bytes.substr(0, 200));
    CAPTURE(error);
    if (c.expected.empty()) {
      CHECK(error.empty());
      continue;
    }
    CHECK(error.find(c.expected) != std::string::npos);
    CHECK(error.find(dir / "x") != std::string::npos);
    CHECK(exit_code_of([&] { read_safetensors(dir / "x"); }) == 1);
  }
  CHECK(exit_code_of([&] { read_safetensors(dir / "none"); }) == 3);
}

TEST_CASE("safetensors: names in messages carry no control characters")
{
  Folder dir;
  std::string error = reading(dir, file_of("{\"\\u001b[31m\":{}}", ""));
  CHECK(error.find('\x1b') == std::string::npos);
  CHECK(error.find("?[31m") != std::string::npos);
}

TEST_CASE("safetensors: cut anywhere it is refused; damaged it never crashes")
{
  Folder dir;
  Tensor a = counting(DType::f32, {2, 3}), b = counting(DType::u8, {5});
  write_safetensors(dir / "t", {{"first.weight", &a}, {"second", &b}}, {{"k", "v"}});
  std::string bytes = get(dir / "t");
  for (size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    CHECK(reading(dir, bytes.substr(0, length)) != "");
  }
  Damage result = damage(bytes, 4000, 1, [&](const std::string& damaged) {
    put(dir / "x", damaged);
    read_safetensors(dir / "x");
  });
  CHECK(result.accepted > 0);
  CHECK(result.refused > 2000);
}

TEST_CASE("safetensors: two tensors of one name, or a name that is not UTF-8, are not written")
{
  Folder dir;
  Tensor t = counting(DType::f32, {1});
  CHECK(exit_code_of([&] { write_safetensors(dir / "t", {{"a", &t}, {"a", &t}}); }) == 1);
  CHECK(exit_code_of([&] { write_safetensors(dir / "t", {{"\xff", &t}}); }) == 1);
  CHECK(dir.files().empty());
}
