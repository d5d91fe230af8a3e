#include "ir/winograd_text.h"

#include <fmt/format.h>

#include <cmath>

namespace cnnc {

namespace {

constexpr double points[] = {0, 1, -1, 2, -2, 0.5, -0.5};

// Coefficients of the product of (x - a) over all points but one (`without`), the lowest first.
std::vector<double> polynomial(size_t count, size_t without)
{
  std::vector<double> p{1};
  for (size_t k = 0; k < count; ++k) {
    if (k == without)
      continue;
    std::vector<double> next(p.size() + 1);
    for (size_t i = 0; i < p.size(); ++i) {
      next[i + 1] += p[i];
      next[i] -= points[k] * p[i];
    }
    p = std::move(next);
  }
  return p;
}

// "a + 2*(b - c) - 3*d"; coefficients of 0 are left out.
class Sum {
public:
  void add(double factor, const std::string& term)
  {
    if (factor == 0)
      return;
    const double size = std::abs(factor);
    text += text.empty() ? (factor < 0 ? "-" : "") : factor < 0 ? " - " : " + ";
    text += size == 1 ? term : fmt::format("{}*{}", size, term);
  }
  std::string text;
};

std::string row_text(const std::vector<double>& row, const std::vector<std::string>& terms)
{
  Sum sum;
  for (size_t k = 0; k < row.size(); ++k) {
    // Points come in pairs behind the first: a, -a.
    const bool pairs = k % 2 == 1 && k + 1 < row.size() && row[k] != 0 && std::abs(row[k]) == std::abs(row[k + 1]);
    if (!pairs) {
      sum.add(row[k], terms[k]);
      continue;
    }
    sum.add(row[k], fmt::format("({} {} {})", terms[k], row[k] == row[k + 1] ? "+" : "-", terms[k + 1]));
    ++k;
  }
  return sum.text;
}

// What the rows have in common, and what they have with opposite signs.
bool split(const std::vector<double>& a, const std::vector<double>& b, std::vector<double>& same,
           std::vector<double>& opposite)
{
  same.assign(a.size(), 0);
  opposite.assign(a.size(), 0);
  bool has_same = false, has_opposite = false;
  for (size_t k = 0; k < a.size(); ++k) {
    if (std::abs(a[k]) != std::abs(b[k]))
      return false;
    (a[k] == b[k] ? same : opposite)[k] = a[k];
    has_same = has_same || (a[k] == b[k] && a[k] != 0);
    has_opposite = has_opposite || a[k] != b[k];
  }
  return has_same && has_opposite;
}

std::string plain_text(const std::vector<double>& row, const std::vector<std::string>& terms)
{
  // The largest first: its product is what the others are added to.
  Sum sum;
  for (size_t k = row.size(); k-- > 0;)
    sum.add(row[k], terms[k]);
  return sum.text;
}

} // namespace

WinogradMatrices winograd_matrices(int64_t m, int64_t r)
{
  const auto n = static_cast<size_t>(m + r - 1), finite = n - 1;
  WinogradMatrices result;
  result.input.assign(n, std::vector<double>(n));
  result.weight.assign(n, std::vector<double>(static_cast<size_t>(r)));
  result.output.assign(static_cast<size_t>(m), std::vector<double>(n));
  for (size_t k = 0; k < finite; ++k) {
    double scale = 1;
    for (size_t other = 0; other < finite; ++other)
      scale *= other == k ? 1 : points[k] - points[other];
    const std::vector<double> p = polynomial(finite, k);
    std::copy(p.begin(), p.end(), result.input[k].begin());
    double power = 1;
    for (size_t i = 0; i < static_cast<size_t>(std::max(m, r)); ++i, power *= points[k]) {
      if (i < static_cast<size_t>(r))
        result.weight[k][i] = power / scale;
      if (i < static_cast<size_t>(m))
        result.output[i][k] = power;
    }
  }
  result.input[finite] = polynomial(finite, finite);
  result.weight[finite].back() = 1;
  result.output.back()[finite] = 1;
  return result;
}

std::vector<std::string> product_text(const Matrix& matrix, const std::vector<std::string>& terms)
{
  std::vector<std::string> result;
  for (size_t r = 0; r < matrix.size(); ++r) {
    std::vector<double> same, opposite;
    if (matrix.size() < terms.size() || r + 1 == matrix.size() || !split(matrix[r], matrix[r + 1], same, opposite)) {
      result.push_back(matrix.size() < terms.size() ? row_text(matrix[r], terms) : plain_text(matrix[r], terms));
      continue;
    }
    const std::string a = plain_text(same, terms), b = plain_text(opposite, terms);
    result.push_back(fmt::format("({}) + ({})", a, b));
    result.push_back(fmt::format("({}) - ({})", a, b));
    ++r;
  }
  return result;
}

std::string tile_text(const Matrix& matrix, const std::string& indices,
                      const std::function<std::string(size_t, size_t)>& from,
                      const std::function<std::string(size_t, size_t)>& to, const std::string& behind,
                      const std::string& ranges)
{
  const size_t size = matrix[0].size();
  std::string text;
  for (size_t j = 0; j < size; ++j) {
    std::vector<std::string> column;
    for (size_t i = 0; i < size; ++i)
      column.push_back(from(i, j));
    const std::vector<std::string> made = product_text(matrix, column);
    for (size_t a = 0; a < made.size(); ++a)
      text += fmt::format("t{}{}[{}] = {}{}\n", a, j, indices, made[a], ranges);
  }
  for (size_t a = 0; a < matrix.size(); ++a) {
    std::vector<std::string> row;
    for (size_t j = 0; j < size; ++j)
      row.push_back(fmt::format("t{}{}[{}]", a, j, indices));
    const std::vector<std::string> made = product_text(matrix, row);
    for (size_t b = 0; b < made.size(); ++b)
      text += fmt::format("{} = {}{}{}\n", to(a, b), made[b], behind, ranges);
  }
  return text;
}

AttributeDef winograd_tile_attribute()
{
  return {.name = "tile",
          .default_value = int64_t{4},
          .minimum = 2,
          .maximum = 6,
          .doc = "rows and columns of y that one tile makes: 2, 4 or 6"};
}

AttributeDef winograd_taps_attribute()
{
  return {
      .name = "taps", .default_value = int64_t{3}, .minimum = 2, .maximum = 7, .doc = "rows and columns of the window"};
}

CheckDef winograd_check()
{
  return {"tile + taps < 10", "tiles of {tile} and windows of {taps} want more than 7 points"};
}

} // namespace cnnc
