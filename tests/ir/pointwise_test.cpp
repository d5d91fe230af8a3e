// Pointwise ops, reductions and losses on small cases and at the ends of the numbers, through the interpreter.
#include "ir/interpret.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace cnnc;

namespace {

using List = std::vector<double>;
using Ints = std::vector<int64_t>;

constexpr double inf = std::numeric_limits<double>::infinity(), not_a_number = std::numeric_limits<double>::quiet_NaN();

struct Given {
  Ints dims;
  List values;
  DType dtype = DType::f32;
};

Tensor output_of(const std::string& name, const std::vector<Given>& operands, const Attributes& attributes = {})
{
  const OpDef* def = find_op(name);
  REQUIRE(def);
  std::vector<std::optional<TensorType>> types;
  std::vector<Tensor> tensors;
  for (const Given& given : operands) {
    TensorType type{given.dtype, {}};
    for (const int64_t dim : given.dims)
      type.shape.push_back({dim, false});
    types.emplace_back(type);
    Tensor tensor(given.dtype, given.dims);
    REQUIRE(tensor.size() == static_cast<int64_t>(given.values.size()));
    for (int64_t i = 0; i < tensor.size(); ++i)
      tensor.set(i, given.values[static_cast<size_t>(i)]);
    tensors.push_back(tensor);
  }
  const Formula formula = cnnc::bind(*def, types, check_attributes(*def, attributes, false, {}), {});
  std::vector<const Tensor*> inputs;
  for (const Tensor& tensor : tensors)
    inputs.push_back(&tensor);
  return interpret(formula, inputs).at(0);
}

List values_of(const std::string& name, const std::vector<Given>& operands, const Attributes& attributes = {})
{
  const Tensor tensor = output_of(name, operands, attributes);
  List result;
  for (int64_t i = 0; i < tensor.size(); ++i)
    result.push_back(tensor.get(i));
  return result;
}

Given row(List values, DType dtype = DType::f32)
{
  return {{static_cast<int64_t>(values.size())}, values, dtype};
}

void check_near(const List& found, const List& wanted, double tolerance = 1e-6)
{
  REQUIRE(found.size() == wanted.size());
  for (size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    if (std::isfinite(wanted[i]))
      CHECK(std::abs(found[i] - wanted[i]) <= tolerance * std::abs(wanted[i]));
    else
      CHECK((std::isnan(wanted[i]) ? std::isnan(found[i]) : found[i] == wanted[i]));
  }
}

double log1p_exp(double x)
{
  return std::max(x, 0.) + std::log1p(std::exp(-std::abs(x)));
}

} // namespace

TEST_CASE("activations are right where numbers are large, small, infinite or none")
{
  const List x{-100, -20, -1, -1e-6, 0, 1e-6, 1, 20, 100};
  auto expect = [&](const std::string& name, const std::function<double(double)>& f,
                    const Attributes& attributes = {}) {
    CAPTURE(name);
    List wanted;
    for (const double v : x)
      wanted.push_back(f(v));
    check_near(values_of(name, {row(x, DType::f64)}, attributes), wanted, 1e-12);
  };
  expect("softplus", log1p_exp);
  expect("mish", [](double v) { return v * std::tanh(log1p_exp(v)); });
  expect("elu", [](double v) { return v < 0 ? 0.5 * std::expm1(v) : v; }, {{"alpha", 0.5}});
  expect("celu", [](double v) { return v < 0 ? 2 * std::expm1(v / 2) : v; }, {{"alpha", 2.0}});
  expect("selu", [](double v) { return 1.0507010221481323 * (v < 0 ? 1.6732631921768188 * std::expm1(v) : v); });
  expect("swish", [](double v) { return v / (1 + std::exp(-1.5 * v)); }, {{"beta", 1.5}});
  expect("softsign", [](double v) { return v / (1 + std::abs(v)); });
  expect("hard_sigmoid", [](double v) { return std::max(0., std::min(1., 0.2 * v + 0.5)); });
  expect("hard_swish", [](double v) { return v * std::max(0., std::min(1., v / 6 + 0.5)); });
  expect("relu6", [](double v) { return std::max(0., std::min(6., v)); });
  expect("thresholded_relu", [](double v) { return v > 1 ? v : 0; });
  expect("clip", [](double v) { return std::max(-3., std::min(2., v)); }, {{"min", -3.0}, {"max", 2.0}});
  // 0.5*x*(1 + erf) and 1 - tanh lose what cancels.
  const List gelu = values_of("gelu", {row({-1, 0, 2}, DType::f64)});
  check_near(gelu, {-0.5 * std::erfc(1 / std::sqrt(2.)), 0, 1 + std::erf(std::sqrt(2.))}, 1e-12);

  for (const char* name :
       {"relu", "relu6", "clip", "elu", "softplus", "mish", "hard_sigmoid", "sign", "abs", "floor"}) {
    CAPTURE(name);
    CHECK(std::isnan(values_of(name, {row({not_a_number})}).at(0)));
  }
  check_near(values_of("softplus", {row({-inf, inf})}), {0, inf});
  check_near(values_of("elu", {row({-inf, inf})}), {-1, inf});
  check_near(values_of("sign", {row({-inf, -2, 0, 3})}), {-1, -1, 0, 1});
  CHECK(values_of("clip", {row({-5, 1, 5})}, {{"min", 2.0}, {"max", 1.0}}) == List{1, 1, 1});
}

