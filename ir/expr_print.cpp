// Expr => "x[n,c,h + i - 1,w + j - 1] * weight[o,c,i,j]"
#include "ir/expr.h"
#include "ir/location.h"

#include <fmt/format.h>

#include <cmath>

namespace cnnc {

namespace {

// How tightly an operator binds; the parser (formula_parse.cpp) has the same ladder.
enum Level { either_level, both_level, negate_level, compare_level, add_level, mul_level, unary_level, primary_level };

struct Text {
  std::string text;
  Level level;
};

// A bare number takes its type from what it meets. True where nothing in `e` but numbers would decide.
bool is_flexible(const Expr& e)
{
  if (e.type == DType::boolean || takes_floats(e.fn) || e.fn == Fn::random)
    return false;
  if (e.fn == Fn::constant)
    return true;
  if (e.fn < Fn::add)
    return false;
  for (const ExprPtr& arg : e.args)
    if (arg->type != DType::boolean && !is_flexible(*arg))
      return false;
  return true;
}

struct Printer {
  const ExprNames& names;

  std::string affine(const Affine& a) { return to_string(a, names.index); }

  std::string subscripts(const std::vector<Affine>& at)
  {
    std::string text;
    for (const Affine& a : at)
      text += (text.empty() ? "" : ",") + affine(a);
    return text;
  }

  // `known`: the reader will know the type from elsewhere.
  std::string print(const Expr& e, bool known, Level least = either_level)
  {
    Text t = print_at(e, known);
    return t.level < least ? "(" + t.text + ")" : t.text;
  }

  Text number(const Expr& e, bool known)
  {
    if (e.type == DType::boolean)
      return {e.value != 0 ? "true" : "false", primary_level};
    std::string text = e.value == 0 && std::signbit(e.value) ? "-0.0"
                       : std::isnan(e.value)                 ? "nan"
                                                             : fmt::format("{}", e.value);
    if (!known)
      return {fmt::format("cast({}, {})", to_string(e.type), text), primary_level};
    return {text, text[0] == '-' ? unary_level : primary_level};
  }

  Text index(const Affine& a)
  {
    std::string text = affine(a);
    if (a.terms.size() + (a.constant != 0) > 1)
      return {text, add_level};
    if (a.terms.empty())
      return {text, a.constant < 0 ? unary_level : primary_level};
    int64_t factor = a.terms[0].factor;
    return {text, factor == 1 ? primary_level : factor == -1 ? unary_level : mul_level};
  }

  Text binary(const Expr& e, bool known, std::string_view sign, Level level)
  {
    // Comparisons do not chain: both sides must bind tighter.
    Level left = level == compare_level ? add_level : level;
    return {fmt::format("{} {} {}", print(*e.args[0], known, left), sign,
                        print(*e.args[1], known, static_cast<Level>(level + 1))),
            level};
  }

  Text function(const Expr& e, std::string_view name, bool known)
  {
    std::string text;
    for (const ExprPtr& arg : e.args)
      text += (text.empty() ? "" : ", ") + print(*arg, known);
    return {fmt::format("{}({})", name, text), primary_level};
  }

  Text print_at(const Expr& e, bool known)
  {
    for (const ExprPtr& arg : e.args)
      if (arg->type == e.type && !is_flexible(*arg))
        known = true; // it tells the type to its neighbours
    bool compared_known =
        !e.args.empty() && e.type == DType::boolean && (!is_flexible(*e.args.front()) || !is_flexible(*e.args.back()));
    switch (e.fn) {
    case Fn::constant: return number(e, known);
    case Fn::index: return index(e.at[0]);
    case Fn::read:
      return {fmt::format("{}[{}]{}", names.tensor(e.tensor), subscripts(e.at), e.checked ? "?" : ""), primary_level};
    case Fn::inside: return {fmt::format("inside({})", subscripts(e.at)), primary_level};
    case Fn::cast: return {fmt::format("cast({}, {})", to_string(e.type), print(*e.args[0], false)), primary_level};
    case Fn::add: return binary(e, known, "+", add_level);
    case Fn::sub: return binary(e, known, "-", add_level);
    case Fn::mul: return binary(e, known, "*", mul_level);
    case Fn::div: return binary(e, known, "/", mul_level);
    case Fn::neg: return {"-" + print(*e.args[0], known, unary_level), unary_level};
    case Fn::less: return binary(e, compared_known, "<", compare_level);
    case Fn::less_equal: return binary(e, compared_known, "<=", compare_level);
    case Fn::equal: return binary(e, compared_known, "==", compare_level);
    case Fn::both: return binary(e, true, "and", both_level);
    case Fn::either: return binary(e, true, "or", either_level);
    case Fn::negate:
      if (e.args[0]->fn == Fn::equal) {
        const Expr& equal = *e.args[0];
        bool types = !is_flexible(*equal.args[0]) || !is_flexible(*equal.args[1]);
        return binary(equal, types, "!=", compare_level);
      }
      return {"not " + print(*e.args[0], true, negate_level), negate_level};
    case Fn::select:
      return {fmt::format("select({}, {}, {})", print(*e.args[0], true), print(*e.args[1], known),
                          print(*e.args[2], known)),
              primary_level};
    case Fn::random: return function(e, "random", true);
    default:
      // What a function of floats makes of bare numbers is the formula's element type, which is not known here.
      return function(e, to_string(e.fn), known && (!takes_floats(e.fn) || !all_flexible(e)));
    }
  }

  static bool all_flexible(const Expr& e)
  {
    for (const ExprPtr& arg : e.args)
      if (!is_flexible(*arg))
        return false;
    return true;
  }
};

} // namespace

std::string to_string(const Expr& e, const ExprNames& names)
{
  return Printer{names}.print(e, true);
}

} // namespace cnnc
