// y[m,o] = alpha * sum over k of a[m,k] * b[k,o] + beta * c[m,o]     trans_a: a[k,m], trans_b: b[o,k]; c broadcasts
#include "ir/shape_text.h"

#include <fmt/format.h>

#include <cmath>

namespace cnnc {

namespace {

// An integer where it is one: then it fits every type.
std::string factor(double value)
{
  if (value == 1)
    return "";
  return std::abs(value) < 0x1p53 && value == std::floor(value) ? fmt::format("{}*", static_cast<int64_t>(value))
                                                                : fmt::format("({})*", value);
}

std::string formula(const OpCall& op)
{
  const bool trans_a = op.integer("trans_a") != 0, trans_b = op.integer("trans_b") != 0;
  const Shape &a = op.shape(0), &b = op.shape(1);
  const Dim rows = a[trans_a ? 1 : 0], inner = a[trans_a ? 0 : 1], columns = b[trans_b ? 0 : 1];
  if (inner != b[trans_b ? 1 : 0])
    throw Error({}, fmt::format("{} and {} do not meet", to_string(a), to_string(b)));
  const double alpha = op.real("alpha"), beta = op.real("beta");
  const std::string range = fmt::format("m < {}, o < {}", extent_text(rows), extent_text(columns));
  const std::string product = fmt::format(" += a[{}] * b[{}] where {}, k < {}", trans_a ? "k,m" : "m,k",
                                          trans_b ? "o,k" : "k,o", range, extent_text(inner));
  std::string added;
  if (op.has(2) && beta != 0) {
    const Shape& c = op.shape(2);
    const Dim extents[] = {rows, columns};
    const char* names[] = {"m", "o"};
    Texts at;
    if (c.size() > 2)
      throw Error({}, fmt::format("c is {}, of more than two dimensions", to_string(c)));
    for (size_t d = 0; d < c.size(); ++d) {
      const size_t of = d + 2 - c.size();
      if (c[d] != extents[of] && c[d] != Dim{})
        throw Error(
            {}, fmt::format("c is {}, which does not broadcast to {}", to_string(c), to_string(Shape{rows, columns})));
      at.push_back(c[d] == Dim{} ? "0" : names[of]);
    }
    added = fmt::format("{}c[{}]", factor(beta), list(at));
  }
  if (alpha != 1)
    return fmt::format("product: {}[{}]\n"
                       "product[m,o]{}\n"
                       "y[m,o] = {}product[m,o]{} where {}",
                       to_string(op.inputs[0].type->dtype), extents({rows, columns}), product, factor(alpha),
                       added.empty() ? "" : " + " + added, range);
  return (added.empty() ? "" : fmt::format("y[m,o] = {} where {}\n", added, range)) + "y[m,o]" + product;
}

AttributeDef scale(std::string name, std::string doc)
{
  return {.name = std::move(name),
          .kind = AttributeKind::real,
          .default_value = 1.0,
          .minimum = -1e30,
          .maximum = 1e30,
          .doc = std::move(doc)};
}

AttributeDef flag(std::string name, std::string doc)
{
  return {.name = std::move(name), .kind = AttributeKind::boolean, .default_value = false, .doc = std::move(doc)};
}

} // namespace

extern const OpDef op_gemm{
    .name = "gemm",
    .doc = "the product of two matrices, and a third one added",
    .inputs = {"a[M,K]", "b[L,O]", "c[...]?"},
    .outputs = {"y"},
    .attributes = {scale("alpha", "times the product"), scale("beta", "times what is added"),
                   flag("trans_a", "a's columns are the rows"), flag("trans_b", "b's rows are the columns")},
    .make_formula = formula,
};

} // namespace cnnc
