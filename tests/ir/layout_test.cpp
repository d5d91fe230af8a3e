#include "ir/layout.h"

#include "ir/location.h"

#include <doctest/doctest.h>

#include <set>
#include <stdexcept>

using namespace cnnc;

namespace {

const Shape shape{{1, true}, {20}, {5}, {7}};

// Every element's place, over `n` images: all different, all inside what is stored.
void check_places(const Layout& layout, const Shape& shape, int64_t n)
{
  std::vector<int64_t> strides = axis_strides(layout, shape), at(shape.size());
  std::set<int64_t> seen;
  int64_t count = 1;
  for (const Dim& dim : shape)
    count *= dim.at(n);
  for (int64_t e = 0; e < count; ++e) {
    int64_t rest = e;
    for (size_t d = shape.size(); d-- > 0; rest /= shape[d].at(n))
      at[d] = rest % shape[d].at(n);
    int64_t offset = offset_of(layout, strides, at.data());
    CHECK(offset >= 0);
    CHECK(offset < stored_elements(layout, shape) * n);
    CHECK(seen.insert(offset).second);
  }
}

} // namespace

TEST_CASE("a planar layout is row-major")
{
  Layout layout = planar(4);
  CHECK(is_planar(layout));
  CHECK(to_string(layout) == "{0, 1, 2, 3}");
  CHECK(axis_strides(layout, shape) == std::vector<int64_t>{700, 35, 7, 1});
  CHECK(stored_elements(layout, shape) == 700);
  CHECK(stored_elements(planar(0), {}) == 1);
  CHECK_FALSE(has_border(layout));
  CHECK_FALSE(has_pad(layout, shape));
}

TEST_CASE("channels in blocks, with a border and a gap behind the rows")
{
  Layout layout = parse_layout("{0, 1/16, 2+1+2, 3+1+1|4, 1%16}");
  CHECK(to_string(layout) == "{0, 1/16, 2+1+2, 3+1+1|4, 1%16}");
  CHECK(axis_extents(layout, shape) == std::vector<int64_t>{1, 2, 8, 9, 16});
  // 9 columns of 16 channels and 4 elements of gap: 148 a row, 8 rows a block, 2 blocks an image.
  CHECK(axis_strides(layout, shape) == std::vector<int64_t>{2368, 1184, 148, 16, 1});
  CHECK(stored_elements(layout, shape) == 2368);
  CHECK(has_border(layout));
  CHECK(has_pad(layout, shape));
  CHECK(border_before(layout, 2) == 1);
  CHECK(border_after(layout, 2) == 2);
  CHECK(border_before(layout, 1) == 0);
  int64_t at[] = {1, 17, 2, 3};
  CHECK(offset_of(layout, axis_strides(layout, shape), at) == 2368 + 1184 + 3 * 148 + 4 * 16 + 1);
}

TEST_CASE("every element has a place of its own in layouts that verify")
{
  for (const char* text : {"{0, 1, 2, 3}", "{0, 3, 2, 1}", "{0, 1/16, 2+1+1, 3+2+0, 1%16}", "{0, 1/4, 2, 3, 1%4|3}",
                           "{0, 2, 3, 1%32}", "{0, 1/8, 3/2, 2, 3%2, 1%8}", "{0, 1/4, 2, 1/2%2, 3, 1%2}"}) {
    CAPTURE(text);
    Layout layout = parse_layout(text);
    verify(layout, shape);
    check_places(layout, shape, 2);
  }
}

TEST_CASE("layouts in which elements would share a place are refused")
{
  for (const char* text :
       {"{0, 1, 2}", "{0, 1/16, 2, 3}", "{0, 1/16, 2, 3, 1%8}", "{0, 1, 1, 2, 3}", "{0, 2, 3, 1%16}", "{1, 0, 2, 3}",
        "{0+1+1, 1, 2, 3}", "{0, 1/16+1+1, 2, 3, 1%16}", "{0, 1, 2, 4}", "{0|8, 1, 2, 3}", "{0, 1/4, 2, 3, 1/2%4, 1%2}",
        "{0, 1/8, 2, 3, 1/2%4, 1%2}", "{0, 1/4, 2, 3, 1/2%2}", "{0, 2, 3, 1/2%16, 1%2}", "{}"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(verify(parse_layout(text), shape), std::invalid_argument);
  }
}

TEST_CASE("texts that are no layouts are refused")
{
  for (const char* text : {"", "0, 1", "{0, 1", "{0 1}", "{0,}", "{-1}", "{0/0}", "{0%0}", "{0+1}", "{64}", "{0} x",
                           "{99999999999999999999}", "{0|-4}", "{0/2%0}", "{0/1000000000000%1000000000000}"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(parse_layout(text), std::invalid_argument);
  }
}

TEST_CASE("sizes that overflow are errors")
{
  Shape huge{{1, true}, {int64_t{1} << 39}, {1 << 20}};
  CHECK_THROWS_AS(stored_elements(planar(3), huge), Error);
  CHECK_THROWS_AS(verify(planar(3), huge), std::invalid_argument);
}
