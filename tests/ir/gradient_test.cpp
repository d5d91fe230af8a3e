// Derived adjoints against central differences, in double precision through the interpreter.
#include "ir/gradient.h"

#include "ir/gather.h"
#include "tests/ir/formula_fixture.h"

#include <doctest/doctest.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

struct Case {
  const char* name;
  std::string text;
  std::vector<Operand> inputs;
  std::vector<std::string> outputs = {"y"};
  bool positive = false; // operands of log, sqrt, pow
};

const Operand image{"x[N,C,H,W]", {2, 2, 6, 5}, DType::f64, true};
const Operand rows{"x[N,C]", {2, 5}, DType::f64, true};

const Case cases[] = {
    {"convolution",
     "y[n,o,h,w] = b[o]\n"
     "y[n,o,h,w] += x[n,c,h + i - 1,w + j - 1] * f[o,c,i,j]",
     {image, {"f[O,C,KH,KW]", {3, 2, 3, 3}}, {"b[O]", {3}}},
     {"y[N,O,H,W]"}},
    {"strided, dilated, asymmetric",
     "y[n,o,h,w] += x[n,c,2*h + 2*i - 1,3*w + j - 2] * f[o,c,i,j]",
     {image, {"f[O,C,KH,KW]", {3, 2, 2, 3}}},
     {"y[N,O,3,2]"}},
    {"groups",
     "y[n,2*g + o,h,w] += x[n,g,h + i,w + j] * f[2*g + o,0,i,j] where g < 2, o < 2",
     {image, {"f[O,I,KH,KW]", {4, 1, 3, 2}}},
     {"y[N,O,H - 2,W - 1]"}},
    {"flipped kernel",
     "y[n,o,h,w] += x[n,c,h + i - 1,w + j - 1] * f[o,c,2 - i,2 - j] where i < 3, j < 3",
     {image, {"f[O,C,KH,KW]", {3, 2, 3, 3}}},
     {"y[N,O,H,W]"}},
    {"transposed",
     "y[n,o,2*h + i - 1,2*w + j - 1] += x[n,c,h,w] * f[c,o,i,j]",
     {image, {"f[C,O,KH,KW]", {2, 3, 3, 3}}},
     {"y[N,O,12,9]"}},
    {"unshared filters",
     "y[n,o,h,w] += x[n,c,h + i,w + j] * f[o,h,w,c,i,j]",
     {image, {"f[O,P,Q,C,KH,KW]", {2, 4, 4, 2, 3, 2}}},
     {"y[N,O,P,Q]"}},
    {"max pool",
     "y[n,c,h,w], tap max= x[n,c,2*h + i - 1,2*w + j] where i < 3, j < 3",
     {image},
     {"y[N,C,3,2]", "tap:u8"}},
    {"max pool without a tap", "y[n,c,h,w] max= x[n,c,2*h + i,2*w + j] where i < 2, j < 2", {image}, {"y[N,C,3,2]"}},
    {"least of a row", "y[n] min= x[n,c] * x[n,c] + 0.3 * x[n,c]", {rows}},
    {"average pool",
     "s[n,c,h,w] += x[n,c,2*h + i - 1,2*w + j - 1] where h < 3, w < 3, i < 3, j < 3\n"
     "d[h,w] += select(inside(x[0,0,2*h + i - 1,2*w + j - 1]), 1, 0) where h < 3, w < 3, i < 3, j < 3\n"
     "y[n,c,h,w] = s[n,c,h,w] / d[h,w]",
     {image}},
    {"softmax",
     "m[n] max= x[n,c]\n"
     "e[n,c] = exp(x[n,c] - m[n])\n"
     "z[n] += e[n,c]\n"
     "y[n,c] = e[n,c] / z[n]",
     {rows}},
    {"divided by a sum", "z[n] += x[n,c]\ny[n,c] = x[n,c] / z[n]", {rows}, {"y"}, true},
    {"cross entropy",
     "m[n] max= x[n,c]\n"
     "z[n] += exp(x[n,c] - m[n])\n"
     "y[] += select(c == t[n], log(z[n]) - (x[n,c] - m[n]), 0) / N",
     {rows, {"t[N]:i64", {2}, DType::i64, true}},
     {"y[]"}},
    {"broadcast", "y[...] = a[...] + b[...] * a[...]", {{"a[...]", {2, 3, 4}}, {"b[...]", {3, 1}}}},
    {"tanh", "y[...] = tanh(x[...])", {rows}},
    {"exp", "y[...] = exp(2*x[...])", {rows}},
    {"swish", "y[n,c,h,w] = x[n,c,h,w] / (1 + exp(-x[n,c,h,w]))", {image}},
    {"gelu", "y[...] = 0.5 * x[...] * (1 + erf(x[...] / sqrt(2.0)))", {rows}},
    {"relu", "y[...] = select(x[...] < 0, 0, x[...])", {rows}},
    {"clip", "y[...] = min(max(x[...], -0.51), 0.53)", {rows}},
    {"powers", "y[...] = pow(x[...], 2.5) + pow(x[...], 2) + pow(2.0, x[...])", {rows}, {"y"}, true},
    {"a power of 0", "y[...] = pow(x[...] - x[...], 0) * x[...]", {rows}},
    {"roots", "y[...] = sqrt(x[...]) + rsqrt(x[...]) + log(x[...])", {rows}, {"y"}, true},
    {"abs and floor", "y[...] = abs(x[...]) - floor(x[...]) * x[...]", {rows}},
    {"two reads in one skipped term", "y[n,c] += x[n,c + 1] + x[n,c - 1] where c < C", {rows}, {"y[N,C]"}},
    {"a skipped read that has no part", "y[n,c] += x[n,c] + 3*b[c - 2] where c < C", {rows, {"b[B]", {2}}}, {"y[N,C]"}},
    {"a left side outside", "y[n,c - 1] += x[n,c] + 2", {rows}, {"y[N,3]"}},
    {"concatenation",
     "y[n,c] = a[n,c]\ny[n,c + 3] = b[n,c]",
     {{"a[N,C]", {2, 3}, DType::f64, true}, {"b[N,D]", {2, 2}, DType::f64, true}},
     {"y[N,5]"}},
    {"an output that is read", "s[n] += x[n,c]\ny[n,c] = x[n,c] * s[n]", {rows}, {"y", "s"}},
    {"batch statistics",
     "m[c] += x[n,c] / N\n"
     "v[c] += (x[n,c] - m[c]) * (x[n,c] - m[c]) / N\n"
     "y[n,c] = (x[n,c] - m[c]) * rsqrt(v[c] + 0.1) * g[c] + b[c]",
     {rows, {"g[C]", {5}}, {"b[C]", {5}}}},
    {"counted twice", "y[n] += x[n,0] where k < 3", {rows}},
};