TEST_CASE("integers are computed as integers")
{
  const DType i32 = DType::i32;
  CHECK(values_of("div", {row({7, -7, 7, 5}, i32), row({2, 2, -2, 0}, i32)}) == List{3, -3, -3, 0});
  CHECK(values_of("div", {row({200}, DType::u8), row({3}, DType::u8)}) == List{66});
  CHECK(values_of("pow", {row({2, -3, 7}, i32), row({10, 3, 0}, i32)}) == List{1024, -27, 1});
  CHECK(values_of("pow", {row({1, 2, 3}, DType::i64), row({4, 5, 6})}) == List{1, 32, 729});
  CHECK(values_of("pow", {row({1, 2, 3}), row({4, 5, 6}, DType::i64)}) == List{1, 32, 729});
  CHECK(output_of("pow", {row({1, 2, 3}), row({4, 5, 6}, DType::f64)}).dtype == DType::f32);
  CHECK(values_of("min", {row({3, -8}, DType::i8), row({-2, 4}, DType::i8)}) == List{-2, -8});
  CHECK(values_of("abs", {row({-3, 4}, i32)}) == List{3, 4});
  CHECK(values_of("sign", {row({0, 9}, DType::u8)}) == List{0, 1});
  CHECK(values_of("reduce_mean", {{{1, 3}, {1, 2, 5}, i32}}) == List{2});
  CHECK(values_of("reduce_prod", {{{1, 5}, {1, 2, 3, 4, -5}, DType::i64}}) == List{-120});
  CHECK(values_of("reduce_min", {{{1, 3}, {-1, -128, 5}, DType::i8}}) == List{-128});
}

TEST_CASE("casts go towards zero, saturate and wrap around")
{
  CHECK(values_of("cast", {row({-1.9, 2.9, 300, -300, not_a_number})}, {{"to", "i8"}}) == List{-1, 2, 127, -128, 0});
  CHECK(values_of("cast", {row({-1, 257}, DType::i32)}, {{"to", "u8"}}) == List{255, 1});
  CHECK(values_of("cast", {row({0, 0.5, -3})}, {{"to", "bool"}}) == List{0, 1, 1});
  CHECK(values_of("cast", {row({0, 1}, DType::boolean)}, {{"to", "f32"}}) == List{0, 1});
}

TEST_CASE("comparisons and choices")
{
  CHECK(values_of("less", {row({1, 2, not_a_number}), row({2, 2, 2})}) == List{1, 0, 0});
  CHECK(values_of("greater_equal", {row({1, 2, not_a_number}), row({2, 2, 2})}) == List{0, 1, 0});
  CHECK(values_of("equal", {row({1, 0}, DType::boolean), row({1, 1}, DType::boolean)}) == List{1, 0});
  CHECK(values_of("where",
                  {{{2, 1}, {1, 0}, DType::boolean}, {{2, 2}, {1, 2, 3, 4}, DType::i64}, row({9, 8}, DType::i64)}) ==
        List{1, 2, 9, 8});
  check_near(values_of("max", {row({not_a_number, 1, 2}), row({1, not_a_number, 3})}), {not_a_number, not_a_number, 3});
  check_near(values_of("min", {row({not_a_number, 1, 2}), row({1, not_a_number, 3})}), {not_a_number, not_a_number, 2});
}

