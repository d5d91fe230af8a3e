#include "ir/interpret.h"
#include "ir/random.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

using namespace cnnc;

namespace {

const Dim n{1, true};
constexpr double infinity = std::numeric_limits<double>::infinity();

Tensor tensor(std::vector<int64_t> dims, std::vector<double> values, DType dtype = DType::f32)
{
  Tensor t(dtype, std::move(dims));
  REQUIRE(t.size() == static_cast<int64_t>(values.size()));
  for (size_t i = 0; i < values.size(); ++i)
    t.set(static_cast<int64_t>(i), values[i]);
  return t;
}

// Small integers: sums of products are exact in any order.
Tensor integers(std::vector<int64_t> dims, uint32_t seed)
{
  Tensor t(DType::f32, std::move(dims));
  std::mt19937 random(seed);
  for (int64_t i = 0; i < t.size(); ++i)
    t.set(i, static_cast<double>(random() % 15) - 7);
  return t;
}

std::vector<double> values(const Tensor& t)
{
  std::vector<double> result;
  for (int64_t i = 0; i < t.size(); ++i)
    result.push_back(t.get(i));
  return result;
}

struct Case {
  std::vector<BoundInput> inputs;
  std::vector<OperandSpec> outputs;
  Symbols symbols;
  std::vector<const Tensor*> data;

  Case& in(std::string_view spec, const Tensor& t, bool batch = false)
  {
    Shape shape;
    for (int64_t d : t.dims)
      shape.push_back({d, false});
    if (batch)
      shape[0] = n;
    inputs.push_back({parse_operand_spec(spec), TensorType{t.dtype, shape}});
    data.push_back(&t);
    return *this;
  }
  Case& out(std::string_view spec)
  {
    outputs.push_back(parse_operand_spec(spec));
    return *this;
  }
  std::vector<Tensor> run(std::string_view text, bool doubles = false) const
  {
    Formula f = bind_formula(text, inputs, outputs, symbols, {});
    verify(f);
    return interpret(f, data, doubles);
  }
};

} // namespace

TEST_CASE("a convolution as loops say it, for strides, paddings and dilations")
{
  for (int64_t stride : {1, 2, 3})
    for (int64_t pad : {0, 1, 4})
      for (int64_t dilation : {1, 2}) {
        constexpr int64_t batch = 2, C = 3, H = 7, W = 6, O = 4, K = 3;
        Tensor x = integers({batch, C, H, W}, 1), weight = integers({O, C, K, K}, 2), bias = integers({O}, 3);
        int64_t h_out = (H + 2 * pad - dilation * (K - 1) - 1) / stride + 1;
        int64_t w_out = (W + 2 * pad - dilation * (K - 1) - 1) / stride + 1;
        Case c;
        c.in("x[N,C,H,W]", x, true).in("weight[O,C,K,K]", weight).in("bias[O]", bias).out("y");
        c.symbols = {{"s", stride}, {"p", pad}, {"d", dilation}};
        std::vector<Tensor> y = c.run("y[n,o,h,w] = bias[o]\n"
                                      "y[n,o,h,w] += x[n,c,h*s + i*d - p,w*s + j*d - p] * weight[o,c,i,j]\n"
                                      "where h < (H + 2*p - d*(K-1) - 1)/s + 1, w < (W + 2*p - d*(K-1) - 1)/s + 1");
        REQUIRE(y[0].dims == std::vector<int64_t>{batch, O, h_out, w_out});
        std::vector<double> expected;
        for (int64_t b = 0; b < batch; ++b)
          for (int64_t o = 0; o < O; ++o)
            for (int64_t h = 0; h < h_out; ++h)
              for (int64_t w = 0; w < w_out; ++w) {
                double sum = bias.get(o);
                for (int64_t ch = 0; ch < C; ++ch)
                  for (int64_t i = 0; i < K; ++i)
                    for (int64_t j = 0; j < K; ++j) {
                      int64_t r = h * stride + i * dilation - pad, q = w * stride + j * dilation - pad;
                      if (r >= 0 && r < H && q >= 0 && q < W)
                        sum += x.get(((b * C + ch) * H + r) * W + q) * weight.get(((o * C + ch) * K + i) * K + j);
                    }
                expected.push_back(sum);
              }
        CHECK(values(y[0]) == expected);
      }
}

