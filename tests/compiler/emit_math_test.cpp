// exp, log, tanh, erf and pow in f32: at most 2 ulp from long double, over a sample of all bit patterns and a dense one
// of the ordinary range; NaN, infinities, zeros and subnormals as C's Annex F has them.
#include "tests/compiler/run_nest.h"

#include "compiler/machine.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

using namespace cnnc;
using namespace cnnc::test;

namespace {

constexpr int64_t row = 4096;
constexpr float infinity = std::numeric_limits<float>::infinity(),
                not_a_number = std::numeric_limits<float>::quiet_NaN();

// In units of the last place of the result; infinity where a special value is missed.
double ulps(float have, long double want)
{
  float nearest = static_cast<float>(want);
  if (std::isnan(want) || std::isinf(nearest) || std::isnan(have) || std::isinf(have)) {
    bool same = std::isnan(want) ? std::isnan(have) : have == nearest;
    // One ulp across the border to infinity is still an ulp.
    bool border = std::isfinite(want) && std::fabs(have) >= std::numeric_limits<float>::max() &&
                  std::fabs(want) > std::numeric_limits<float>::max() * 0.999999L;
    return same || border ? 0 : std::numeric_limits<double>::infinity();
  }
  int exponent = std::max(std::ilogb(nearest == 0 ? 0x1p-149f : nearest), -126);
  return static_cast<double>(std::fabs(have - want) / std::ldexp(1.0L, exponent - 23));
}

std::vector<float> apply(const std::string& function, const Target& target, const std::vector<float>& x,
                         const std::vector<float>& y)
{
  std::string call = function == "pow" ? "pow(%x[n,l + 16*b], %y[n,l + 16*b])" : function + "(%x[n,l + 16*b])";
  call.append(
      static_cast<size_t>(std::count(call.begin(), call.end(), '(') - std::count(call.begin(), call.end(), ')')), ')');
  Nest nest = parse(fmt::format(
      R"(nest @k(in %x: f32[n,{0}], in %y: f32[n,{0}], out %z: f32[n,{0}]) {{
  parallel n in 0..N {{ for b in 0..{1} {{ lanes l in 0..16 {{ %z[n,16*b + l] = {2} }} }} }}
}})",
      row, row / 16, call));
  int64_t batch = (std::ssize(x) + row - 1) / row;
  std::vector<Tensor> arguments(3, Tensor(DType::f32, {batch, row}));
  std::copy(x.begin(), x.end(), arguments[0].data<float>());
  std::copy(y.begin(), y.end(), arguments[1].data<float>());
  Tensor z = run_compiled(nest, target, arguments, batch, true, 1000).tensors[2];
  return {z.data<float>(), z.data<float>() + x.size()};
}

std::vector<float> sample()
{
  std::vector<float> x{0.0f,        -0.0f,      1.0f,      -1.0f,     infinity,  -infinity,  not_a_number,
                       0x1p-149f,   -0x1p-149f, 0x1p-126f, 88.72283f, 88.72284f, -87.33654f, -103.97208f,
                       -103.97209f, -104.5f,    0.625f,    0.925f,    4.0f};
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 16411)
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  for (float v = -12; v < 12; v += 0x1p-12f * 1.37f)
    x.push_back(v);
  for (float v = -105; v < 90; v += 0.00731f)
    x.push_back(v);
  for (float v = 0.5; v < 2; v += 0x1.1p-16f)
    x.push_back(v);
  return x;
}

std::vector<Target> targets()
{
  std::vector<Target> list{host_target(), make_target("x86-64")};
  if (list[0].fma && list[0].vector_bytes >= 32)
    list.push_back(make_target("x86-64-v3"));
  return list;
}

struct Function {
  const char* name; // what stands before the number and a bracket
  long double (*exact)(long double);
};

void check_functions(const std::vector<Function>& functions)
{
  const std::vector<float> x = sample();
  for (const Target& target : targets())
    for (const Function& function : functions) {
      CAPTURE(target.march);
      const std::string name = function.name;
      CAPTURE(name);
      const std::vector<float> have = apply(name, target, x, x);
      double worst = 0;
      float at = 0;
      for (size_t i = 0; i < x.size(); ++i)
        if (const double error = ulps(have[i], function.exact(x[i])); error > worst)
          worst = error, at = x[i];
      CAPTURE(at);
      CHECK(worst <= 2);
    }
}

} // namespace

