#include "ir/expr.h"

#include "ir/checked.h"
#include "ir/location.h"
#include "ir/random.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace cnnc {

namespace {

enum class Result { same, boolean };

struct FnRow {
  std::string_view name;
  size_t arguments;
  Result result;
};

constexpr FnRow rows[] = {
    {"constant", 0, Result::same}, {"index", 0, Result::same}, {"read", 0, Result::same},
    {"inside", 0, Result::same},   {"cast", 1, Result::same},  {"lane_sum", 1, Result::same},
    {"lane_max", 1, Result::same},
#define FUNCTION(name, arguments, result) {#name, arguments, Result::result},
#include "ir/functions.def"
#undef FUNCTION
};

const FnRow& row(Fn fn)
{
  return rows[static_cast<size_t>(fn)];
}

constexpr double exact = 0x1p53; // integers up to here are doubles

bool is_constant(const ExprPtr& e, double value)
{
  return e->fn == Fn::constant && e->value == value;
}

void check_types(Fn fn, const std::vector<ExprPtr>& args)
{
  auto refuse = [&](std::string_view what) {
    std::string types;
    for (const ExprPtr& arg : args)
      types += fmt::format("{}{}", types.empty() ? "" : ", ", to_string(arg->type));
    throw InternalError(fmt::format("call of {}({}): {}", to_string(fn), types, what));
  };
  if (fn < Fn::add)
    refuse("not a function");
  if (args.size() != row(fn).arguments)
    refuse(fmt::format("takes {} arguments", row(fn).arguments));
  auto all = [&](auto&& holds) {
    for (const ExprPtr& arg : args)
      if (!holds(arg->type))
        return false;
    return true;
  };
  switch (fn) {
  case Fn::both:
  case Fn::either:
  case Fn::negate:
    if (!all([](DType t) { return t == DType::boolean; }))
      refuse("takes bool");
    return;
  case Fn::random:
    if (!all([](DType t) { return t == DType::i64; }))
      refuse("takes i64");
    return;
  case Fn::select:
    if (args[0]->type != DType::boolean)
      refuse("the condition must be bool");
    if (args[1]->type != args[2]->type)
      refuse("the two values differ in type");
    return;
  case Fn::equal: break;
  default:
    if (!all([](DType t) { return t != DType::boolean; }))
      refuse("takes numbers");
  }
  if (!all([&](DType t) { return t == args[0]->type; }))
    refuse("the arguments differ in type");
  if (takes_floats(fn) && !is_float(args[0]->type))
    refuse("takes floats");
}

// Index values and i64 constants under + - * are affine again.
ExprPtr fold_index(Fn fn, const std::vector<ExprPtr>& args)
{
  if (fn != Fn::add && fn != Fn::sub && fn != Fn::mul && fn != Fn::neg)
    return nullptr;
  std::vector<Affine> at;
  for (const ExprPtr& arg : args) {
    if (arg->fn == Fn::index)
      at.push_back(arg->at[0]);
    else if (arg->fn == Fn::constant && arg->type == DType::i64)
      at.push_back(to_integer(arg->value));
    else
      return nullptr;
  }
  std::optional<Affine> folded;
  if (fn == Fn::add)
    folded = checked_add(at[0], at[1]);
  else if (fn == Fn::sub)
    folded = checked_sub(at[0], at[1]);
  else if (fn == Fn::neg)
    folded = checked_mul(at[0], -1);
  else if (at[0].is_constant() || at[1].is_constant())
    folded = at[1].is_constant() ? checked_mul(at[0], at[1].constant) : checked_mul(at[1], at[0].constant);
  return folded ? index_value(*std::move(folded)) : nullptr;
}

ExprPtr fold_constants(Fn fn, DType type, const std::vector<ExprPtr>& args)
{
  if (fn == Fn::random)
    return nullptr;
  for (const ExprPtr& arg : args)
    if (arg->fn != Fn::constant)
      return nullptr;
  if (is_float(args.back()->type)) {
    std::array<double, 3> values;
    for (size_t i = 0; i < args.size(); ++i)
      values[i] = args[i]->value;
    return constant(apply(fn, values.data()), type);
  }
  std::array<int64_t, 3> values;
  for (size_t i = 0; i < args.size(); ++i)
    values[i] = to_integer(args[i]->value);
  int64_t value = wrap(apply(fn, values.data()), type);
  return std::abs(static_cast<double>(value)) <= exact ? constant(static_cast<double>(value), type) : nullptr;
}

ExprPtr fold_neutral(Fn fn, const std::vector<ExprPtr>& args)
{
  const ExprPtr& a = args[0];
  const ExprPtr& b = args.back();
  switch (fn) {
  case Fn::add: return is_constant(b, 0) ? a : is_constant(a, 0) ? b : nullptr;
  case Fn::sub: return is_constant(b, 0) ? a : nullptr;
  case Fn::mul: return is_constant(b, 1) ? a : is_constant(a, 1) ? b : nullptr;
  case Fn::div: return is_constant(b, 1) ? a : nullptr;
  case Fn::neg:
  case Fn::negate: return a->fn == fn ? a->args[0] : nullptr;
  case Fn::both:
    return is_constant(a, 1) || is_constant(b, 0) ? b : is_constant(b, 1) || is_constant(a, 0) ? a : nullptr;
  case Fn::either:
    return is_constant(a, 0) || is_constant(b, 1) ? b : is_constant(b, 0) || is_constant(a, 1) ? a : nullptr;
  case Fn::select: return a->fn == Fn::constant ? (a->value != 0 ? args[1] : args[2]) : nullptr;
  default: return nullptr;
  }
}

ExprPtr make(Fn fn, DType type, std::vector<ExprPtr> args)
{
  Expr e;
  e.fn = fn;
  e.type = type;
  e.args = std::move(args);
  return std::make_shared<const Expr>(std::move(e));
}

} // namespace

