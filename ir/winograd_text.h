// Texts of the transforms of a convolution with few multiplications, F(m x m, r x r):
//
//   Y = A' [(G g G') * (B' d B)] A      d: a tile of m + r - 1 rows and columns of x,  g: the window,  Y: m x m of y
//
// Winograd, "Arithmetic complexity of computations", 1980; the two-dimensional nesting and the three stages as in Lavin
// and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, sections 4.1 to 4.3. The matrices are those
// of Toom and Cook: polynomials evaluated at 0, 1, -1, 2, -2, 1/2, -1/2 and infinity.
#pragma once

#include "ir/op.h"

namespace cnnc {

using Matrix = std::vector<std::vector<double>>; // rows

struct WinogradMatrices {
  Matrix input;  // B', (m + r - 1) x (m + r - 1)
  Matrix weight; // G, (m + r - 1) x r
  Matrix output; // A', m x (m + r - 1)
};
// m + r - 2 points of the list above: at most 7.
WinogradMatrices winograd_matrices(int64_t m, int64_t r);

// The results of `matrix` applied to `terms`, as texts. Two rows that differ in signs alone are written as the sum and
// the difference of the same two parts, two columns of equal size as one bracket: the machine computes each part once.
std::vector<std::string> product_text(const Matrix& matrix, const std::vector<std::string>& terms);

// Statements for M t M': `from` names t's elements, `to` those of the result, each at `indices`; the columns first, into
// locals, then the rows. `behind` stands behind each sum that the result gets, ranges behind all.
std::string tile_text(const Matrix& matrix, const std::string& indices,
                      const std::function<std::string(size_t, size_t)>& from,
                      const std::function<std::string(size_t, size_t)>& to, const std::string& behind,
                      const std::string& ranges);

AttributeDef winograd_tile_attribute();
AttributeDef winograd_taps_attribute();
CheckDef winograd_check(); // there are points enough

} // namespace cnnc