TEST_CASE("functions of one number are within 2 ulp")
{
  check_functions({{"exp", [](long double v) { return std::exp(v); }},
                   {"log", [](long double v) { return std::log(v); }},
                   {"tanh", [](long double v) { return std::tanh(v); }},
                   {"erf", [](long double v) { return std::erf(v); }}});
}

TEST_CASE("a number and exp are within 2 ulp of their sum")
{
  check_functions({{"1 + exp", [](long double v) { return 1 + std::exp(v); }},
                   {"1 + exp(-", [](long double v) { return 1 + std::exp(-v); }},
                   {"0.25 + exp(-", [](long double v) { return 0.25L + std::exp(-v); }},
                   {"1e-18 + exp", [](long double v) { return static_cast<long double>(1e-18f) + std::exp(v); }},
                   {"1e-18 + exp(-", [](long double v) { return static_cast<long double>(1e-18f) + std::exp(-v); }},
                   {"1e-30 + exp", [](long double v) { return static_cast<long double>(1e-30f) + std::exp(v); }}});
}

TEST_CASE("a number and erf are right to a unit of the number's last place")
{
  const std::vector<float> x = sample();
  for (const Target& target : targets())
    for (const auto& [name, c] : {std::pair("1 + erf", 1.0), std::pair("3 + erf", 3.0)}) {
      CAPTURE(target.march);
      CAPTURE(c);
      const std::vector<float> have = apply(name, target, x, x);
      double worst = 0;
      float at = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double want = c + std::erf(static_cast<double>(x[i]));
        const double error = std::isnan(x[i]) ? !std::isnan(have[i]) : std::fabs(have[i] - want) / std::max(c, want);
        if (!(error <= worst))
          worst = error, at = x[i];
      }
      CAPTURE(at);
      CHECK(worst <= 0x1.4p-23);
    }
}

TEST_CASE("a zero keeps its sign")
{
  for (std::string name : {"tanh", "erf"}) {
    std::vector<float> have = apply(name, host_target(), {-0.0f, 0.0f}, {0.0f, 0.0f});
    CHECK(std::signbit(have[0]));
    CHECK_FALSE(std::signbit(have[1]));
  }
}

TEST_CASE("pow is within 2 ulp, and special where C says so")
{
  std::vector<float> x, y;
  for (float a : {0.0f, -0.0f, 1.0f, -1.0f, 2.0f, -2.0f, 0.5f, -0.5f, infinity, -infinity, not_a_number, 0x1p-149f,
                  -3.7f, 3.4e38f, 1.0000001f})
    for (float p : {0.0f, -0.0f, 1.0f, -1.0f, 2.0f, 3.0f, -3.0f, -4.0f, 0.5f, -0.75f, 2.5f, infinity, -infinity,
                    not_a_number, 16777215.0f, 16777216.0f, 1e30f, -8388607.0f, 8388607.5f}) {
      x.push_back(a);
      y.push_back(p);
    }
  uint32_t state = 1;
  auto next = [&] { return state = state * 1664525u + 1013904223u; };
  for (int i = 0; i < 300000; ++i) {
    bool any = i % 3 == 0;
    x.push_back(any ? std::bit_cast<float>(next()) : static_cast<float>(next()) * 0x1p-29f);
    y.push_back(any ? std::bit_cast<float>(next()) : static_cast<float>(static_cast<int32_t>(next())) * 0x1p-26f);
  }
  for (const Target& target : targets()) {
    CAPTURE(target.march);
    std::vector<float> have = apply("pow", target, x, y);
    double worst = 0;
    float at = 0, power = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      long double want = std::pow(static_cast<long double>(x[i]), static_cast<long double>(y[i]));
      double error = ulps(have[i], want);
      if (want == 0 && have[i] == 0 && std::signbit(want) != std::signbit(have[i]))
        error = std::numeric_limits<double>::infinity();
      if (error > worst)
        worst = error, at = x[i], power = y[i];
    }
    CAPTURE(at);
    CAPTURE(power);
    CHECK(worst <= 2);
  }
}
