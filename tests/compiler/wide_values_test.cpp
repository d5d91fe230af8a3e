#include "compiler/program/wide_values.h"

#include <doctest/doctest.h>

using namespace cnnc;

TEST_CASE("few values of most of the error are wide, for the least time")
{
  std::vector<NarrowValue> values(20, {1e-5, 100});
  values[3] = {1e-2, 100};
  values[5] = {1e-3, 10};
  CHECK(wide_values(values) == std::vector<size_t>{3, 5}); // equal gains: as they stand
  values[5].time = 5;
  CHECK(wide_values(values) == std::vector<size_t>{5, 3});
}

TEST_CASE("where no value stands out, or the error is small, none is wide")
{
  CHECK(wide_values({}).empty());
  CHECK(wide_values(std::vector<NarrowValue>(20, {1e-2, 100})).empty());
  std::vector<NarrowValue> values(20, {1e-9, 100});
  values[3].error = 1e-4;
  CHECK(wide_values(values).empty());
  values[3].error = 1e-3;
  CHECK(wide_values(values) == std::vector<size_t>{3});
}

TEST_CASE("wide values take a seventh of the time at most")
{
  std::vector<NarrowValue> values(20, {1e-6, 100});
  values[2] = {1, 400};    // more than that by itself
  values[7] = {1e-2, 100}; // three times its part in the time, of what is left: not with that one
  CHECK(wide_values(values).empty());
  values[2].error = 1e-2;
  CHECK(wide_values(values) == std::vector<size_t>{7});
}
