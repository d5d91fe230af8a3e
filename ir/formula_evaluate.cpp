// "(H + 2*P - KH)/S + 1"  =>  28          "4*N"  =>  4 times the batch          "h*2 + i - 1"  =>  affine in h and i
#include "ir/checked.h"
#include "ir/formula_syntax.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace cnnc {

namespace {

struct Evaluator {
  const FormulaText& text;
  const Lookup& lookup;

  Affine affine(const Syntax& e)
  {
    Number n = number(e);
    if (Affine* a = std::get_if<Affine>(&n))
      return std::move(*a);
    text.fail(e.at, fmt::format("{} is not an integer", std::get<double>(n)));
  }

  double real(const Syntax& e, const Number& n)
  {
    if (const double* value = std::get_if<double>(&n))
      return *value;
    return static_cast<double>(constant(e, std::get<Affine>(n)));
  }

  int64_t constant(const Syntax& e, const Affine& a)
  {
    if (!a.is_constant())
      text.fail(e.at, "this must be a number before the formula runs: no index and not the batch");
    return a.constant;
  }

  template<class T>
  T fits(const Syntax& e, std::optional<T> result)
  {
    if (!result)
      text.fail(e.at, "the numbers here are too large");
    return *std::move(result);
  }

  Number number(const Syntax& e)
  {
    switch (e.kind) {
    case SyntaxKind::number:
      if (e.is_integer)
        return Affine(e.integer);
      return e.value;
    case SyntaxKind::boolean: return Affine(e.value != 0);
    case SyntaxKind::name: return lookup(e);
    case SyntaxKind::read: text.fail(e.at, fmt::format("'{}[...]' cannot stand in an integer expression", e.name));
    case SyntaxKind::call: return function(e);
    case SyntaxKind::neg: {
      Number a = number(e.args[0]);
      if (const double* value = std::get_if<double>(&a))
        return -*value;
      return fits(e, checked_mul(std::get<Affine>(a), -1));
    }
    case SyntaxKind::negate: return Affine(real(e.args[0], number(e.args[0])) == 0);
    default: return binary(e);
    }
  }

  Number binary(const Syntax& e)
  {
    Number a = number(e.args[0]), b = number(e.args[1]);
    if (std::holds_alternative<double>(a) || std::holds_alternative<double>(b))
      return reals(e, real(e.args[0], a), real(e.args[1], b));
    return integers(e, std::get<Affine>(a), std::get<Affine>(b));
  }

  Number reals(const Syntax& e, double a, double b)
  {
    switch (e.kind) {
    case SyntaxKind::add: return a + b;
    case SyntaxKind::sub: return a - b;
    case SyntaxKind::mul: return a * b;
    case SyntaxKind::div: return a / b;
    case SyntaxKind::less: return Affine(a < b);
    case SyntaxKind::less_equal: return Affine(a <= b);
    case SyntaxKind::greater: return Affine(a > b);
    case SyntaxKind::greater_equal: return Affine(a >= b);
    case SyntaxKind::equal: return Affine(a == b);
    case SyntaxKind::not_equal: return Affine(a != b);
    case SyntaxKind::both: return Affine(a != 0 && b != 0);
    case SyntaxKind::either: return Affine(a != 0 || b != 0);
    default: text.fail(e.at, fmt::format("'{}' takes integers", e.name));
    }
  }

  Number integers(const Syntax& e, const Affine& a, const Affine& b)
  {
    switch (e.kind) {
    case SyntaxKind::add: return fits(e, checked_add(a, b));
    case SyntaxKind::sub: return fits(e, checked_sub(a, b));
    case SyntaxKind::mul:
      if (!a.is_constant() && !b.is_constant())
        text.fail(e.at, "a product of two indices is not affine");
      return fits(e, a.is_constant() ? checked_mul(b, a.constant) : checked_mul(a, b.constant));
    case SyntaxKind::div: return quotient(e, a, b);
    default: break;
    }
    int64_t x = constant(e.args[0], a), y = constant(e.args[1], b);
    switch (e.kind) {
    case SyntaxKind::mod:
      if (y <= 0)
        text.fail(e.at, fmt::format("remainder of a division by {}", y));
      return Affine(x - y * floor_div(x, y));
    case SyntaxKind::less: return Affine(x < y);
    case SyntaxKind::less_equal: return Affine(x <= y);
    case SyntaxKind::greater: return Affine(x > y);
    case SyntaxKind::greater_equal: return Affine(x >= y);
    case SyntaxKind::equal: return Affine(x == y);
    case SyntaxKind::not_equal: return Affine(x != y);
    case SyntaxKind::both: return Affine(x != 0 && y != 0);
    case SyntaxKind::either: return Affine(x != 0 || y != 0);
    default: throw InternalError("evaluate: not a binary operator");
    }
  }