struct Example {
  Formula formula;
  std::vector<Tensor> inputs, weights; // no weights for integer outputs
  std::vector<bool> have_adjoint;
};

Example example(const Case& c)
{
  Example e;
  e.formula = bind_text(c.text, c.inputs, c.outputs);
  for (const FormulaTensor* tensor : with_role(e.formula, Role::input)) {
    Tensor values = is_float(tensor->type.dtype) ? separated_numbers(tensor->type, e.inputs.size() + 1)
                                                 : whole_numbers(tensor->type, 3);
    for (int64_t i = 0; i < values.size(); i++)
      if (!is_float(tensor->type.dtype))
        values.set(i, static_cast<double>(i % 4));
      else if (c.positive)
        values.set(i, values.get(i) / 2 + 1);
    e.inputs.push_back(std::move(values));
  }
  for (const FormulaTensor* tensor : with_role(e.formula, Role::output)) {
    bool is_real = is_float(tensor->type.dtype);
    e.weights.push_back(is_real ? separated_numbers(tensor->type, 7 + e.weights.size()) : Tensor(DType::f64, {0}));
    e.have_adjoint.push_back(is_real);
  }
  return e;
}

} // namespace

TEST_CASE("derived gradients are the differences of the formula")
{
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Example e = example(c);
    std::vector<const FormulaTensor*> inputs = with_role(e.formula, Role::input);
    for (size_t k = 0; k < inputs.size(); k++) {
      if (!is_float(inputs[k]->type.dtype))
        continue;
      CAPTURE(inputs[k]->name);
      Gradient gradient = derive(e.formula, {static_cast<int>(k)}, e.have_adjoint, {});
      verify(gradient.formula);
      std::string text = to_string(e.formula) + "\n=>\n" + to_string(gradient.formula);
      REQUIRE_MESSAGE(gradient.wanted == std::vector<int>{static_cast<int>(k)}, text);
      Tensor want = differences(e.formula, e.inputs, k, e.weights);
      auto value = [&](const Formula& formula) { return run(gradient, formula, e.formula, e.inputs, e.weights).at(0); };
      check_near(value(gradient.formula), want, text);
      Formula gathered = gradient.formula;
      gather_scatters(gathered);
      check_near(value(gathered), want, text + "\n=>\n" + to_string(gathered));
      check_near(value(reread(gathered)), want, text + "\n=>\n" + to_string(gathered));
    }
  }
}

