#include "ir/subscripts.h"

#include <algorithm>

namespace cnnc {

namespace {

// The terms by the size of their factors; equal ones by index.
std::vector<Affine::Term> digits(const Affine& at)
{
  std::vector<Affine::Term> terms = at.terms;
  std::stable_sort(terms.begin(), terms.end(), [](const Affine::Term& a, const Affine::Term& b) {
    return std::abs(a.factor) < std::abs(b.factor);
  });
  return terms;
}

bool share_an_index(const std::vector<Affine>& at)
{
  std::vector<int> seen;
  for (const Affine& a : at)
    for (const Affine::Term& term : a.terms)
      seen.push_back(term.index);
  std::sort(seen.begin(), seen.end());
  return std::adjacent_find(seen.begin(), seen.end()) != seen.end();
}

} // namespace

bool is_inside(const std::vector<Affine>& at, const Shape& shape, const std::vector<Index>& indices)
{
  for (size_t i = 0; i < at.size(); i++)
    if (!is_inside(at[i], shape[i], indices))
      return false;
  return true;
}

bool is_one_to_one(const Affine& at, const std::vector<Index>& indices)
{
  int64_t reach = 0; // the largest difference that smaller digits make
  bool unbounded = false;
  for (const Affine::Term& term : digits(at)) {
    if (term.index == batch_index)
      return false;
    const Dim& d = indices[term.index].extent;
    if (!d.batch && d.size == 1)
      continue;
    if (unbounded || std::abs(term.factor) <= reach)
      return false;
    reach += std::abs(term.factor) * (d.size - 1);
    unbounded = d.batch;
  }
  return true;
}

bool is_one_to_one(const Statement& s)
{
  return !share_an_index(s.at) &&
         std::all_of(s.at.begin(), s.at.end(), [&](const Affine& a) { return is_one_to_one(a, s.indices); });
}

bool is_complete(const Statement& s, const Shape& target)
{
  for (size_t i = 0; i < s.indices.size(); i++)
    if (!s.is_output_index(static_cast<int>(i)))
      return false;
  return meets_all(s, target);
}

bool meets_all(const Statement& s, const Shape& target)
{
  if (s.at.size() != target.size() || share_an_index(s.at))
    return false;
  for (size_t d = 0; d < s.at.size(); d++) {
    if (s.at[d].constant != 0)
      return false;
    Dim covered{1, false};
    for (const Affine::Term& term : digits(s.at[d])) {
      if (term.index == batch_index)
        return false;
      const Dim& extent = s.indices[term.index].extent;
      if (extent == Dim{1, false})
        continue;
      if (term.factor != covered.size || covered.batch)
        return false;
      covered = {covered.size * extent.size, extent.batch};
    }
    if (!(covered == target[d]))
      return false;
  }
  return true;
}

bool never_meet(const Statement& a, const Statement& b)
{
  // Bounds of what is left of a subscript modulo `m`; of all of it where that is 0.
  auto bounds = [](const Statement& s, size_t d, int64_t m) -> std::optional<Interval> {
    Affine rest = s.at[d].constant;
    for (const Affine::Term& term : s.at[d].terms) {
      if (m != 0 && term.factor % m == 0)
        continue;
      if (term.index < 0 || s.indices[term.index].extent.batch)
        return std::nullopt;
      rest += Affine::of(term.index, term.factor);
    }
    return range(rest, [&](int index) { return Interval{0, s.indices[index].extent.size - 1}; });
  };
  for (size_t d = 0; d < a.at.size(); d++) {
    std::vector<int64_t> moduli = {0};
    for (const Affine* at : {&a.at[d], &b.at[d]})
      for (const Affine::Term& term : at->terms)
        moduli.push_back(std::abs(term.factor));
    for (const int64_t m : moduli) {
      const std::optional<Interval> x = bounds(a, d, m), y = bounds(b, d, m);
      if (!x || !y)
        continue;
      if (m == 0) {
        if (x->hi < y->lo || y->hi < x->lo)
          return true;
        continue;
      }
      const int64_t ahead = y->lo - x->lo - floor_div(y->lo - x->lo, m) * m;
      if (ahead > x->hi - x->lo && ahead + (y->hi - y->lo) < m)
        return true;
    }
  }
  return false;
}

std::optional<Affine> tap_position(const Statement& s)
{
  Affine position;
  bool first = true;
  for (size_t i = 0; i < s.indices.size(); i++) {
    if (s.is_output_index(static_cast<int>(i)))
      continue;
    if (s.indices[i].extent.batch && !first)
      return std::nullopt;
    position = position * s.indices[i].extent.size + Affine::of(static_cast<int>(i));
    first = false;
  }
  return position;
}

void order_indices(Statement& s)
{
  std::vector<int> order;
  auto meet = [&](const Affine& a) {
    for (const Affine::Term& term : a.terms)
      if (term.index >= 0 && std::find(order.begin(), order.end(), term.index) == order.end())
        order.push_back(term.index);
  };
  std::function<void(const Expr&)> walk = [&](const Expr& e) {
    for (const Affine& a : e.at)
      meet(a);
    for (const ExprPtr& arg : e.args)
      walk(*arg);
  };
  for (const Affine& a : s.at)
    meet(a);
  walk(*s.value);
  for (size_t i = 0; i < s.indices.size(); i++)
    meet(Affine::of(static_cast<int>(i)));

  std::vector<int> number(s.indices.size());
  std::vector<Index> indices;
  for (int old : order) {
    number[old] = static_cast<int>(indices.size());
    indices.push_back(s.indices[old]);
  }
  auto to = [&](const Affine& a) { return renumber(a, [&](int index) { return index < 0 ? index : number[index]; }); };
  for (Affine& a : s.at)
    a = to(a);
  s.value = map_affine(s.value, to);
  s.indices = std::move(indices);
}

std::vector<int> remove_dead(Formula& formula)
{
  std::vector<bool> needed(formula.tensors.size());
  for (size_t t = 0; t < formula.tensors.size(); t++)
    needed[t] = formula.tensors[t].role == Role::output;
  std::vector<Statement> kept;
  std::vector<bool> touched(formula.tensors.size());
  // A tensor is complete before it is read, so one walk from the end meets every reader before the writers.
  for (auto s = formula.statements.rbegin(); s != formula.statements.rend(); ++s) {
    if (!needed[s->target] && (s->tap < 0 || !needed[s->tap]))
      continue;
    touched[s->target] = true;
    if (s->tap >= 0 && needed[s->tap])
      touched[s->tap] = true;
    else
      s->tap = -1;
    for_each(*s->value, [&](const Expr& e) {
      if (e.fn == Fn::read)
        needed[e.tensor] = touched[e.tensor] = true;
    });
    kept.push_back(std::move(*s));
  }
  std::reverse(kept.begin(), kept.end());

  std::vector<int> old, number(formula.tensors.size(), -1), input_numbers;
  std::vector<FormulaTensor> tensors;
  for (Role role : {Role::input, Role::output, Role::local}) {
    size_t input = 0;
    for (size_t t = 0; t < formula.tensors.size(); t++) {
      bool is_input = formula.tensors[t].role == Role::input;
      if (formula.tensors[t].role == role && touched[t]) {
        number[t] = static_cast<int>(tensors.size());
        tensors.push_back(formula.tensors[t]);
        old.push_back(static_cast<int>(t));
        if (is_input)
          input_numbers.push_back(formula.input_numbers[input]);
      }
      input += is_input;
    }
  }
  for (Statement& s : kept) {
    s.target = number[s.target];
    s.tap = s.tap < 0 ? -1 : number[s.tap];
    s.value = transform(s.value, [&](const ExprPtr& e) {
      return e->fn == Fn::read ? read(number[e->tensor], e->type, e->at, e->checked) : e;
    });
  }
  formula.tensors = std::move(tensors);
  formula.statements = std::move(kept);
  formula.input_numbers = std::move(input_numbers);
  return old;
}

void inline_locals(Formula& formula)
{
  for (size_t i = 0; i < formula.statements.size();) {
    const Statement from = formula.statements[i];
    const FormulaTensor& local = formula.tensors[from.target];
    bool is_cheap = local.role == Role::local && from.update == Update::assign && is_complete(from, local.type.shape);
    for (size_t d = 0; d < from.at.size(); d++)
      is_cheap = is_cheap && (from.at[d].bare() >= 0 || from.at[d].is_constant());
    int read_count = 0, functions = 0;
    for_each(*from.value, [&](const Expr& e) {
      read_count += e.fn == Fn::read;
      functions += !e.args.empty();
      // A skipped term would leave the local as it was.
      is_cheap = is_cheap && (e.fn != Fn::read || is_inside(e.at, formula.tensors[e.tensor].type.shape, from.indices));
    });
    is_cheap = is_cheap && read_count <= 1 && functions <= 1;
    for (size_t j = 0; j < formula.statements.size(); j++) {
      const Statement& other = formula.statements[j];
      is_cheap = is_cheap && (j == i || other.target != from.target);
      // A read of the local that is skipped must remain one.
      for_each(*other.value, [&](const Expr& e) {
        if (e.fn == Fn::read && e.tensor == from.target)
          is_cheap = is_cheap && is_inside(e.at, local.type.shape, other.indices);
      });
    }
    if (!is_cheap) {
      i++;
      continue;
    }
    for (Statement& reader : formula.statements)
      reader.value = transform(reader.value, [&](const ExprPtr& e) {
        if (e->fn != Fn::read || e->tensor != from.target)
          return e;
        return map_affine(from.value, [&](const Affine& a) {
          Affine result = a.constant;
          for (const Affine::Term& term : a.terms)
            if (term.index == batch_index)
              result += Affine::of(batch_index, term.factor);
            else
              for (size_t d = 0; d < from.at.size(); d++)
                if (from.at[d].bare() == term.index)
                  result += e->at[d] * term.factor;
          return result;
        });
      });
    formula.statements.erase(formula.statements.begin() + static_cast<int64_t>(i));
  }
}

} // namespace cnnc
