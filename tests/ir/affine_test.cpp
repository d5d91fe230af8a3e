#include "ir/affine.h"
#include "ir/checked.h"

#include <doctest/doctest.h>

using namespace cnnc;

namespace {

std::string show(const Affine& a)
{
  return to_string(a, [](int i) { return i == batch_index ? "N" : std::string(1, static_cast<char>('a' + i)); });
}

const Affine a = Affine::of(0), b = Affine::of(1);

} // namespace

TEST_CASE("affine sums keep their terms in order and lose those that cancel")
{
  CHECK(show(b * 2 + a - 1) == "a + 2*b - 1");
  CHECK(show(Affine(3) - a) == "-a + 3");
  CHECK(show(a * -2 - b) == "-2*a - b");
  CHECK(show(a - a) == "0");
  CHECK(show((a + b * 3) * 0) == "0");
  CHECK(show(Affine::of(batch_index, 4) + b) == "4*N + b");
  CHECK((a + b) - b == a);
  CHECK(a.bare() == 0);
  CHECK((a + 1).bare() == -2);
  CHECK((a * 2).bare() == -2);
  CHECK(Affine(5).is_constant());
}

TEST_CASE("substitution, bounds and values")
{
  Affine e = a * 3 - b + 1;
  CHECK(show(substitute(e, 0, b * 2 + 5)) == "5*b + 16");
  CHECK(show(renumber(e, [](int i) { return 1 - i; })) == "-a + 3*b + 1");
  Interval r = range(e, [](int i) { return i == 0 ? Interval{-1, 2} : Interval{0, 4}; });
  CHECK(r.lo == -6);
  CHECK(r.hi == 7);
  CHECK(evaluate(e, [](int i) { return i + 10; }) == 20);
}

TEST_CASE("quotients round towards minus infinity")
{
  CHECK(floor_div(-7, 2) == -4);
  CHECK(floor_div(7, -2) == -4);
  CHECK(floor_div(-8, 2) == -4);
  CHECK(ceil_div(-7, 2) == -3);
  CHECK(ceil_div(7, 2) == 4);
}

TEST_CASE("checked arithmetic tells where the plain one would wrap around")
{
  CHECK(checked_add(INT64_MAX, 1) == std::nullopt);
  CHECK(checked_mul(INT64_MIN, -1) == std::nullopt);
  CHECK(checked_sub(5, 7) == -2);
  CHECK(checked_add(a * INT64_MAX, a) == std::nullopt);
  CHECK(checked_sub(Affine(0), Affine(INT64_MIN)) == std::nullopt);
  CHECK(checked_mul(a * 3 + 1, 2) == a * 6 + 2);
  CHECK(checked_add(a + b, a * -1 + 4) == b + 4);
  CHECK_FALSE(checked_range(a * (INT64_MAX / 2), [](int) { return 100; }));
  CHECK(checked_range(a * 3 - b, [](int) { return 4; })->lo == -3);
}
