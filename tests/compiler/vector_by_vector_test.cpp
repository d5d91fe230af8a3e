// Points with more numbers than there are registers: the vectors of a tile run one after the other.
#include "tests/compiler/run_nest.h"

#include "compiler/machine.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

// `numbers` values of each pixel and channel, all of which are alive at once, as in a transform of winograd's.
std::string transform(int numbers, const std::string& schedule)
{
  std::string text =
      fmt::format("nest @k(in %x: f32[n,28,3,20], out %y: f32[n,28,3,{}]) schedule \"{}\" {{\n", numbers, schedule);
  for (int i = 0; i < numbers; ++i)
    text += fmt::format("  registers %t{}: f32[]\n", i);
  text += "  for n in 0..N, c in 0..28, h in 0..3 {\n";
  for (int i = 0; i < numbers; ++i)
    text += fmt::format("    %t{0}[] = %x[n,c,h,{0}] - 2 * %x[n,c,h,{1}]\n", i, (i + 3) % numbers);
  for (int i = 0; i < numbers; ++i)
    text += fmt::format("    %y[n,c,h,{0}] = %t{0}[] + %t{1}[]\n", i, numbers - 1 - i);
  return text + "  }\n}\n";
}

} // namespace

TEST_CASE("vectors of many numbers run one after the other, then the rest of a vector")
{
  const Target target = host_target();
  for (const char* tile : {"tile n, c:8, h lanes c:4", "tile n, h, c:16 lanes c:8", "tile c:28, n, h lanes c:8"}) {
    CAPTURE(tile);
    const std::string many = to_string(scheduled(transform(18, tile), target));
    CHECK(many.find("for c") != many.npos);
    CHECK(many.find("c.block") == many.npos);
    CHECK(worst_difference(many, target, 3, 1) <= 1e-6);
    const std::string few = to_string(scheduled(transform(6, tile), target));
    CHECK(few.find("c.block") != few.npos);
    CHECK(worst_difference(few, target, 3, 1) <= 1e-6);
  }
}