TEST_CASE("reductions")
{
  const Given x{{2, 3}, {1, -2, 3, 0, 5, -6}};
  CHECK(values_of("reduce_sum", {x}) == List{2, -1});
  CHECK(values_of("reduce_sum", {x}, {{"axes", Ints{0}}}) == List{1, 3, -3});
  CHECK(values_of("reduce_sum", {x}, {{"axes", Ints{-1, -2}}, {"keep_dims", false}}) == List{1});
  CHECK(output_of("reduce_sum", {x}, {{"axes", Ints{-1, -2}}, {"keep_dims", false}}).dims.empty());
  CHECK(output_of("reduce_sum", {x}).dims == Ints{2, 1});
  CHECK(values_of("reduce_max", {x}) == List{3, 5});
  CHECK(values_of("reduce_max", {{{2, 2}, {0, 0, 0, 1}, DType::boolean}}) == List{0, 1});
  CHECK(values_of("reduce_min", {{{2, 2}, {1, 1, 0, 1}, DType::boolean}}) == List{1, 0});
  CHECK(values_of("reduce_prod", {x}) == List{-6, 0});
  CHECK(values_of("reduce_l1", {x}) == List{6, 11});
  check_near(values_of("reduce_l2", {x}), {std::sqrt(14.), std::sqrt(61.)});
  CHECK(values_of("reduce_sum_square", {x}) == List{14, 61});
  check_near(values_of("reduce_log_sum_exp", {{{2, 2}, {1000, 1000, -inf, -inf}}}), {1000 + std::log(2.), -inf});
  CHECK(values_of("argmax", {x}) == List{2, 1});
  CHECK(values_of("argmax", {{{3}, {4, 7, 7}}}, {{"axis", int64_t{0}}, {"keep_dims", false}}) == List{1});
  // Of nothing: the neutral element.
  const Given nothing{{2, 0}, {}};
  CHECK(values_of("reduce_sum", {nothing}) == List{0, 0});
  CHECK(values_of("reduce_prod", {nothing}) == List{1, 1});
  CHECK(values_of("reduce_max", {nothing}) == List{-inf, -inf});
  CHECK_THROWS_WITH_AS(values_of("reduce_sum", {x}, {{"axes", Ints{2}}}), doctest::Contains("axis 2"), Error);
  CHECK_THROWS_WITH_AS(values_of("reduce_sum", {x}, {{"axes", Ints{1, -1}}}), doctest::Contains("twice"), Error);
}

TEST_CASE("softmax along any axis")
{
  const Given x{{2, 2}, {0, std::log(3.), 1000, 1000}, DType::f64};
  check_near(values_of("softmax", {x}), {0.25, 0.75, 0.5, 0.5}, 1e-12);
  check_near(values_of("softmax", {x}, {{"axis", int64_t{-1}}}), {0.25, 0.75, 0.5, 0.5}, 1e-12);
  check_near(values_of("log_softmax", {x}), {std::log(0.25), std::log(0.75), -std::log(2.), -std::log(2.)}, 1e-12);
  check_near(values_of("softmax", {{{2, 1}, {0, std::log(3.)}, DType::f64}}, {{"axis", int64_t{0}}}), {0.25, 0.75},
             1e-12);
}