TEST_CASE("max= keeps the first winner and its tap; outside never wins")
{
  Tensor x = tensor({1, 6}, {-1, -5, 2, 2, -3, 2});
  std::vector<Tensor> y =
      Case().in("x[N,W]", x, true).out("y").out("tap").run("y[n,w], tap max= x[n,2*w + j - 1] where w < 4, j < 3");
  CHECK(values(y[0]) == std::vector<double>{-1, 2, 2, 2});
  CHECK(values(y[1]) == std::vector<double>{1, 1, 0, 0});
  CHECK(y[1].dtype == DType::u8);

  double nan = std::nan("");
  Tensor z = tensor({2, 3}, {nan, 1, nan, 3, nan, 4});
  y = Case().in("x[A,B]", z).out("y").out("tap").run("y[a], tap min= x[a,b]");
  CHECK(values(y[0]) == std::vector<double>{1, 3});
  CHECK(values(y[1]) == std::vector<double>{1, 0});
  // The reduction's digits: the last index is the fastest.
  Tensor p = tensor({2, 3}, {0, 0, 0, 0, 0, 9});
  y = Case().in("x[A,B]", p).out("y").out("tap").run("y[], tap max= x[a,b]");
  CHECK(y[1].get(0) == 5);
  y = Case().in("x[A,B]", p).out("y").out("tap").run("y[], tap max= x[a,b] where b < 3, a < 2");
  CHECK(y[1].get(0) == 5);
  p = tensor({2, 3}, {0, 0, 0, 9, 0, 0});
  y = Case().in("x[A,B]", p).out("y").out("tap").run("y[], tap max= x[a,b] where b < 3, a < 2");
  CHECK(y[1].get(0) == 1);
}

TEST_CASE("an update starts from its identity, also where a dropped statement came first")
{
  Tensor x = tensor({2}, {1, 2});
  CHECK(values(Case().in("x", x).out("y[4]").run("y[i] += x[i]")[0]) == std::vector<double>{1, 2, 0, 0});
  CHECK(values(Case().in("x", x).out("y[3]").run("y[i] max= x[i]")[0]) == std::vector<double>{1, 2, -infinity});
  CHECK(values(Case().in("x", x).out("y[3]").run("y[i] min= x[i]")[0]) == std::vector<double>{1, 2, infinity});
  CHECK(values(Case().in("x", x).out("y[3]").run("y[i] = x[i]; y[i] += 1 where i < 3")[0]) ==
        std::vector<double>{2, 3, 1});
  Case c;
  c.in("x", x).out("y");
  c.inputs.push_back({parse_operand_spec("b?"), {}});
  CHECK(values(c.run("y[i] = b[i]; y[i] += x[i]")[0]) == std::vector<double>{1, 2});
}

TEST_CASE("average, softmax, broadcast")
{
  Tensor x = tensor({1, 4}, {1, 2, 3, 6});
  std::vector<Tensor> y =
      Case()
          .in("x[N,W]", x, true)
          .out("y")
          .run("s[n,w] += x[n,w + j - 1] where w < 4, j < 3\nd[w] += inside(x[0,w + j - 1]) where w < 4, j < 3\n"
               "y[n,w] = s[n,w] / d[w]");
  CHECK(values(y[0]) == std::vector<double>{1.5, 2, tensor({1}, {11.0 / 3}).get(0), 4.5});

  y = Case()
          .in("x[N,C]", x, true)
          .out("y")
          .run("m[n] max= x[n,c]; e[n,c] = exp(x[n,c] - m[n]); z[n] += e[n,c]; y[n,c] = e[n,c] / z[n]", true);
  REQUIRE(y[0].dtype == DType::f64);
  double sum = 0;
  for (double v : {1.0, 2.0, 3.0, 6.0})
    sum += std::exp(v - 6);
  CHECK(y[0].get(2) == doctest::Approx(std::exp(-3.0) / sum).epsilon(1e-15));

  Tensor a = tensor({2, 2}, {1, 2, 3, 4}), b = tensor({2, 1}, {10, 20});
  CHECK(values(Case().in("a", a).in("b", b).out("y").run("y[...] = a[...] * b[...]")[0]) ==
        std::vector<double>{10, 20, 60, 80});
}

TEST_CASE("a scatter skips what falls outside its target, and sums what meets")
{
  Tensor dy = tensor({1, 3}, {1, 10, 100}), w = tensor({3}, {1, 2, 3});
  std::vector<Tensor> dx =
      Case().in("dy[N,H]", dy, true).in("w[K]", w).out("dx[N,5]").run("dx[n,2*h + i - 1] += dy[n,h] * w[i]");
  CHECK(values(dx[0]) == std::vector<double>{2, 3 + 10, 20, 30 + 100, 200});
}

