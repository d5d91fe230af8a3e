// A' [(G g) * (B' d)] is the convolution of d with g, for every tile.
#include "ir/winograd_text.h"

#include <doctest/doctest.h>

using namespace cnnc;

TEST_CASE("winograd's matrices convolve")
{
  for (const auto& [m, r] : {std::pair{2, 3}, {4, 3}, {6, 3}, {2, 5}, {4, 5}, {2, 7}}) {
    const WinogradMatrices w = winograd_matrices(m, r);
    const auto n = static_cast<size_t>(m + r - 1);
    // Bilinear, so that unit vectors say it all.
    for (size_t d = 0; d < n; ++d)
      for (size_t g = 0; g < static_cast<size_t>(r); ++g)
        for (size_t y = 0; y < static_cast<size_t>(m); ++y) {
          double sum = 0;
          for (size_t k = 0; k < n; ++k)
            sum += w.output[y][k] * w.weight[k][g] * w.input[k][d];
          CHECK(sum == doctest::Approx(d == y + g ? 1.0 : 0.0).epsilon(1e-12));
        }
  }
}

TEST_CASE("rows that differ in signs share their parts")
{
  const std::vector<std::string> d{"d0", "d1", "d2", "d3", "d4", "d5"};
  const std::vector<std::string> rows = product_text(winograd_matrices(4, 3).input, d);
  CHECK(rows[0] == "d4 - 5*d2 + 4*d0");
  CHECK(rows[1] == "(d4 - 4*d2) + (d3 - 4*d1)");
  CHECK(rows[2] == "(d4 - 4*d2) - (d3 - 4*d1)");
  CHECK(rows[5] == "d5 - 5*d3 + 4*d1");
  const std::vector<std::string> sums = product_text(winograd_matrices(4, 3).output, d);
  CHECK(sums[0] == "d0 + (d1 + d2) + (d3 + d4)");
  CHECK(sums[3] == "(d1 - d2) + 8*(d3 - d4) + d5");
}
