// Sums that are cut: each part goes over all tiles before the next one, and every sum keeps its order, so that the result
// is the same to the bit. Tails of lanes and pixels, images in the tile, windows, results in place.
#include "passes/check_schedule.h"
#include "tests/compiler/run_nest.h"

#include "compiler/machine.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>

using namespace cnnc;
using namespace cnnc::test;

namespace {

// Sums of 3 x 3 windows over 48 channels, on 5 x 7 pixels.
std::string convolution(const std::string& filters, const std::string& schedule)
{
  return fmt::format(
      R"(nest @k(in %x: f32[n,48,5,7] as {{0, 1/16, 2+1+1, 3+1+1, 1%16}}, in @w: f32[{0},48,3,3] as {{0/8, 1/16, 2, 3, 1%16, 0%8}}, in @b: f32[{0}], in %r: f32[n,{0},5,7], out %y: f32[n,{0},5,7]) schedule "{1}" {{
  registers %acc: f32[]
  for n in 0..N, o in 0..{0}, h in 0..5, w in 0..7 {{
    %acc[] = @b[o]
    for c in 0..48, i in 0..3, j in 0..3 {{
      %acc[] += %x[n,c,h + i - 1,w + j - 1] * @w[o,c,i,j]
    }}
    %y[n,o,h,w] = %acc[] + %r[n,o,h,w]
  }}
}})",
      filters, schedule);
}

bool are_same(const std::vector<Tensor>& a, const std::vector<Tensor>& b)
{
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Tensor& x, const Tensor& y) { return x.bytes == y.bytes; });
}

} // namespace

TEST_CASE("a sum that is cut is the same to the bit")
{
  const Target target = host_target();
  const std::string tiles[] = {"tile o:8, n, h, w:3",   "tile n, o:16, h:2, w:4", "tile o:8, n:3, h, w:7",
                               "tile h, w:2, o:8, n:2", "tile n, o:2, h, w:2",    "prefetch tile o:16, n:2, h:3, w"};
  const std::string sums[][2] = {
      {"c:16", "c:16, i, j"}, {"c", "c, i, j:3"}, {"i", "i, j, c:4"}, {"c:16, n:6", "c:8, i, j"}};
  int64_t number = 0;
  for (const std::string& tile : tiles)
    for (const auto& [cut, steps] : sums) {
      const bool has_groups = cut.find(", n") != cut.npos;
      if (has_groups && (tile.find("o:") > tile.find("n") || tile.find("o:2,") != tile.npos))
        continue; // images come first
      const std::string lanes = tile.find("o:2,") != tile.npos ? "" : number % 2 ? " lanes o:4" : " lanes o:8";
      const std::string text = fmt::format("{} cut {} reduce {}{}", tile, cut, steps, lanes);
      const std::string filters = number++ % 3 ? "24" : "20";
      CAPTURE(text);
      CAPTURE(filters);
      CHECK_NOTHROW(check_schedule(parse(convolution(filters, "")), text, target, {}));
      const Nest parts = scheduled(convolution(filters, text), target);
      CHECK(to_string(parts).find(".cut in 0..") != std::string::npos);
      const Nest whole = scheduled(convolution(filters, fmt::format("{} reduce {}{}", tile, steps, lanes)), target);
      const std::vector<Tensor> arguments = random_arguments(whole, 9, 7);
      CHECK(are_same(run_compiled(whole, target, arguments, 9, true, 1).tensors,
                     run_compiled(parts, target, arguments, 9, true, 1).tensors));
      CHECK(worst_difference(to_string(parts), target, 3, 1) <= 1e-5);
    }
}

TEST_CASE("a sum that cannot be cut says why")
{
  const Target target = host_target();
  const Nest nest = parse(convolution("24", ""));
  const std::vector<std::pair<std::string, std::string>> table{
      {"tile o:8, n, h, w:3 cut q:16 reduce c:16, i, j lanes o:4", "the sum has no such index"},
      {"tile o:8, n, h, w:3 cut o:8 reduce c:16, i, j lanes o:4", "the sum has no such index"},
      {"tile o:8, n, h, w:3 cut c:20 reduce c:4, i, j lanes o:4", "cannot be divided into parts of 20"},
      {"tile o:8, n, h, w:3 cut c:8 reduce c:16, i, j lanes o:4", "no multiple of the 16 steps written out"},
      {"tile o, n, h, w:3 cut c:16 reduce c:4, i, j lanes c:4", "the index is in the lanes"},
      {"tile n, o:8, h, w:3 cut c:16, n:4 reduce c:4, i, j lanes o:4",
       "the loop over 'n' is not behind the lanes' one"},
      {"tile o:8, n:3, h, w:3 cut c:16, n:4 reduce c:4, i, j lanes o:4",
       "groups of 4 images are no multiple of tiles of 3"},
      {"tile o:8, n, h, w:3 cut c:16, h:4 reduce c:4, i, j lanes o:4", "only the images' index can stand"},
      {"tile o:8, n, h, w:3 cut c:16, n:4, h reduce c:4, i, j lanes o:4", "only the images' index can stand"},
      {"tile o:8, n, h, w:3 cut c:0 reduce c:4, i, j lanes o:4", "wants a size"},
  };
  for (const auto& [text, message] : table) {
    CAPTURE(text);
    std::string what;
    try {
      check_schedule(nest, text, target, {});
    } catch (const Error& error) {
      what = error.what();
    }
    CAPTURE(what);
    CHECK(what.find(message) != std::string::npos);
  }
}
