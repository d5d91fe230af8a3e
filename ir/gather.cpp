// T[s*h + d*i - p] += E   =>   for each phase r of s:   T[s*q + r] += E with h = q + (r + p - d*i) / s
//
// The division must be exact: i runs over those residues a modulo s / gcd(s, d) only for which s divides r + p - d*a;
// i = a + (s / gcd(s, d)) * t. With one more index there is one such residue or none; with several, each combination
// that fits is a statement. The range of h is checked by a read, R[h], of just its extent: a read outside is skipped.
#include "ir/gather.h"

#include "ir/subscripts.h"

#include <algorithm>
#include <numeric>

namespace cnnc {

namespace {

constexpr size_t statement_limit = 64; // of one scatter
constexpr size_t text_limit = 256;     // what bind_formula reads back

// `index` replaced everywhere; it is unused afterwards, and so dropped by the caller.
void replace(Statement& s, int index, const Affine& by)
{
  auto to = [&](const Affine& a) { return substitute(a, index, by); };
  for (Affine& a : s.at)
    a = to(a);
  s.value = map_affine(s.value, to);
}

// Indices that were replaced, or that take one value, are gone; the text's order is kept.
void drop(Statement& s, const std::vector<bool>& dropped)
{
  std::vector<int> number(s.indices.size(), 0);
  std::vector<Index> indices;
  for (size_t i = 0; i < s.indices.size(); i++)
    if (!dropped[i]) {
      number[i] = static_cast<int>(indices.size());
      indices.push_back(s.indices[i]);
    }
  auto to = [&](const Affine& a) { return renumber(a, [&](int index) { return index < 0 ? index : number[index]; }); };
  for (Affine& a : s.at)
    a = to(a);
  s.value = map_affine(s.value, to);
  s.indices = std::move(indices);
}

void drop_single_values(Statement& s)
{
  std::vector<bool> dropped(s.indices.size());
  for (size_t i = 0; i < s.indices.size(); i++)
    if (s.indices[i].extent == Dim{1, false}) {
      replace(s, static_cast<int>(i), 0);
      dropped[i] = true;
    }
  drop(s, dropped);
}

// Some read falls outside exactly where the index leaves its range.
bool is_guarded(const Statement& s, const Formula& formula, int index)
{
  bool found = false;
  for_each(*s.value, [&](const Expr& e) {
    for (size_t d = 0; e.fn == Fn::read && d < e.at.size(); d++)
      found = found || (!e.checked && e.at[d].bare() == index &&
                        formula.tensors[e.tensor].type.shape[d] == s.indices[index].extent);
  });
  return found;
}

// Which index to solve dimension `d` of the left side for: the guarded one with most values, so that few remain to be
// summed over. -1 where there is none.
int choose(const Statement& s, const Formula& formula, size_t d)
{
  int best = -1;
  for (const Affine::Term& term : s.at[d].terms) {
    if (term.index < 0 || s.indices[term.index].extent.batch)
      return -1;
    for (size_t other = 0; other < s.at.size(); other++)
      if (other != d && s.at[other].uses(term.index))
        return -1;
    if (is_guarded(s, formula, term.index) &&
        (best < 0 || s.indices[term.index].extent.size > s.indices[best].extent.size))
      best = term.index;
  }
  return best;
}

std::string fresh_name(const Statement& s, std::string name)
{
  while (std::any_of(s.indices.begin(), s.indices.end(), [&](const Index& i) { return i.name == name; }))
    name += "_";
  return name;
}

// No two points meet in this dimension, and none is outside: it stays as it is.
bool is_settled(const Statement& s, const Formula& formula, size_t d)
{
  return is_one_to_one(s.at[d], s.indices) && is_inside(s.at[d], formula.tensors[s.target].type.shape[d], s.indices);
}

// The statements of one dimension: false where it cannot be done.
bool gather_dimension(Statement s, const Formula& formula, size_t d, std::vector<Statement>& result)
{
  int h = choose(s, formula, d);
  const Dim extent = formula.tensors[s.target].type.shape[d];
  if (h < 0 || extent.batch)
    return false;
  const int64_t stride = std::abs(s.at[d].factor(h));
  const bool is_reversed = s.at[d].factor(h) < 0; // then h counts down: h = (rest - u) / stride
  struct Other {
    int index;
    int64_t factor, period; // residues modulo the period decide
  };
  std::vector<Other> others;
  int64_t combinations = 1;
  for (const Affine::Term& term : s.at[d].terms)
    if (term.index != h) {
      others.push_back({term.index, term.factor, stride / std::gcd(stride, std::abs(term.factor))});
      if (others.back().period > static_cast<int64_t>(statement_limit) / combinations)
        return false;
      combinations *= others.back().period;
    }
  if (stride > static_cast<int64_t>(statement_limit))
    return false;

  for (int64_t r = 0; r < std::min(stride, extent.size); r++)
    for (int64_t c = 0; c < combinations; c++) {
      Statement phase = s;
      std::vector<bool> dropped(s.indices.size());
      int64_t code = c;
      bool is_empty = false;
      for (const Other& other : others) {
        int64_t residue = code % other.period, size = s.indices[other.index].extent.size;
        code /= other.period;
        is_empty = is_empty || residue >= size;
        if (is_empty)
          break;
        phase.indices[other.index].extent.size = ceil_div(size - residue, other.period);
        bool is_single = phase.indices[other.index].extent.size == 1;
        replace(phase, other.index, is_single ? Affine(residue) : Affine::of(other.index, other.period) + residue);
        dropped[other.index] = is_single;
      }
      if (is_empty)
        continue;
      // u = stride*q + r on the left; what is left of stride*h after the other terms.
      Affine rest = phase.at[d].without(h);
      int q = static_cast<int>(phase.indices.size());
      int64_t rows = ceil_div(extent.size - r, stride);
      phase.indices.push_back({fresh_name(s, s.indices[h].name), {rows, false}});
      dropped.push_back(rows == 1);
      Affine row = rows == 1 ? Affine(0) : Affine::of(q);
      Affine scaled = row * stride + Affine(r) - rest;
      if (is_reversed)
        scaled *= -1;
      bool is_exact = scaled.constant % stride == 0;
      for (const Affine::Term& term : scaled.terms)
        is_exact = is_exact && term.factor % stride == 0;
      if (!is_exact)
        continue;
      Affine solved = floor_div(scaled.constant, stride);
      for (const Affine::Term& term : scaled.terms)
        solved += Affine::of(term.index, term.factor / stride);
      phase.at[d] = row * stride + Affine(r);
      replace(phase, h, solved);
      dropped[h] = true;
      phase.indices[q].name = s.indices[h].name; // free now
      drop(phase, dropped);
      order_indices(phase);
      result.push_back(std::move(phase));
      if (result.size() > statement_limit)
        return false;
    }
  return true;
}

} // namespace

std::optional<std::vector<Statement>> gather(const Statement& scatter, const Formula& formula)
{
  bool is_clean = is_one_to_one(scatter);
  for (size_t d = 0; d < scatter.at.size(); d++)
    is_clean = is_clean && is_settled(scatter, formula, d);
  if (scatter.update != Update::sum || is_clean)
    return std::nullopt;
  Statement first = scatter;
  drop_single_values(first);
  std::vector<Statement> statements = {std::move(first)};
  for (size_t d = 0; d < scatter.at.size(); d++) {
    std::vector<Statement> next;
    for (Statement& s : statements)
      if (is_settled(s, formula, d))
        next.push_back(std::move(s));
      else if (!gather_dimension(std::move(s), formula, d, next))
        return std::nullopt;
    statements = std::move(next);
  }
  for (Statement& s : statements)
    order_indices(s);
  if (statements.empty())
    return std::nullopt;
  // The remaining dimensions may still share an index.
  if (!std::all_of(statements.begin(), statements.end(), [](const Statement& s) { return is_one_to_one(s); }))
    return std::nullopt;
  return statements;
}

int gather_scatters(Formula& formula)
{
  int count = 0;
  std::vector<Statement> statements;
  for (const Statement& s : formula.statements)
    if (std::optional<std::vector<Statement>> gathers = gather(s, formula)) {
      std::move(gathers->begin(), gathers->end(), std::back_inserter(statements));
      count++;
    } else {
      statements.push_back(s);
    }
  if (statements.size() > text_limit)
    return 0;
  formula.statements = std::move(statements);
  return count;
}

} // namespace cnnc