TEST_CASE("a read with a question mark is zero outside, and skips nothing")
{
  Tensor x = tensor({3}, {1, 2, 3});
  CHECK(values(Case().in("x[W]", x).out("y[5]").run("y[i] = x[i - 1]? + 10 where i < 5")[0]) ==
        std::vector<double>{10, 11, 12, 13, 10});
  CHECK(values(Case().in("x[W]", x).out("y[3]").run("y[i] = x[i]? * 2")[0]) == std::vector<double>{2, 4, 6});
  // Also a product's, whose terms a sum would otherwise leave out.
  CHECK(values(Case().in("x[W]", x).out("y[]").run("y[] += (x[i]? + 1) where i < 5")[0]) == std::vector<double>{11});
}

TEST_CASE("results are rounded to their type after each statement, unless doubles are asked for")
{
  Tensor x = tensor({1}, {1.0 / 3});
  double third = x.get(0);
  Case c;
  c.in("x", x).out("y");
  CHECK(c.run("t[i] = x[i] * x[i]; y[i] = t[i] * 3")[0].get(0) ==
        static_cast<float>(static_cast<double>(static_cast<float>(third * third)) * 3));
  CHECK(c.run("t[i] = x[i] * x[i]; y[i] = t[i] * 3", true)[0].get(0) == third * third * 3);
  Case bf16;
  bf16.in("x", x).out("y:bf16");
  CHECK(bf16.run("y[i] = x[i]")[0].get(0) == 0.333984375);
}

TEST_CASE("integers: exact, wrapping, with 64 bits")
{
  Tensor big(DType::i64, {2});
  big.data<int64_t>()[0] = (int64_t{1} << 60) + 1;
  big.data<int64_t>()[1] = -7;
  std::vector<Tensor> y = Case().in("x", big).out("y").out("q:bool").run("y[i] = x[i] + i; q[i] = x[i] < 0");
  CHECK(y[0].data<int64_t>()[0] == (int64_t{1} << 60) + 1);
  CHECK(y[0].data<int64_t>()[1] == -6);
  CHECK(values(y[1]) == std::vector<double>{0, 1});
  Tensor bytes = tensor({3}, {200, 100, 7}, DType::u8);
  CHECK(values(Case().in("x", bytes).out("y").run("y[i] = x[i] + x[i]")[0]) == std::vector<double>{144, 200, 14});
  CHECK(values(Case().in("x", bytes).out("y:i32").run("y[] += cast(i32, x[i]) / 2")[0]) == std::vector<double>{153});
  Tensor label = tensor({2}, {2, 0}, DType::i32), p = tensor({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(values(Case()
                   .in("p[N,C]", p, true)
                   .in("l[N]:i32", label, true)
                   .out("y")
                   .run("y[] += select(c == l[n], p[n,c], 0) / N")[0]) == std::vector<double>{3.5});
}

TEST_CASE("random numbers come from key and counter")
{
  Tensor seed(DType::i64, {});
  seed.data<int64_t>()[0] = static_cast<int64_t>(seed_key(42));
  Case c;
  c.in("seed[]", seed).out("y[300]:f32");
  std::vector<Tensor> y = c.run("y[i] = random(seed[], 2*i + 1)");
  for (int64_t i : {0, 1, 127, 128, 299})
    CHECK(y[0].get(i) == random_unit(seed_key(42), static_cast<uint64_t>(2 * i + 1)));
}

TEST_CASE("empty boxes and empty batches")
{
  Tensor x(DType::f32, {0, 3}), y(DType::f32, {3, 0});
  CHECK(Case().in("x[N,C]", x, true).out("y").run("y[n,c] = x[n,c]")[0].dims == std::vector<int64_t>{0, 3});
  CHECK(values(Case().in("x[C,K]", y).out("y").run("y[c] += x[c,k]")[0]) == std::vector<double>{0, 0, 0});
}

TEST_CASE("inputs that do not fit are refused")
{
  Tensor x = tensor({2, 3}, {1, 2, 3, 4, 5, 6}), other = tensor({3}, {1, 2, 3});
  Formula f = bind_formula("y[n,c] = x[n,c] * b[c]",
                           {{parse_operand_spec("x"), TensorType{DType::f32, {n, {3}}}},
                            {parse_operand_spec("b"), TensorType{DType::f32, {{3}}}}},
                           {parse_operand_spec("y")}, {}, {});
  CHECK(interpret(f, {&x, &other}).size() == 1);
  CHECK_THROWS_AS(interpret(f, {&x}), Error);
  CHECK_THROWS_AS(interpret(f, {&other, &x}), Error);
  CHECK_THROWS_AS(interpret(f, {&x, nullptr}), Error);
}