  Number quotient(const Syntax& e, const Affine& a, const Affine& b)
  {
    int64_t by = constant(e.args[1], b);
    if (by <= 0) // nobody needs a negative one, and the smallest integer has no counterpart
      text.fail(e.at, fmt::format("division by {}", by));
    if (a.is_constant())
      return Affine(floor_div(a.constant, by));
    Affine result = a.constant / by;
    bool exact = a.constant % by == 0;
    for (const Affine::Term& term : a.terms) {
      exact = exact && term.factor % by == 0;
      result += Affine::of(term.index, term.factor / by);
    }
    if (!exact)
      text.fail(e.at, fmt::format("an index divided by {} is not affine", by));
    return result;
  }

  Number function(const Syntax& e)
  {
    auto arguments = [&](size_t count) {
      if (e.args.size() != count)
        text.fail(e.at,
                  fmt::format("{} takes {} argument{}, found {}", e.name, count, count == 1 ? "" : "s", e.args.size()));
    };
    if (e.name == "select") {
      arguments(3);
      return number(real(e.args[0], number(e.args[0])) != 0 ? e.args[1] : e.args[2]);
    }
    if (e.name == "min" || e.name == "max") {
      arguments(2);
      Number a = number(e.args[0]), b = number(e.args[1]);
      bool less = real(e.args[0], a) < real(e.args[1], b);
      return less == (e.name == "min") ? a : b;
    }
    static constexpr std::pair<std::string_view, Fn> functions[] = {
        {"exp", Fn::exp},   {"log", Fn::log},     {"sqrt", Fn::sqrt}, {"rsqrt", Fn::rsqrt},
        {"tanh", Fn::tanh}, {"floor", Fn::floor}, {"pow", Fn::pow},   {"abs", Fn::abs},
    };
    for (auto [name, fn] : functions)
      if (e.name == name) {
        arguments(fn == Fn::pow ? 2 : 1);
        std::array<double, 2> values{};
        for (size_t i = 0; i < e.args.size(); ++i)
          values[i] = real(e.args[i], number(e.args[i]));
        double value = apply(fn, values.data());
        // Integers stay integers where the function leaves them so.
        if ((fn == Fn::floor || fn == Fn::abs) && std::abs(value) < 0x1p53 && value == std::floor(value))
          return Affine(static_cast<int64_t>(value));
        return value;
      }
    text.fail(e.at,
              fmt::format("'{}' is not a function of integers; there are min, max, abs, floor and select", e.name));
  }
};

} // namespace

Number evaluate(const Syntax& e, const FormulaText& text, const Lookup& lookup)
{
  return Evaluator{text, lookup}.number(e);
}

Affine evaluate_affine(const Syntax& e, const FormulaText& text, const Lookup& lookup)
{
  return Evaluator{text, lookup}.affine(e);
}

Symbol evaluate(std::string_view expression, const Symbols& symbols, const Location& where)
{
  FormulaText text{expression, where, false};
  Lookup lookup = [&](const Syntax& name) -> Number {
    auto found = symbols.find(name.name);
    if (found == symbols.end()) {
      std::vector<std::string> names;
      for (const auto& [known, value] : symbols)
        names.push_back(known);
      std::string meant = nearest(name.name, names);
      text.fail(name.at, fmt::format("unknown symbol '{}'{}", name.name,
                                     meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant)));
    }
    if (const double* value = std::get_if<double>(&found->second))
      return *value;
    return Affine(std::get<int64_t>(found->second));
  };
  Number n = evaluate(parse_expression(text), text, lookup);
  if (const double* value = std::get_if<double>(&n))
    return *value;
  return std::get<Affine>(n).constant;
}

} // namespace cnnc