std::string_view to_string(Fn fn)
{
  return row(fn).name;
}

bool takes_floats(Fn fn)
{
  switch (fn) {
  case Fn::pow:
  case Fn::exp:
  case Fn::log:
  case Fn::sqrt:
  case Fn::rsqrt:
  case Fn::tanh:
  case Fn::erf:
  case Fn::floor:
  case Fn::round: return true;
  default: return false;
  }
}

ExprPtr constant(double value, DType type)
{
  Expr e;
  e.fn = Fn::constant;
  e.type = type;
  e.value = cast_value(type, value);
  return std::make_shared<const Expr>(std::move(e));
}

ExprPtr index_value(Affine at)
{
  if (at.is_constant() && std::abs(static_cast<double>(at.constant)) <= exact)
    return constant(static_cast<double>(at.constant), DType::i64);
  Expr e;
  e.fn = Fn::index;
  e.type = DType::i64;
  e.at = {std::move(at)};
  return std::make_shared<const Expr>(std::move(e));
}

ExprPtr read(int tensor, DType type, std::vector<Affine> at, bool checked)
{
  Expr e;
  e.fn = Fn::read;
  e.type = type;
  e.tensor = tensor;
  e.checked = checked;
  e.at = std::move(at);
  return std::make_shared<const Expr>(std::move(e));
}

ExprPtr inside(std::vector<Affine> pairs)
{
  if (pairs.size() % 2 != 0)
    throw InternalError("inside: a subscript without its extent");
  if (pairs.empty())
    return constant(1, DType::boolean);
  Expr e;
  e.fn = Fn::inside;
  e.type = DType::boolean;
  e.at = std::move(pairs);
  return std::make_shared<const Expr>(std::move(e));
}

ExprPtr cast(DType to, ExprPtr a)
{
  if (a->type == to)
    return a;
  if (a->fn == Fn::constant) {
    double value = is_float(a->type) || is_float(to) ? cast_value(to, a->value)
                                                     : static_cast<double>(wrap(to_integer(a->value), to));
    if (is_float(to) || std::abs(value) <= exact)
      return constant(value, to);
  }
  return make(Fn::cast, to, {std::move(a)});
}

ExprPtr call(Fn fn, std::vector<ExprPtr> args)
{
  check_types(fn, args);
  DType type = row(fn).result == Result::boolean ? DType::boolean : fn == Fn::random ? DType::f32 : args.back()->type;
  if (ExprPtr folded = fold_index(fn, args))
    return folded;
  if (ExprPtr folded = fold_constants(fn, type, args))
    return folded;
  if (ExprPtr folded = fold_neutral(fn, args))
    return folded;
  return make(fn, type, std::move(args));
}

bool equal(const Expr& a, const Expr& b)
{
  if (&a == &b)
    return true;
  bool same_value =
      a.value == b.value ? std::signbit(a.value) == std::signbit(b.value) : std::isnan(a.value) && std::isnan(b.value);
  if (a.fn != b.fn || a.type != b.type || !same_value || a.tensor != b.tensor || a.checked != b.checked ||
      a.at != b.at || a.args.size() != b.args.size())
    return false;
  for (size_t i = 0; i < a.args.size(); ++i)
    if (!equal(*a.args[i], *b.args[i]))
      return false;
  return true;
}

ExprPtr transform(const ExprPtr& e, const std::function<ExprPtr(const ExprPtr&)>& rewrite)
{
  std::vector<ExprPtr> args;
  bool changed = false;
  for (const ExprPtr& arg : e->args) {
    args.push_back(transform(arg, rewrite));
    changed = changed || args.back() != arg;
  }
  if (!changed)
    return rewrite(e);
  if (e->fn == Fn::cast)
    return rewrite(cast(e->type, std::move(args[0])));
  if (e->fn == Fn::lane_sum || e->fn == Fn::lane_max) {
    DType type = args[0]->type; // before the arguments move away
    return rewrite(make(e->fn, type, std::move(args)));
  }
  return rewrite(call(e->fn, std::move(args)));
}

