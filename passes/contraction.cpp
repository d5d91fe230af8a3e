#include "passes/contraction.h"

#include "ir/subscripts.h"
#include "passes/formula_op.h"

#include <algorithm>

namespace cnnc {

namespace {

// The index stands in one subscript, by itself or behind multiples of what it runs through.
bool is_plain(const std::vector<Affine>& at, int index)
{
  int uses = 0;
  bool plain = true;
  for (const Affine& subscript : at)
    if (subscript.uses(index)) {
      ++uses;
      plain = plain && subscript.factor(index) == 1 && subscript.constant % 16 == 0;
      for (const Affine::Term& term : subscript.terms)
        plain = plain && (term.index == index || term.factor % 16 == 0);
    }
  return plain && uses == 1;
}

bool has_neighbours(const Statement& sum, const Expr& a, const Expr& b)
{
  for (size_t i = 0; i < sum.indices.size(); ++i) {
    const int index = static_cast<int>(i);
    if (!sum.is_output_index(index) && sum.indices[i].extent.size % 16 == 0 && is_plain(a.at, index) &&
        is_plain(b.at, index))
      return true;
  }
  return false;
}

int64_t uses(const std::vector<Affine>& at, int index)
{
  return std::count_if(at.begin(), at.end(), [&](const Affine& subscript) { return subscript.uses(index); });
}

bool is_read_once(const Statement& sum, const Expr& b)
{
  for (size_t i = 0; i < sum.indices.size(); ++i)
    if (!sum.indices[i].extent.batch && uses(b.at, static_cast<int>(i)) == 0)
      return false;
  return !sum.indices.empty();
}

// See Contraction::weight_input; `shape` is a's.
std::optional<size_t> input_channels(const Statement& sum, const Expr& a, const Expr& b, const Shape& shape)
{
  const int index = a.at.size() > 1 ? a.at[1].bare() : -1;
  if (index < 0 || sum.is_output_index(index) || sum.indices[static_cast<size_t>(index)].extent != shape[1] ||
      uses(a.at, index) != 1 || uses(b.at, index) != 1)
    return {};
  for (size_t d = 0; d < b.at.size(); ++d)
    if (b.at[d].bare() == index)
      return d;
  return {};
}

// The one dimension that the result and b share. Nothing where the sum does not run over the result as it is, or shares
// more of them.
std::optional<Contraction::Whole> shared_channel(const Statement& sum, const Expr& b, const Shape& result)
{
  Contraction::Whole found;
  int shared = 0;
  for (size_t d = 0; d < sum.at.size(); ++d) {
    const int bare = sum.at[d].bare();
    if (bare < 0 || sum.indices[static_cast<size_t>(bare)].extent != result[d])
      return {};
    for (size_t k = 0; k < b.at.size(); ++k)
      if (b.at[k] == sum.at[d]) {
        found.channel = d;
        found.weight_channel = k;
        ++shared;
      }
  }
  return shared == 1 ? std::optional(found) : std::nullopt;
}

// y[n,o] = bias[o], y[n,o] += a * b, and y shares one dimension with b.
std::optional<Contraction::Whole> whole_of(const Op& op, const Formula& formula, const Statement& sum, const Expr& b,
                                           const std::vector<bool>& is_parameter)
{
  const FormulaTensor& y = formula.tensors[static_cast<size_t>(sum.target)];
  if (y.role != Role::output || op.outputs.size() != 1 || y.type.dtype != DType::f32)
    return {};
  std::optional<Contraction::Whole> found = shared_channel(sum, b, y.type.shape);
  if (!found)
    return {};
  for (const Statement& s : formula.statements) {
    if (&s == &sum)
      continue;
    if (s.target != sum.target || s.update != Update::assign || s.value->fn != Fn::read ||
        formula.tensors[static_cast<size_t>(s.value->tensor)].role != Role::input || s.value->at.size() != 1 ||
        !(s.value->at[0] == s.at[found->channel]) || s.value->at[0].bare() < 0 || found->bias >= 0)
      return {};
    found->bias = operand_of(op, formula, s.value->tensor);
    if (!is_parameter[static_cast<size_t>(found->bias)])
      return {};
  }
  return found;
}

} // namespace

std::optional<Contraction> contraction_of(const Graph& graph, const Op& op, const std::vector<bool>& is_parameter)
{
  std::optional<Contraction> found;
  const Formula formula = formula_of(graph, op);
  const auto shape = [&](int value) -> const Shape& { return graph.values[static_cast<size_t>(value)].type.shape; };
  for (size_t number = 0; number < formula.statements.size(); ++number) {
    const Statement& s = formula.statements[number];
    if (s.update != Update::sum || s.value->fn != Fn::mul || s.value->type != DType::f32)
      continue;
    const Expr *a = s.value->args[0].get(), *b = s.value->args[1].get();
    for (const Expr* read : {a, b})
      if (read->fn != Fn::read || read->checked || read->type != DType::f32 ||
          formula.tensors[static_cast<size_t>(read->tensor)].role != Role::input)
        return {};
    if (is_parameter[static_cast<size_t>(operand_of(op, formula, a->tensor))])
      std::swap(a, b);
    const int data = operand_of(op, formula, a->tensor), weight = operand_of(op, formula, b->tensor);
    if (found || is_parameter[static_cast<size_t>(data)] || !is_parameter[static_cast<size_t>(weight)] ||
        !has_batch(shape(data)) || shape(weight).size() < 2)
      return {};
    found = Contraction{.a = data,
                        .b = weight,
                        .statement = number,
                        .has_neighbours = has_neighbours(s, *a, *b),
                        .is_read_once = is_read_once(s, *b),
                        .reaches_outside = !is_inside(a->at, shape(data), s.indices),
                        .weight_input = input_channels(s, *a, *b, shape(data)),
                        .whole = whole_of(op, formula, s, *b, is_parameter)};
  }
  return found;
}

} // namespace cnnc
