// Types of terms, in two steps: upwards, what each operand is by itself (a bare number is nothing yet); then downwards,
// built in the type that its neighbours and its place want.
//
//   x[n] * 2 + h      x: f32      =>      x[n] * 2 + cast(f32, h)       2 is f32
#include "ir/formula_terms.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace cnnc {

namespace {

// What an operand is by itself. `open`: made of bare numbers only; they are real or integers.
struct Kind {
  bool open = false;
  bool real = false;
  DType type = DType::i64;

  bool is(DType t) const { return !open && type == t; }
};

struct Term {
  const Syntax* syntax = nullptr;
  Kind kind;
  Fn fn = Fn::constant; // constant, cast, or a function; a leaf otherwise
  bool swap = false;    // a > b is b < a
  bool negated = false; // a != b is not a == b
  bool is_number = false;
  double value = 0;
  int64_t integer = 0; // where kind is open and not real
  ExprPtr leaf;
  std::vector<Term> args;
};

struct FnName {
  std::string_view name;
  Fn fn;
  size_t arguments;
};

constexpr FnName functions[] = {
#define FUNCTION(name, arguments, result) {#name, Fn::name, arguments},
#include "ir/functions.def"
#undef FUNCTION
};

std::string plural(size_t count, std::string_view noun)
{
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

struct Binder {
  const TermScope& scope;

  [[noreturn]] void fail(const Syntax& e, const std::string& message) { scope.text.fail(e.at, message); }

  Kind join(const Syntax& e, Kind a, Kind b, bool arithmetic)
  {
    if (a.open && b.open)
      return {true, a.real || b.real, DType::i64};
    if (b.open)
      std::swap(a, b); // now b is typed
    if (a.open) {
      bool fits = b.type == DType::boolean ? !arithmetic && !a.real : is_float(b.type) || !a.real;
      return {false, false, fits ? b.type : scope.float_type};
    }
    if (a.type == b.type)
      return a.type == DType::boolean && arithmetic ? Kind{false, false, scope.float_type} : a;
    if (a.type == DType::boolean || b.type == DType::boolean) {
      DType other = a.type == DType::boolean ? b.type : a.type;
      if (!arithmetic)
        fail(e, fmt::format("'{}' of bool and {}", e.name, to_string(other)));
      return {false, false, other};
    }
    if (is_float(a.type) != is_float(b.type))
      return is_float(a.type) ? a : b;
    if (is_float(a.type))
      return a.is(DType::f64) || b.is(DType::f64) ? Kind{false, false, DType::f64} : Kind{false, false, DType::f32};
    return {false, false, a.is(DType::i64) || b.is(DType::i64) ? DType::i64 : DType::i32};
  }

  static Term number(const Syntax& e, double value)
  {
    Term t;
    t.syntax = &e;
    t.is_number = true;
    t.kind = {true, true, DType::i64};
    t.value = value;
    return t;
  }

  static Term number(const Syntax& e, int64_t value)
  {
    Term t = number(e, static_cast<double>(value));
    t.kind.real = false;
    t.integer = value;
    return t;
  }

  static Term leaf(const Syntax& e, ExprPtr value)
  {
    Term t;
    t.syntax = &e;
    t.kind = {false, false, value->type};
    t.leaf = std::move(value);
    return t;
  }

  Term typed(const Syntax& e, Fn fn, std::vector<Term> args)
  {
    if (fn == Fn::random) // its numbers are a key and a counter, not a value to fold
      return node(e, fn, std::move(args), {false, false, DType::f32});
    if (std::optional<Term> folded = fold(e, fn, args))
      return *std::move(folded);
    Kind kind;
    switch (fn) {
    case Fn::less:
    case Fn::less_equal:
    case Fn::equal:
    case Fn::both:
    case Fn::either:
    case Fn::negate: kind = {false, false, DType::boolean}; break;
    case Fn::select: kind = join(e, args[1].kind, args[2].kind, false); break;
    default:
      kind = args[0].kind;
      if (args.size() == 2)
        kind = join(e, kind, args[1].kind, true);
      else if (kind.is(DType::boolean))
        kind = {false, false, scope.float_type};
      if (takes_floats(fn) && (kind.open || !is_float(kind.type)))
        kind = {false, false, scope.float_type};
    }
    return node(e, fn, std::move(args), kind);
  }

  static Term node(const Syntax& e, Fn fn, std::vector<Term> args, Kind kind)
  {
    Term t;
    t.syntax = &e;
    t.fn = fn;
    t.kind = kind;
    t.args = std::move(args);
    return t;
  }

  // Bare numbers: exact, so that 1/2 is a half and 4/2 an integer.
  std::optional<Term> fold(const Syntax& e, Fn fn, const std::vector<Term>& args)
  {
    bool real = false;
    std::array<double, 3> values{};
    for (size_t i = 0; i < args.size(); ++i) {
      if (!args[i].is_number)
        return {};
      real = real || args[i].kind.real;
      values[i] = args[i].value;
    }
    if (fn == Fn::less || fn == Fn::less_equal || fn == Fn::equal || fn == Fn::both || fn == Fn::either ||
        fn == Fn::negate)
      return leaf(e, constant(apply(fn, values.data()), DType::boolean));
    if (fn == Fn::select)
      return args[values[0] != 0 ? 1 : 2];
    bool whole = !real && !takes_floats(fn);
    if (whole && fn == Fn::div)
      whole = args[1].integer != 0 && args[1].integer != -1 && args[0].integer % args[1].integer == 0;
    if (!whole)
      return number(e, apply(fn, values.data()));
    int64_t result = 0, a = args[0].integer, b = args.size() > 1 ? args[1].integer : 0;
    bool overflow = false;
    switch (fn) {
    case Fn::add: overflow = __builtin_add_overflow(a, b, &result); break;
    case Fn::sub: overflow = __builtin_sub_overflow(a, b, &result); break;
    case Fn::mul: overflow = __builtin_mul_overflow(a, b, &result); break;
    case Fn::neg: overflow = __builtin_sub_overflow(int64_t{0}, a, &result); break;
    case Fn::abs:
      overflow = a < 0 && __builtin_sub_overflow(int64_t{0}, a, &result);
      result = a < 0 ? result : a;
      break;
    case Fn::div: result = a / b; break;
    case Fn::min: result = std::min(a, b); break;
    case Fn::max: result = std::max(a, b); break;
    default: throw InternalError("a function of numbers that nobody folds");
    }
    if (overflow)
      fail(e, "the numbers here are too large");
    return number(e, result);
  }

  Term infer(const Syntax& e)
  {
    auto both = [&](Fn fn) {
      std::vector<Term> args;
      for (const Syntax& arg : e.args)
        args.push_back(infer(arg));
      return typed(e, fn, std::move(args));
    };
    auto swapped = [&](Fn fn) {
      std::vector<Term> args;
      args.push_back(infer(e.args[1]));
      args.push_back(infer(e.args[0]));
      return typed(e, fn, std::move(args));
    };
    switch (e.kind) {
    case SyntaxKind::number: return e.is_integer ? number(e, e.integer) : number(e, e.value);
    case SyntaxKind::boolean: return leaf(e, constant(e.value, DType::boolean));
    case SyntaxKind::name: return name(e);
    case SyntaxKind::read: return leaf(e, scope.read(e));
    case SyntaxKind::call: return call_of(e);
    case SyntaxKind::neg: {
      Term t = infer(e.args[0]);
      if (t.is_number && t.kind.real)
        return number(e, -t.value);
      std::vector<Term> args;
      args.push_back(std::move(t));
      return typed(e, Fn::neg, std::move(args));
    }
    case SyntaxKind::add: return both(Fn::add);
    case SyntaxKind::sub: return both(Fn::sub);
    case SyntaxKind::mul: return both(Fn::mul);
    case SyntaxKind::div: return both(Fn::div);
    case SyntaxKind::mod: return number(e, evaluate_constant(e));
    case SyntaxKind::less: return both(Fn::less);
    case SyntaxKind::less_equal: return both(Fn::less_equal);
    case SyntaxKind::greater: return swapped(Fn::less);
    case SyntaxKind::greater_equal: return swapped(Fn::less_equal);
    case SyntaxKind::equal: return both(Fn::equal);
    case SyntaxKind::both: return both(Fn::both);
    case SyntaxKind::either: return both(Fn::either);
    case SyntaxKind::negate: return both(Fn::negate);
    case SyntaxKind::not_equal: {
      std::vector<Term> args;
      args.push_back(both(Fn::equal));
      return typed(e, Fn::negate, std::move(args));
    }
    }
    throw InternalError("bind_term: no such syntax");
  }

  int64_t evaluate_constant(const Syntax& e)
  {
    Affine a = evaluate_affine(e, scope.text, scope.lookup);
    if (!a.is_constant())
      fail(e, "'%' takes numbers, no index values");
    return a.constant;
  }

  Term name(const Syntax& e)
  {
    Number n = scope.lookup(e);
    if (const double* value = std::get_if<double>(&n))
      return number(e, *value);
    Affine& a = std::get<Affine>(n);
    if (a.is_constant() && !e.name.empty())
      return number(e, a.constant);
    return leaf(e, index_value(std::move(a)));
  }

  Term call_of(const Syntax& e)
  {
    auto arguments = [&](size_t count) {
      if (e.args.size() != count)
        fail(e, fmt::format("'{}' takes {}, found {}", e.name, plural(count, "argument"), e.args.size()));
    };
    if (e.name == "cast") {
      arguments(2);
      std::optional<DType> to = e.args[0].kind == SyntaxKind::name ? parse_dtype(e.args[0].name) : std::nullopt;
      if (!to)
        fail(e.args[0], "cast takes an element type first, such as f32");
      std::vector<Term> args;
      args.push_back(infer(e.args[1]));
      return node(e, Fn::cast, std::move(args), {false, false, *to});
    }
    if (e.name == "inside") {
      if (e.args.size() == 1 && e.args[0].kind == SyntaxKind::read)
        return leaf(e, scope.inside(e.args[0]));
      if (e.args.empty() || e.args.size() % 2 != 0)
        fail(e, "inside takes a tensor's element, or subscripts, each with its extent");
      std::vector<Affine> pairs;
      for (const Syntax& arg : e.args)
        pairs.push_back(evaluate_affine(arg, scope.text, scope.lookup));
      return leaf(e, inside(std::move(pairs)));
    }
    for (const FnName& row : functions)
      if (row.name == e.name) {
        arguments(row.arguments);
        std::vector<Term> args;
        for (const Syntax& arg : e.args)
          args.push_back(infer(arg));
        return typed(e, row.fn, std::move(args));
      }
    std::vector<std::string> names{"cast", "inside"};
    for (const FnName& row : functions)
      names.emplace_back(row.name);
    std::string meant = nearest(e.name, names);
    fail(e, fmt::format("unknown function '{}'{}", e.name,
                        meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant)));
  }

  ExprPtr convert(const Term& t, ExprPtr e, DType wanted)
  {
    if (e->type == wanted)
      return e;
    bool widens = e->type == DType::boolean || (is_float(wanted) && wanted != DType::boolean) ||
                  (!is_float(e->type) && wanted != DType::boolean && bytes_of(e->type) < bytes_of(wanted));
    if (!widens)
      fail(*t.syntax, wanted == DType::boolean
                          ? fmt::format("a condition was expected, this is {}", to_string(e->type))
                          : fmt::format("this is {0}, where {1} was expected; write cast({1}, ...)", to_string(e->type),
                                        to_string(wanted)));
    return cast(wanted, std::move(e));
  }

  ExprPtr number_as(const Term& t, DType wanted)
  {
    if (is_float(wanted))
      return constant(t.value, wanted);
    if (t.kind.real && !(std::abs(t.value) < 0x1p53 && t.value == std::floor(t.value)))
      fail(*t.syntax, fmt::format("{} is not an integer, where {} was expected", t.value, to_string(wanted)));
    int64_t value = t.kind.real ? static_cast<int64_t>(t.value) : t.integer;
    if (wrap(value, wanted) != value)
      fail(*t.syntax, fmt::format("{} does not fit {}", value, to_string(wanted)));
    return wanted == DType::i64 ? index_value(value) : constant(static_cast<double>(value), wanted);
  }

  ExprPtr build(const Term& t, DType wanted)
  {
    if (t.is_number)
      return number_as(t, wanted);
    if (t.leaf)
      return convert(t, t.leaf, wanted);
    if (t.fn == Fn::cast) {
      const Term& a = t.args[0];
      DType to = t.kind.type;
      DType own = !a.kind.open  ? a.kind.type
                  : a.kind.real ? (is_float(to) ? to : scope.float_type)
                  : a.is_number ? to
                                : DType::i64;
      return convert(t, cast(to, build(a, own)), wanted);
    }
    DType type = t.kind.open ? (t.kind.real && !is_float(wanted) ? scope.float_type : wanted) : t.kind.type;
    std::vector<ExprPtr> args;
    switch (t.fn) {
    case Fn::both:
    case Fn::either:
    case Fn::negate: args = build_all(t, DType::boolean); break;
    case Fn::less:
    case Fn::less_equal:
    case Fn::equal: {
      Kind k = join(*t.syntax, t.args[0].kind, t.args[1].kind, t.fn != Fn::equal);
      args = build_all(t, !k.open ? k.type : k.real ? scope.float_type : DType::i64);
      break;
    }
    case Fn::random: args = build_all(t, DType::i64); break;
    case Fn::select:
      args.push_back(build(t.args[0], DType::boolean));
      args.push_back(build(t.args[1], type));
      args.push_back(build(t.args[2], type));
      break;
    default: args = build_all(t, type);
    }
    return convert(t, call(t.fn, std::move(args)), wanted);
  }

  std::vector<ExprPtr> build_all(const Term& t, DType type)
  {
    std::vector<ExprPtr> args;
    for (const Term& arg : t.args)
      args.push_back(build(arg, type));
    return args;
  }
};

} // namespace

ExprPtr bind_term(const Syntax& e, DType wanted, const TermScope& scope)
{
  Binder binder{scope};
  return binder.build(binder.infer(e), wanted);
}

} // namespace cnnc
