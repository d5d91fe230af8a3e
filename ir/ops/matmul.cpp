// y[..., m, o] = sum over k of a[..., m, k] * b[..., k, o]     NumPy's: `...` broadcasts, one dimension is a vector
#include "ir/shape_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  Shape a = op.shape(0), b = op.shape(1);
  auto fail = [&] {
    throw Error({}, fmt::format("{} and {} do not meet", to_string(op.shape(0)), to_string(op.shape(1))));
  };
  if (a.empty() || b.empty())
    throw Error({}, "a scalar is no matrix");
  const bool is_row = a.size() == 1, is_column = b.size() == 1;
  const Dim rows = is_row ? Dim{1, false} : a[a.size() - 2], inner = a.back(), columns = is_column ? Dim{} : b.back();
  if (inner != (is_column ? b[0] : b[b.size() - 2]))
    fail();
  a.resize(a.size() - (is_row ? 1 : 2));
  b.resize(b.size() - (is_column ? 1 : 2));
  const size_t rank = std::max(a.size(), b.size());
  const Texts names = index_names(rank);
  Texts to = names, left, right, range;
  for (size_t d = 0; d < rank; ++d) {
    const Dim of_a = d + a.size() < rank ? Dim{} : a[d + a.size() - rank];
    const Dim of_b = d + b.size() < rank ? Dim{} : b[d + b.size() - rank];
    if (of_a != of_b && of_a != Dim{} && of_b != Dim{})
      fail();
    const Dim extent = of_a == Dim{} ? of_b : of_a;
    range.push_back(fmt::format("{} < {}", names[d], extent_text(extent)));
    if (d + a.size() >= rank)
      left.push_back(of_a == Dim{} ? "0" : names[d]);
    if (d + b.size() >= rank)
      right.push_back(of_b == Dim{} ? "0" : names[d]);
  }
  if (!is_row) {
    to.push_back("m");
    left.push_back("m");
    range.push_back("m < " + extent_text(rows));
  }
  left.push_back("k");
  right.push_back("k");
  if (!is_column) {
    to.push_back("o");
    right.push_back("o");
    range.push_back("o < " + extent_text(columns));
  }
  range.push_back("k < " + extent_text(inner));
  return fmt::format("y[{}] += a[{}] * b[{}] where {}", list(to), list(left), list(right), fmt::join(range, ", "));
}

} // namespace

extern const OpDef op_matmul{
    .name = "matmul",
    .doc = "the product of two matrices, or of stacks of them, as NumPy has it",
    .inputs = {"a[...]", "b[...]"},
    .outputs = {"y"},
    .make_formula = formula,
};

} // namespace cnnc
