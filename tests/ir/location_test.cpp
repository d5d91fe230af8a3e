#include "ir/location.h"
#include "ir/tensor.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace cnnc;

TEST_CASE("an error shows its place, the line with a caret, and its notes")
{
  auto source = std::make_shared<Source>(Source{"net.yaml", "name: x\r\n\tlayers: [y]\nlast\x1b[31m"});
  Error error({source, 2, 3}, "what was found", {{{source, 1, 1}, "the other end"}});
  CHECK(render(error) == "net.yaml:2:3: error: what was found\n"
                         "    2 | \tlayers: [y]\n"
                         "      | \t ^\n"
                         "net.yaml:1:1: note: the other end\n"
                         "    1 | name: x\n"
                         "      | ^");
  CHECK(render({source, 3, 99}, "error", "e") == "net.yaml:3:99: error: e\n"
                                                 "    3 | last?[31m\n"
                                                 "      |          ^");
  CHECK(render({source, 9, 1}, "error", "e") == "net.yaml:9:1: error: e");
  CHECK(render({}, "error", "e") == "error: e");
  CHECK(Location{source, 2, 3} == Location{std::make_shared<Source>(Source{"net.yaml", ""}), 2, 3});
  CHECK_FALSE(Location{source, 2, 3} == Location{source, 2, 4});
}

TEST_CASE("a long line is cut around the caret")
{
  auto source = std::make_shared<Source>(Source{"a", std::string(300, 'x') + "HERE" + std::string(300, 'y')});
  std::string text = render({source, 1, 301}, "error", "e");
  CHECK(text == "a:1:301: error: e\n    1 | ..." + std::string(50, 'x') + "HERE" + std::string(46, 'y') +
                    "...\n      | " + std::string(53, ' ') + "^");
}

TEST_CASE("the nearest name, or none that is near enough")
{
  CHECK(nearest("hh", {"h", "weight"}) == "h");
  CHECK(nearest("max_pol2d", {"avg_pool2d", "max_pool2d"}) == "max_pool2d");
  CHECK(nearest("paddding", {"kernel", "padding"}) == "padding");
  CHECK(nearest("q", {"h", "w"}) == "");
  CHECK(nearest("zebra", {"kernel", "padding"}) == "");
}

TEST_CASE("tensors round to nearest even, saturate, and refuse sizes that overflow")
{
  Tensor t(DType::bf16, {2});
  t.set(0, 1 + 0x1p-8); // a tie between 1 and 1 + 2^-7
  CHECK(t.get(0) == 1);
  t.set(0, 1 + 0x1p-8 + 0x1p-40); // no tie, but it would be one after rounding to f32
  CHECK(t.get(0) == 1 + 0x1p-7);
  t.set(0, -std::numeric_limits<double>::infinity());
  CHECK(t.get(0) == -std::numeric_limits<double>::infinity());
  t.set(1, std::nan(""));
  CHECK(std::isnan(t.get(1)));
  Tensor i(DType::i8, {3});
  i.set(0, 2.5);
  i.set(1, 1000);
  i.set(2, std::nan(""));
  CHECK(i.get(0) == 2);
  CHECK(i.get(1) == 127);
  CHECK(i.get(2) == 0);
  Tensor l(DType::i64, {1});
  l.set(0, 1e30);
  CHECK(l.data<int64_t>()[0] == INT64_MAX);
  CHECK_THROWS_AS(Tensor(DType::f32, {int64_t{1} << 30, int64_t{1} << 30}), Error);
  CHECK_THROWS_AS(Tensor(DType::f32, {-1}), Error);
  CHECK(Tensor(DType::f32, {0, int64_t{1} << 62}).size() == 0);
  Tensor f(DType::f32, {2});
  f.set(1, 3.7);
  CHECK(convert(f, DType::i32).get(1) == 4);
  CHECK(elements({{3}, {2, true}}) == 6);
  CHECK(to_string(TensorType{DType::u8, {{4, true}, {1, true}, {7}}}) == "u8[4*n,n,7]");
}
