#include "ir/expr.h"
#include "ir/location.h"
#include "ir/random.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace cnnc;

namespace {

const ExprNames names{[](int t) { return std::string(1, static_cast<char>('x' + t)); },
                      [](int i) { return i == batch_index ? "N" : std::string(1, static_cast<char>('h' + i)); }};

std::string show(const ExprPtr& e)
{
  return to_string(*e, names);
}

const Affine h = Affine::of(0), i = Affine::of(1);
const ExprPtr x = read(0, DType::f32, {h, h + i - 1}), y = read(1, DType::f32, {i});

ExprPtr number(double value)
{
  return constant(value, DType::f32);
}

} // namespace

TEST_CASE("calls check their arguments")
{
  CHECK_THROWS_AS(call(Fn::add, {x}), InternalError);
  CHECK_THROWS_AS(call(Fn::add, {x, constant(1, DType::f64)}), InternalError);
  CHECK_THROWS_AS(call(Fn::exp, {index_value(h)}), InternalError);
  CHECK_THROWS_AS(call(Fn::both, {x, y}), InternalError);
  CHECK_THROWS_AS(call(Fn::select, {x, x, y}), InternalError);
  CHECK_THROWS_AS(call(Fn::random, {x, y}), InternalError);
  CHECK_THROWS_AS(call(Fn::read, {}), InternalError);
  CHECK(call(Fn::less, {x, y})->type == DType::boolean);
  CHECK(call(Fn::random, {index_value(h), index_value(i)})->type == DType::f32);
}

TEST_CASE("constants and neutral elements fold, NaN survives")
{
  CHECK(show(call(Fn::mul, {number(2), number(3)})) == "6");
  CHECK(call(Fn::add, {x, number(0)}) == x);
  CHECK(call(Fn::mul, {number(1), x}) == x);
  CHECK(show(call(Fn::mul, {x, number(0)})) == "x[h,h + i - 1] * 0");
  CHECK(show(call(Fn::select, {call(Fn::less, {number(1), number(2)}), x, y})) == show(x));
  CHECK(call(Fn::neg, {call(Fn::neg, {x})}) == x);
  CHECK(show(cast(DType::i32, number(-2.7))) == "-2");
  CHECK(cast(DType::u8, constant(300, DType::i32))->value == 44);
  CHECK(cast(DType::u8, number(300))->value == 255);
  CHECK(call(Fn::div, {constant(-7, DType::i32), constant(2, DType::i32)})->value == -3);
  CHECK(call(Fn::div, {constant(-7, DType::i32), constant(0, DType::i32)})->value == 0);
  // Index values stay affine.
  ExprPtr sum = call(Fn::sub, {call(Fn::mul, {constant(2, DType::i64), index_value(h)}), index_value(i + 3)});
  CHECK(sum->fn == Fn::index);
  CHECK(show(sum) == "2*h - i - 3");
  CHECK(call(Fn::mul, {index_value(h), constant(0x1p52, DType::i64)})->fn == Fn::index);
  CHECK(call(Fn::mul, {call(Fn::mul, {index_value(h), constant(0x1p52, DType::i64)}), constant(0x1p52, DType::i64)})
            ->fn == Fn::mul);
}

TEST_CASE("printing brackets what needs brackets")
{
  ExprPtr sum = call(Fn::add, {x, y}), difference = call(Fn::sub, {y, sum});
  CHECK(show(difference) == "y[i] - (x[h,h + i - 1] + y[i])");
  CHECK(show(call(Fn::sub, {sum, y})) == "x[h,h + i - 1] + y[i] - y[i]");
  CHECK(show(call(Fn::div, {y, call(Fn::mul, {y, y})})) == "y[i] / (y[i] * y[i])");
  CHECK(show(call(Fn::neg, {sum})) == "-(x[h,h + i - 1] + y[i])");
  CHECK(show(call(Fn::mul, {y, number(-2)})) == "y[i] * -2");
  CHECK(show(call(Fn::mul, {y, number(-0.0)})) == "y[i] * -0.0");
  CHECK(show(call(Fn::max, {y, number(-std::numeric_limits<double>::infinity())})) == "max(y[i], -inf)");
  CHECK(show(call(Fn::negate,
                  {call(Fn::both, {call(Fn::equal, {y, number(1)}), inside({h, 4, i - 1, Affine::of(-1)})})})) ==
        "not (y[i] == 1 and inside(h,4,i - 1,N))");
  CHECK(show(call(Fn::mul, {cast(DType::f32, index_value(h * 2)), y})) == "cast(f32, 2*h) * y[i]");
  CHECK(show(call(Fn::add, {y, number(0.1)})) == "y[i] + 0.1");
}

TEST_CASE("rewriting rebuilds what changed and keeps the rest")
{
  ExprPtr sum = call(Fn::add, {call(Fn::exp, {x}), y});
  CHECK(transform(sum, [](const ExprPtr& e) { return e; }) == sum);
  ExprPtr zero = transform(sum, [](const ExprPtr& e) { return e->fn == Fn::read && e->tensor == 1 ? number(0) : e; });
  CHECK(show(zero) == "exp(x[h,h + i - 1])");
  CHECK(show(map_affine(sum, [](const Affine& a) { return substitute(a, 0, Affine(2)); })) == "exp(x[2,i + 1]) + y[i]");
  CHECK(reads(*sum, 1));
  CHECK_FALSE(reads(*zero, 1));
  CHECK(equal(*sum, *call(Fn::add, {call(Fn::exp, {x}), y})));
  CHECK_FALSE(equal(*sum, *call(Fn::add, {y, call(Fn::exp, {x})})));
  CHECK_FALSE(equal(*number(0), *number(-0.0)));
  CHECK(equal(*number(std::nan("")), *number(std::nan(""))));
}

TEST_CASE("functions on doubles and on integers")
{
  double nan = std::nan("");
  double ab[] = {2, 3}, with_nan[] = {nan, 3}, nan_last[] = {3, nan};
  CHECK(apply(Fn::pow, ab) == 8);
  CHECK(apply(Fn::rsqrt, ab) == 1 / std::sqrt(2.0));
  CHECK(std::isnan(apply(Fn::max, with_nan))); // select(b > a, b, a)
  CHECK(apply(Fn::max, nan_last) == 3);
  CHECK(apply(Fn::less, with_nan) == 0);
  double key[] = {12345, 7};
  CHECK(apply(Fn::random, key) == random_unit(12345, 7));
  int64_t big[] = {INT64_MAX, 1}, lowest[] = {INT64_MIN, -1};
  CHECK(apply(Fn::add, big) == INT64_MIN);
  CHECK(apply(Fn::div, lowest) == INT64_MIN);
  CHECK(wrap(200, DType::i8) == -56);
  CHECK(wrap(2, DType::boolean) == 1);
  CHECK(cast_value(DType::i32, 1e20) == 2147483647);
  CHECK(cast_value(DType::i8, -3.9) == -3);
  CHECK(cast_value(DType::i64, nan) == 0);
}