TEST_CASE("losses of labels")
{
  // log-probabilities log(1/4), log(3/4) and log(1/2) twice
  const Given x{{2, 2}, {0, std::log(3.), 5, 5}, DType::f64}, label{{2}, {1, 0}, DType::i32};
  const double a = -std::log(0.75), b = std::log(2.), other = -std::log(0.25);
  check_near(values_of("cross_entropy", {x, label}), {(a + b) / 2}, 1e-12);
  check_near(values_of("cross_entropy", {x, label}, {{"reduction", "none"}}), {a, b}, 1e-12);
  check_near(values_of("cross_entropy", {x, label}, {{"reduction", "sum"}}), {a + b}, 1e-12);
  check_near(values_of("cross_entropy", {x, label}, {{"ignore_index", int64_t{0}}}), {a}, 1e-12);
  // The mean divides by what the labels are worth.
  const Given weights{{2}, {1, 3}, DType::f64};
  check_near(values_of("cross_entropy", {x, label, weights}), {(3 * a + b) / 4}, 1e-12);
  check_near(values_of("cross_entropy", {x, label}, {{"label_smoothing", 0.2}}),
             {(0.8 * a + 0.1 * (a + other) + b) / 2}, 1e-12);
  // Every term of a smoothed label has its own class's weight, as in PyTorch.
  check_near(values_of("cross_entropy", {x, label, weights}, {{"label_smoothing", 0.2}}),
             {(0.8 * (3 * a + b) + 0.1 * (3 * a + other + b + 3 * b)) / 4}, 1e-12);
  const Given log_p{{2, 2}, {-other, -a, -b, -b}, DType::f64};
  check_near(values_of("nll", {log_p, label}), {(a + b) / 2}, 1e-12);
  check_near(values_of("nll", {log_p, label, weights}), {(3 * a + b) / 4}, 1e-12);
  // A picture: two places of one image.
  const Given places{{1, 2, 2}, {0, 5, std::log(3.), 5}, DType::f64}, labels{{1, 2}, {1, 0}, DType::i32};
  check_near(values_of("cross_entropy", {places, labels}), {(a + b) / 2}, 1e-12);
  check_near(values_of("cross_entropy", {places, labels}, {{"ignore_index", int64_t{1}}}), {b}, 1e-12);
  check_near(values_of("hinge", {{{1, 3}, {1, 2, 0.5}, DType::f64}, {{1}, {1}, DType::i32}}), {0}, 1e-12);
  check_near(values_of("hinge", {{{1, 3}, {1, 2, 0.5}, DType::f64}, {{1}, {0}, DType::i32}}), {(2 + 0.5) / 3}, 1e-12);
}

TEST_CASE("losses of targets")
{
  const Given x{{2, 2}, {1, 2, 3, 4}, DType::f64}, t{{2, 2}, {1, 1, 1, 7}, DType::f64};
  check_near(values_of("mse", {x, t}), {(0 + 1 + 4 + 9) / 4.}, 1e-12);
  check_near(values_of("l1", {x, t}, {{"reduction", "none"}}), {0, 1, 2, 3}, 1e-12);
  check_near(values_of("smooth_l1", {x, t}, {{"beta", 2.0}, {"reduction", "none"}}), {0, 0.25, 1, 2}, 1e-12);
  check_near(values_of("smooth_l1", {x, t}, {{"beta", 0.0}, {"reduction", "sum"}}), {6}, 1e-12);
  const Given p = row({0.25, 1, 0}, DType::f64), q = row({1, 1, 1}, DType::f64);
  check_near(values_of("bce", {p, q}, {{"reduction", "none"}}), {std::log(4.), 0, 100}, 1e-12);
  check_near(values_of("bce", {row({100, -100, 0}, DType::f64), row({0, 0, 0.5}, DType::f64)},
                       {{"from_logits", true}, {"reduction", "none"}}),
             {100, std::exp(-100.), std::log(2.)}, 1e-12);
  check_near(values_of("kl", {{{2, 2}, {-1, -2, -3, -4}, DType::f64}, {{2, 2}, {0.5, 0.5, 0, 1}, DType::f64}},
                       {{"reduction", "batch_mean"}}),
             {(0.5 * (std::log(0.5) + 1) + 0.5 * (std::log(0.5) + 2) + 4) / 2}, 1e-12);
  CHECK_THROWS_AS(values_of("mse", {x, row({1, 2}, DType::f64)}), Error);
  CHECK_THROWS_WITH_AS(values_of("mse", {x, t}, {{"reduction", "median"}}),
                       doctest::Contains("is one of mean, sum, none"), Error);
}
