// Any part of any layout, against the definition: an element's place is the sum of its axes.
#include "runtime/artefact/network.h"

#include <doctest/doctest.h>

#include <numeric>
#include <vector>

namespace {

struct Layout {
  const char* name;
  std::vector<int64_t> dims;
  std::vector<cnn_axis> axes; // dim, before, divide, modulo, ...: see cnn.h
  int64_t stored;             // elements of the whole
};

cnn_axis axis(int32_t dim, int64_t stride, int64_t divide = 1, int64_t modulo = 0, int64_t before = 0)
{
  cnn_axis a{};
  a.dim = dim;
  a.divide = divide;
  a.modulo = modulo;
  a.before = before;
  a.stride = stride;
  return a;
}

int64_t place(const Layout& layout, int64_t element)
{
  std::vector<int64_t> at(layout.dims.size());
  for (size_t d = layout.dims.size(); d-- > 0;) {
    at[d] = element % layout.dims[d];
    element /= layout.dims[d];
  }
  int64_t sum = 0;
  for (const cnn_axis& a : layout.axes) {
    const int64_t quotient = (at[static_cast<size_t>(a.dim)] + a.before) / a.divide;
    sum += (a.modulo ? quotient % a.modulo : quotient) * a.stride;
  }
  return sum;
}

} // namespace

TEST_CASE("elements: every part of every layout lies where its axes say")
{
  const std::vector<Layout> layouts = {
      {"one number", {}, {}, 1},
      {"row-major", {3, 4, 5}, {axis(0, 20), axis(1, 5), axis(2, 1)}, 60},
      {"column-major", {3, 4}, {axis(0, 1), axis(1, 3)}, 12},
      {"rows with a gap", {3, 4, 5}, {axis(0, 32), axis(1, 8), axis(2, 1)}, 96},
      {"planes with a gap", {3, 4, 5}, {axis(0, 24), axis(1, 5), axis(2, 1)}, 72},
      {"a border", {3, 4, 5}, {axis(0, 42), axis(1, 7, 1, 0, 1), axis(2, 1, 1, 0, 1)}, 126},
      {"a border of planes", {3, 4, 5}, {axis(0, 30), axis(1, 5, 1, 0, 1), axis(2, 1)}, 90},
      {"blocks of 4", {6, 5}, {axis(0, 20, 4), axis(1, 4), axis(0, 1, 1, 4)}, 40},
      {"blocks of 4, inside a row", {5, 6}, {axis(1, 20, 4), axis(0, 4), axis(1, 1, 1, 4)}, 40},
      {"a far row", {2, 70}, {axis(0, 1), axis(1, 3)}, 210},
      {"a far row in blocks", {2, 70}, {axis(1, 16, 8), axis(0, 8), axis(1, 1, 1, 8)}, 144},
      {"ones at the end", {3, 4, 1, 1}, {axis(0, 1), axis(1, 3), axis(2, 7, 1, 0, 1), axis(3, 1)}, 20},
      {"ones in the middle", {3, 1, 4}, {axis(0, 4), axis(2, 1)}, 12},
      {"two axes for one subscript", {3, 4}, {axis(0, 8), axis(1, 1), axis(1, 1)}, 24},
  };
  for (const Layout& layout : layouts) {
    CAPTURE(layout.name);
    const int64_t elements =
        std::accumulate(layout.dims.begin(), layout.dims.end(), int64_t{1}, std::multiplies<int64_t>());
    cnn_tensor tensor{};
    tensor.dtype = CNN_F32;
    tensor.rank = static_cast<int32_t>(layout.dims.size());
    tensor.dims = layout.dims.data();
    tensor.axes = layout.axes.data();
    tensor.axis_count = static_cast<int32_t>(layout.axes.size());
    for (const int64_t offset : {0, 64})
      for (int64_t first = 0; first < elements; ++first)
        for (int64_t count = 0; count <= elements - first; ++count) {
          tensor.offset = offset;
          std::vector<float> block(static_cast<size_t>(offset / 4 + layout.stored), -1), expected = block;
          std::vector<float> values(static_cast<size_t>(count)), back(static_cast<size_t>(count));
          std::iota(values.begin(), values.end(), 1.0f);
          for (int64_t i = 0; i < count; ++i)
            expected[static_cast<size_t>(offset / 4 + place(layout, first + i))] = values[static_cast<size_t>(i)];
          cnn_scatter(&tensor, block.data(), first, count, values.data());
          REQUIRE(block == expected);
          cnn_gather(&tensor, block.data(), first, count, back.data());
          REQUIRE(back == values);
        }
  }
  // Of another size, and with no elements at all.
  const int64_t dims[] = {2, 0}, wide[] = {2, 3};
  const cnn_axis axes[] = {axis(0, 4), axis(1, 1)};
  cnn_tensor tensor{};
  tensor.dtype = CNN_BF16;
  tensor.rank = 2;
  tensor.dims = wide;
  tensor.axes = axes;
  tensor.axis_count = 2;
  std::vector<uint16_t> block(8, 9);
  const std::vector<uint16_t> values = {1, 2, 3, 4, 5};
  cnn_scatter(&tensor, block.data(), 1, 5, values.data());
  CHECK(block == std::vector<uint16_t>{9, 1, 2, 9, 3, 4, 5, 9});
  tensor.dims = dims;
  cnn_gather(&tensor, block.data(), 0, 0, nullptr);
}
