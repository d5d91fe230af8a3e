// Scatter and gather give the same numbers, exactly: whole numbers have no rounding.
#include "ir/gather.h"

#include "ir/subscripts.h"
#include "tests/ir/formula_fixture.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

bool are_equal(const Tensor& a, const Tensor& b)
{
  bool equal = a.dims == b.dims;
  for (int64_t i = 0; equal && i < a.size(); i++)
    equal = a.get(i) == b.get(i);
  return equal;
}

// Interprets the scatter, its gather, and the gather's text read back. True where something was gathered.
bool compare(const Formula& scatter)
{
  std::vector<Tensor> inputs;
  for (const FormulaTensor& tensor : scatter.tensors)
    if (tensor.role == Role::input)
      inputs.push_back(tensor.type.dtype == DType::u8 ? Tensor() : whole_numbers(tensor.type, inputs.size() + 1));
  for (size_t t = 0; t < inputs.size(); t++)
    if (inputs[t].dims.empty() && !scatter.tensors[t].type.shape.empty()) {
      inputs[t] = whole_numbers(scatter.tensors[t].type, t + 1);
      for (int64_t i = 0; i < inputs[t].size(); i++)
        inputs[t].set(i, static_cast<double>((i * 7 + i / 3) % 9)); // taps of a window of nine
    }
  Formula gathered = scatter;
  int count = gather_scatters(gathered);
  verify(gathered);
  for (const Statement& s : gathered.statements)
    CHECK_MESSAGE(is_one_to_one(s), to_string(s, gathered));
  std::vector<Tensor> want = run(scatter, inputs), got = run(gathered, inputs), again = run(reread(gathered), inputs);
  for (size_t i = 0; i < want.size(); i++) {
    CHECK_MESSAGE(are_equal(want[i], got[i]), to_string(scatter) << "\n=>\n" << to_string(gathered));
    CHECK_MESSAGE(are_equal(want[i], again[i]), to_string(gathered));
  }
  return count > 0;
}

int64_t output_size(int64_t input, int64_t k, int64_t s, int64_t d, int64_t p)
{
  return floor_div(input + 2 * p - d * (k - 1) - 1, s) + 1;
}

} // namespace

TEST_CASE("every stride, dilation, kernel and padding gathers what it scatters")
{
  int cases = 0, gathers = 0;
  for (int64_t size : {5, 7, 12})
    for (int64_t s = 1; s <= 4; s++)
      for (int64_t d = 1; d <= 4; d++)
        for (int64_t k = 1; k <= 5; k++)
          for (int64_t p = 0; p <= 3; p++) {
            int64_t out = output_size(size, k, s, d, p);
            if (out < 1)
              continue;
            cases++;
            for (std::string w : {"w[i]", "w[K - 1 - i]"})
              gathers += compare(bind_text(fmt::format("dx[h*{} + i*{} - {}] += dy[h] * {} where i < K", s, d, p, w),
                                           {{"dy[H]", {out}}, {"w[K]", {k}}}, {fmt::format("dx[{}]", size)}));
          }
  CHECK(cases > 400);
  CHECK(gathers > 700); // the others do not meet: k = 1, or a stride as wide as the window
}

TEST_CASE("two strided dimensions have the phases of both")
{
  for (int64_t s : {1, 2, 3})
    for (int64_t p : {0, 1, 2})
      for (int64_t k : {3, 4}) {
        int64_t height = output_size(8, k, s, 1, p), width = output_size(7, 3, 2, 2, 1);
        CHECK(compare(
            bind_text(fmt::format("dx[n, c, h*{0} + i - {1}, w*2 + j*2 - 1] += dy[n,o,h,w] * w_[o,c,i,j]", s, p),
                      {{"dy[N,O,H,W]", {1, 3, height, width}, DType::f64, true}, {"w_[O,C,K,L]", {3, 2, k, 3}}},
                      {"dx[N,C,8,7]"})));
      }
}

TEST_CASE("a tap's number moves with its window")
{
  CHECK(compare(
      bind_text("dx[n, c, 2*h + i - 1, 2*w + j - 1] += select(tap[n,c,h,w] == cast(u8, 3*i + j), dy[n,c,h,w], 0)"
                " where i < 3, j < 3",
                {{"tap[N,C,H,W]", {1, 2, 4, 3}, DType::u8, true}, {"dy[N,C,H,W]", {1, 2, 4, 3}, DType::f64, true}},
                {"dx[N,C,8,6]"})));
}

TEST_CASE("output_padding only makes the range longer")
{
  CHECK(compare(bind_text("y[3*h + i] += x[h] * w[i]", {{"x[H]", {4}}, {"w[K]", {5}}}, {"y[17]"})));
}

TEST_CASE("an index that counts down is solved for as well")
{
  CHECK(compare(bind_text("y[9 - 2*h + i] += x[h] * w[i]", {{"x[H]", {5}}, {"w[K]", {3}}}, {"y[12]"})));
  CHECK(compare(bind_text("y[h - i] += x[h] * w[i]", {{"x[H]", {5}}, {"w[K]", {3}}}, {"y[5]"})));
}

TEST_CASE("two windows at once")
{
  CHECK(compare(
      bind_text("y[4*h + 2*i + j] += x[h] * a[i] * b[j]", {{"x[H]", {5}}, {"a[I]", {4}}, {"b[J]", {5}}}, {"y[30]"})));
  CHECK(compare(
      bind_text("y[2*h + 3*i + j] += x[h] * a[i] * b[j]", {{"x[H]", {6}}, {"a[I]", {2}}, {"b[J]", {3}}}, {"y[30]"})));
}

TEST_CASE("what meets nowhere stays")
{
  CHECK_FALSE(compare(
      bind_text("y[n, 20*c + 5*h + w] += x[n,c,h,w]", {{"x[N,C,H,W]", {1, 3, 4, 5}, DType::f64, true}}, {"y[N,60]"})));
  CHECK_FALSE(compare(bind_text("y[2*h + i] += x[h] * w[i]", {{"x[H]", {4}}, {"w[I]", {2}}}, {"y[9]"})));
  CHECK_FALSE(compare(
      bind_text("y[4*g + o, i] += x[g,o,c] * w[c,i]", {{"x[G,O,C]", {2, 4, 3}}, {"w[C,I]", {3, 2}}}, {"y[8,2]"})));
}

TEST_CASE("what no read proves stays a scatter")
{
  Formula formula = bind_text("y[h + i] += x[2*h] * w[2*i] where h < 5, i < 3", {{"x[H]", {9}}, {"w[I]", {5}}}, {"y[7]"}, {});
  CHECK_FALSE(gather(formula.statements[0], formula));
}

TEST_CASE("the phases of a 3x3 window with stride 2")
{
  Formula formula = bind_text("dx[2*h + i - 1] += dy[h] * w[i]", {{"dy[H]", {4}}, {"w[K]", {3}}}, {"dx[7]"});
  gather_scatters(formula);
  REQUIRE(formula.statements.size() == 2);
  CHECK(formula.statements[0].at[0] == Affine::of(0, 2));
  CHECK(formula.statements[0].indices.size() == 1); // one tap: no sum
  CHECK(formula.statements[1].at[0] == Affine::of(0, 2) + 1);
  CHECK(formula.statements[1].indices.size() == 2);
}