TEST_CASE("all wanted inputs at once are the same as one by one")
{
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Example e = example(c);
    std::vector<int> wanted;
    for (const FormulaTensor* tensor : with_role(e.formula, Role::input)) {
      if (is_float(tensor->type.dtype))
        wanted.push_back(static_cast<int>(wanted.size()));
      else
        break;
    }
    Gradient all = derive(e.formula, wanted, e.have_adjoint, {});
    verify(all.formula);
    CHECK(all.wanted.size() == wanted.size());
    std::vector<Tensor> together = run(all, all.formula, e.formula, e.inputs, e.weights);
    for (size_t i = 0; i < all.wanted.size(); i++) {
      Gradient one = derive(e.formula, {all.wanted[i]}, e.have_adjoint, {});
      check_near(together[i], run(one, one.formula, e.formula, e.inputs, e.weights).at(0), to_string(all.formula));
    }
  }
}

TEST_CASE("the texts of gradients")
{
  auto text = [](const Case& c, int wanted) {
    Example e = example(c);
    return to_string(derive(e.formula, {wanted}, e.have_adjoint, {}).formula);
  };
  auto find = [](std::string_view name) -> const Case& {
    for (const Case& c : cases)
      if (c.name == name)
        return c;
    throw std::logic_error("no such case");
  };
  // An output is read rather than an input, and what covers everything is assigned.
  CHECK(text(find("tanh"), 0) == "dx[n,c] = dy[n,c] * (1 - y[n,c] * y[n,c]) where n < N, c < 5");
  // Zeros do not add terms, and a bias's gradient reads the adjoint alone.
  CHECK(text(find("convolution"), 2).find("db[o] += dy[n,o,h,w]") == 0);
  CHECK(text(find("convolution"), 0).find("dx[n,c,h + i - 1,w + j - 1] += dy[n,o,h,w] * f[o,c,i,j]") == 0);
}

TEST_CASE("a gradient that is zero is left out")
{
  Example e = example({"floor", "y[...] = floor(x[...]) + select(x[...] < 0, 1, 2)", {rows}});
  CHECK(derive(e.formula, {0}, {true}, {}).wanted.empty());
}

TEST_CASE("what reverse mode cannot do is refused")
{
  auto refuses = [](const std::string& text) {
    Formula formula = bind_text(text, {rows}, {"y"});
    CHECK_THROWS_AS(derive(formula, {0}, {true}, {}), Error);
  };
  refuses("y[n,c] = x[n,c]\ny[n,c] max= 2*x[n,c]");
  refuses("t[n] += x[n,c]\ny[n] = t[n]\nt[n] += x[n,0]");
}