ExprPtr map_affine(const ExprPtr& e, const std::function<Affine(const Affine&)>& to)
{
  return transform(e, [&](const ExprPtr& node) {
    if (node->at.empty())
      return node;
    Expr mapped = *node;
    for (Affine& a : mapped.at)
      a = to(a);
    return node->fn == Fn::index ? index_value(std::move(mapped.at[0]))
                                 : std::make_shared<const Expr>(std::move(mapped));
  });
}

void for_each(const Expr& e, const std::function<void(const Expr&)>& visit)
{
  visit(e);
  for (const ExprPtr& arg : e.args)
    for_each(*arg, visit);
}

bool reads(const Expr& e, int tensor)
{
  bool found = false;
  for_each(e, [&](const Expr& node) { found = found || (node.fn == Fn::read && node.tensor == tensor); });
  return found;
}

double apply(Fn fn, const double* args)
{
  double a = args[0];
  switch (fn) {
  case Fn::add: return a + args[1];
  case Fn::sub: return a - args[1];
  case Fn::mul: return a * args[1];
  case Fn::div: return a / args[1];
  case Fn::min: return args[1] < a ? args[1] : a;
  case Fn::max: return args[1] > a ? args[1] : a;
  case Fn::pow: return std::pow(a, args[1]);
  case Fn::neg: return -a;
  case Fn::abs: return std::fabs(a);
  case Fn::exp: return std::exp(a);
  case Fn::log: return std::log(a);
  case Fn::sqrt: return std::sqrt(a);
  case Fn::rsqrt: return 1 / std::sqrt(a);
  case Fn::tanh: return std::tanh(a);
  case Fn::erf: return std::erf(a);
  case Fn::floor: return std::floor(a);
  case Fn::round: return std::nearbyint(a);
  case Fn::less: return a < args[1];
  case Fn::less_equal: return a <= args[1];
  case Fn::equal: return a == args[1];
  case Fn::both: return a != 0 && args[1] != 0;
  case Fn::either: return a != 0 || args[1] != 0;
  case Fn::negate: return a == 0;
  case Fn::select: return a != 0 ? args[1] : args[2];
  case Fn::random:
    return random_unit(static_cast<uint64_t>(static_cast<int64_t>(a)),
                       static_cast<uint64_t>(static_cast<int64_t>(args[1])));
  default: throw InternalError(fmt::format("apply: {} is not a function of numbers", to_string(fn)));
  }
}

int64_t apply(Fn fn, const int64_t* args)
{
  // Through unsigned numbers: these wrap around instead of being undefined.
  auto u = [&](int i) { return static_cast<uint64_t>(args[i]); };
  int64_t a = args[0];
  switch (fn) {
  case Fn::add: return static_cast<int64_t>(u(0) + u(1));
  case Fn::sub: return static_cast<int64_t>(u(0) - u(1));
  case Fn::mul: return static_cast<int64_t>(u(0) * u(1));
  case Fn::div: return args[1] == 0 ? 0 : args[1] == -1 ? static_cast<int64_t>(-u(0)) : a / args[1];
  case Fn::min: return args[1] < a ? args[1] : a;
  case Fn::max: return args[1] > a ? args[1] : a;
  case Fn::neg: return static_cast<int64_t>(-u(0));
  case Fn::abs: return a < 0 ? static_cast<int64_t>(-u(0)) : a;
  case Fn::less: return a < args[1];
  case Fn::less_equal: return a <= args[1];
  case Fn::equal: return a == args[1];
  case Fn::both: return a != 0 && args[1] != 0;
  case Fn::either: return a != 0 || args[1] != 0;
  case Fn::negate: return a == 0;
  case Fn::select: return a != 0 ? args[1] : args[2];
  default: throw InternalError(fmt::format("apply: {} is not a function of integers", to_string(fn)));
  }
}

int64_t wrap(int64_t value, DType type)
{
  switch (type) {
  case DType::i8: return static_cast<int8_t>(value);
  case DType::u8: return static_cast<uint8_t>(value);
  case DType::i32: return static_cast<int32_t>(value);
  case DType::boolean: return value != 0;
  default: return value;
  }
}

int64_t to_integer(double value)
{
  return value >= 0x1p63 ? INT64_MAX : static_cast<int64_t>(value);
}

double cast_value(DType to, double value)
{
  if (is_float(to))
    return value;
  if (to == DType::boolean)
    return value != 0;
  if (std::isnan(value))
    return 0;
  double lowest = -0x1p63, highest = 0x1p63;
  if (to == DType::i8)
    lowest = -128, highest = 127;
  else if (to == DType::u8)
    lowest = 0, highest = 255;
  else if (to == DType::i32)
    lowest = -0x1p31, highest = 0x1p31 - 1;
  return std::min(std::max(std::trunc(value), lowest), highest) + 0.0; // + 0: an integer has no negative zero
}

} // namespace cnnc
