// What holds in a bound formula: tensor numbers, ranks, types, and no element that `=` sets twice.
#include "ir/formula.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace cnnc {

namespace {

struct Verifier {
  const Formula& formula;
  const Statement* statement = nullptr;

  [[noreturn]] void fail(const std::string& what)
  {
    throw InternalError(
        fmt::format("formula: {}{}", what, statement ? fmt::format(" in '{}'", to_string(*statement, formula)) : ""));
  }

  const FormulaTensor& tensor(int t)
  {
    if (t < 0 || static_cast<size_t>(t) >= formula.tensors.size()) {
      statement = nullptr; // it cannot be printed
      fail(fmt::format("no tensor has the number {}", t));
    }
    return formula.tensors[static_cast<size_t>(t)];
  }

  void subscripts(const std::vector<Affine>& at, bool batch_allowed)
  {
    for (const Affine& a : at)
      for (const Affine::Term& term : a.terms)
        if (term.index < (batch_allowed ? batch_index : 0) ||
            term.index >= static_cast<int>(statement->indices.size())) {
          statement = nullptr;
          fail(fmt::format("no index has the number {}", term.index));
        }
  }

  void element(int t, const std::vector<Affine>& at)
  {
    subscripts(at, false);
    const FormulaTensor& of = tensor(t);
    if (of.type.shape.size() != at.size()) {
      statement = nullptr;
      fail(fmt::format("'{}' is {} and has {} subscripts", of.name, to_string(of.type), at.size()));
    }
  }

  void term(const Expr& e)
  {
    switch (e.fn) {
    case Fn::constant: return;
    case Fn::index:
      if (e.at.size() != 1 || e.type != DType::i64)
        fail("an index value is one affine i64");
      return subscripts(e.at, true);
    case Fn::read:
      element(e.tensor, e.at);
      if (tensor(e.tensor).type.dtype != e.type)
        fail(fmt::format("'{}' is read as {}", tensor(e.tensor).name, to_string(e.type)));
      return;
    case Fn::inside:
      if (e.at.size() % 2 != 0)
        fail("a subscript without its extent");
      return subscripts(e.at, true);
    case Fn::cast:
      if (e.args.size() != 1)
        fail("a cast has one argument");
      return;
    case Fn::lane_sum:
    case Fn::lane_max: fail(fmt::format("{} belongs into a nest", to_string(e.fn)));
    default: {
      // `call` checks arguments; it may fold, which only a type that is wrong here can tell.
      ExprPtr again = call(e.fn, e.args);
      if (again->type != e.type)
        fail(fmt::format("{} is {}, not {}", to_string(e.fn), to_string(again->type), to_string(e.type)));
    }
    }
  }

  void check(const Statement& s)
  {
    statement = &s;
    for (const Index& index : s.indices)
      if (index.extent.size < 0)
        fail(fmt::format("the range of '{}' is negative", index.name));
    if (!s.value)
      fail("no value");
    for_each(*s.value, [&](const Expr& e) {
      for (const ExprPtr& arg : e.args)
        if (!arg)
          fail("a missing argument");
      term(e);
    });
    element(s.target, s.at);
    if (tensor(s.target).role == Role::input)
      fail("an input is written");
    if (tensor(s.target).type.dtype != s.value->type)
      fail(fmt::format("a value of type {} for '{}'", to_string(s.value->type), tensor(s.target).name));
    if (reads(*s.value, s.target) || (s.tap >= 0 && reads(*s.value, s.tap)))
      fail("the target is read");
    if (s.tap >= 0) {
      if (s.update != Update::max && s.update != Update::min)
        fail("a tap without max= or min=");
      if (tensor(s.tap).role == Role::input || tensor(s.tap).type.shape != tensor(s.target).type.shape)
        fail("the tap must have the target's shape");
    }
    if (s.update == Update::assign && !is_injective(s))
      fail("'=' may set an element twice");
  }
};

} // namespace

int Formula::find(std::string_view name) const
{
  for (size_t t = 0; t < tensors.size(); ++t)
    if (tensors[t].name == name)
      return static_cast<int>(t);
  return -1;
}

bool Statement::is_output_index(int index) const
{
  return std::any_of(at.begin(), at.end(), [&](const Affine& a) { return a.uses(index); });
}

std::string_view to_string(Update update)
{
  constexpr std::string_view names[] = {"=", "+=", "max=", "min="};
  return names[static_cast<size_t>(update)];
}

double identity(Update update)
{
  constexpr double infinity = std::numeric_limits<double>::infinity();
  return update == Update::max ? -infinity : update == Update::min ? infinity : 0;
}

bool is_inside(const Affine& at, const Dim& extent, const std::vector<Index>& indices)
{
  // Of the batch n: lo <= at <= hi + slope * n, to be held against 0 and extent.size * n - 1 for n = 1, 2, ...
  int64_t lo = at.constant, hi = at.constant, slope = 0;
  for (const Affine::Term& term : at.terms) {
    if (term.index < 0)
      return false;
    const Dim& d = indices[static_cast<size_t>(term.index)].extent;
    if (d.size == 0)
      return true; // nothing runs
    if (!d.batch) {
      (term.factor < 0 ? lo : hi) += term.factor * (d.size - 1);
    } else {
      if (term.factor < 0)
        return false;
      hi -= term.factor;
      slope += term.factor * d.size;
    }
  }
  int64_t size_slope = extent.batch ? extent.size : 0, size = extent.batch ? 0 : extent.size;
  return lo >= 0 && slope <= size_slope && hi + slope < size + size_slope;
}

bool is_injective(const Statement& s)
{
  // A subscript gives away its indices where each of their factors is larger than all smaller ones together reach, as
  // in 12*a + 4*b + c. Indices that are known from one subscript may occur in another.
  std::set<int> known;
  for (bool progress = true; progress;) {
    progress = false;
    for (const Affine& a : s.at) {
      std::vector<Affine::Term> open;
      for (const Affine::Term& term : a.terms)
        if (term.index >= 0 && known.count(term.index) == 0)
          open.push_back(term);
      auto size = [](int64_t factor) { return factor < 0 ? -factor : factor; };
      std::sort(open.begin(), open.end(),
                [&](const auto& x, const auto& y) { return size(x.factor) < size(y.factor); });
      int64_t reach = 0;
      bool digits = !open.empty();
      for (size_t k = 0; k < open.size(); ++k) {
        const Dim& extent = s.indices[static_cast<size_t>(open[k].index)].extent;
        digits = digits && size(open[k].factor) > reach && (!extent.batch || k + 1 == open.size());
        reach += size(open[k].factor) * std::max<int64_t>(extent.size - 1, 0);
      }
      if (!digits)
        continue;
      for (const Affine::Term& term : open)
        known.insert(term.index);
      progress = true;
    }
  }
  for (size_t i = 0; i < s.indices.size(); ++i)
    if (known.count(static_cast<int>(i)) == 0 && (s.indices[i].extent.batch || s.indices[i].extent.size > 1))
      return false;
  return true;
}

void verify(const Formula& formula)
{
  Verifier verifier{formula};
  std::set<std::string> names;
  size_t inputs = 0;
  for (const FormulaTensor& t : formula.tensors) {
    if (!names.insert(t.name).second)
      verifier.fail(fmt::format("two tensors have the name '{}'", t.name));
    inputs += t.role == Role::input;
  }
  if (inputs != formula.input_numbers.size())
    verifier.fail("not every input knows which of the op's it is");
  for (const Statement& s : formula.statements)
    verifier.check(s);
}

} // namespace cnnc
