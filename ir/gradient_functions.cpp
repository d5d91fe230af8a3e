// The derivative of each function, one row each:  g, a, b, y  =>  the adjoints of a and b
#include "ir/gradient.h"

#include <cmath>
#include <numbers>

namespace cnnc {

namespace {

ExprPtr operator+(const ExprPtr& a, double b)
{
  return call(Fn::add, {a, constant(b, a->type)});
}

ExprPtr operator-(const ExprPtr& a)
{
  return call(Fn::neg, {a});
}

ExprPtr operator*(const ExprPtr& a, const ExprPtr& b)
{
  return call(Fn::mul, {a, b});
}

ExprPtr operator*(double a, const ExprPtr& b)
{
  return call(Fn::mul, {constant(a, b->type), b});
}

ExprPtr operator/(const ExprPtr& a, const ExprPtr& b)
{
  return call(Fn::div, {a, b});
}

ExprPtr one_minus(const ExprPtr& a)
{
  return call(Fn::sub, {constant(1, a->type), a});
}

ExprPtr is_less(const ExprPtr& a, const ExprPtr& b)
{
  return call(Fn::less, {a, b});
}

// a^b, without a function for the powers that squares and cubes leave.
ExprPtr power(const ExprPtr& a, const ExprPtr& b)
{
  if (b->fn == Fn::constant && b->value == 1)
    return a;
  return b->fn == Fn::constant && b->value == 2 ? a * a : call(Fn::pow, {a, b});
}

ExprPtr zero_like(const ExprPtr& a)
{
  return constant(0, a->type);
}

ExprPtr where(const ExprPtr& condition, const ExprPtr& g)
{
  return call(Fn::select, {condition, g, zero_like(g)});
}

ExprPtr where_not(const ExprPtr& condition, const ExprPtr& g)
{
  return call(Fn::select, {condition, zero_like(g), g});
}

// g is the adjoint of y = fn(a, b, c). Nothing: the function is constant in this argument wherever it is
// differentiable.
struct Term {
  const ExprPtr &g, &y, &a, &b, &c;
};
using Derivative = ExprPtr (*)(const Term&);

struct Row {
  Fn fn;
  Derivative of[3];
};

const Row rows[] = {
    {Fn::add, {[](const Term& t) { return t.g; }, [](const Term& t) { return t.g; }}},
    {Fn::sub, {[](const Term& t) { return t.g; }, [](const Term& t) { return -t.g; }}},
    {Fn::mul, {[](const Term& t) { return t.g * t.b; }, [](const Term& t) { return t.g * t.a; }}},
    {Fn::div, {[](const Term& t) { return t.g / t.b; }, [](const Term& t) { return -(t.g * t.y / t.b); }}},
    {Fn::min,
     {[](const Term& t) { return where_not(is_less(t.b, t.a), t.g); },
      [](const Term& t) { return where(is_less(t.b, t.a), t.g); }}},
    {Fn::max,
     {[](const Term& t) { return where_not(is_less(t.a, t.b), t.g); },
      [](const Term& t) { return where(is_less(t.a, t.b), t.g); }}},
    // a^0 is 1 and 0^b is 0 all around: without infinity times 0.
    {Fn::pow,
     {[](const Term& t) {
        if (t.b->fn == Fn::constant && t.b->value == 0)
          return zero_like(t.g);
        ExprPtr slope = t.g * (t.b * power(t.a, t.b + -1));
        return t.b->fn == Fn::constant ? slope : where_not(call(Fn::equal, {t.b, zero_like(t.b)}), slope);
      },
      [](const Term& t) {
        return where_not(call(Fn::equal, {t.a, zero_like(t.a)}), t.g * (t.y * call(Fn::log, {t.a})));
      }}},
    {Fn::neg, {[](const Term& t) { return -t.g; }}},
    {Fn::abs, {[](const Term& t) {
       return call(Fn::select, {is_less(t.a, zero_like(t.a)), -t.g, where(is_less(zero_like(t.a), t.a), t.g)});
     }}},
    {Fn::exp, {[](const Term& t) { return t.g * t.y; }}},
    {Fn::log, {[](const Term& t) { return t.g / t.a; }}},
    {Fn::sqrt, {[](const Term& t) { return t.g / (2 * t.y); }}},
    {Fn::rsqrt, {[](const Term& t) { return -0.5 * (t.g * (t.y * (t.y * t.y))); }}},
    {Fn::tanh, {[](const Term& t) { return t.g * one_minus(t.y * t.y); }}},
    {Fn::erf, {[](const Term& t) { return 2 / std::sqrt(std::numbers::pi) * (t.g * call(Fn::exp, {-(t.a * t.a)})); }}},
    {Fn::select,
     {nullptr, [](const Term& t) { return where(t.a, t.g); }, [](const Term& t) { return where_not(t.a, t.g); }}},
    {Fn::cast, {[](const Term& t) { return is_float(t.a->type) ? cast(t.a->type, t.g) : nullptr; }}},
};

const Row* find_row(Fn fn)
{
  for (const Row& row : rows)
    if (row.fn == fn)
      return &row;
  return nullptr; // steps and integers: comparisons, floor, round, random, index values, inside
}

bool is_active(const Expr& e, const std::function<bool(int)>& active)
{
  if (!is_float(e.type))
    return false;
  if (e.fn == Fn::read)
    return active(e.tensor);
  const Row* row = find_row(e.fn);
  for (size_t i = 0; row && i < e.args.size(); i++)
    if (row->of[i] && is_active(*e.args[i], active))
      return true;
  return false;
}

} // namespace

void propagate(const ExprPtr& e, const ExprPtr& adjoint, const std::function<bool(int)>& active,
               const std::function<void(const ExprPtr&, const ExprPtr&)>& result)
{
  if (!adjoint || (adjoint->fn == Fn::constant && adjoint->value == 0) || !is_active(*e, active))
    return;
  if (e->fn == Fn::read) {
    result(e, adjoint);
    return;
  }
  const Row* row = find_row(e->fn);
  static const ExprPtr none;
  auto arg = [&](size_t i) -> const ExprPtr& { return i < e->args.size() ? e->args[i] : none; };
  for (size_t i = 0; i < e->args.size(); i++)
    if (row->of[i] && is_active(*e->args[i], active))
      propagate(e->args[i], row->of[i]({adjoint, e, arg(0), arg(1), arg(2)}), active, result);
}

} // namespace cnnc
