// Each op on small cases whose results were worked out by hand, through the interpreter.
#include "ir/interpret.h"

#include "ir/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace cnnc;

namespace {

struct Given {
  std::vector<int64_t> dims; // the first is the batch where `batched`
  std::vector<double> values;
  DType dtype = DType::f32;
  bool batched = true;
};

Given fixed(std::vector<int64_t> dims, std::vector<double> values, DType dtype = DType::f32)
{
  return {std::move(dims), std::move(values), dtype, false};
}

// The op's outputs, as numbers.
std::vector<std::vector<double>> outputs_of(const std::string& name, const std::vector<Given>& operands,
                                            const Attributes& attributes = {})
{
  const OpDef* def = find_op(name);
  REQUIRE(def);
  std::vector<std::optional<TensorType>> types;
  std::vector<Tensor> tensors;
  for (const Given& given : operands) {
    TensorType type{given.dtype, {}};
    for (int64_t dim : given.dims)
      type.shape.push_back(type.shape.empty() && given.batched ? Dim{1, true} : Dim{dim});
    types.push_back(type);
    Tensor tensor(given.dtype, given.dims);
    REQUIRE(tensor.size() == static_cast<int64_t>(given.values.size()));
    for (int64_t i = 0; i < tensor.size(); ++i)
      tensor.set(i, given.values[static_cast<size_t>(i)]);
    tensors.push_back(tensor);
  }
  Formula formula = cnnc::bind(*def, types, check_attributes(*def, attributes, false, {}), {});
  std::vector<const Tensor*> inputs;
  for (const Tensor& tensor : tensors)
    inputs.push_back(&tensor);
  std::vector<std::vector<double>> result;
  for (const Tensor& tensor : interpret(formula, inputs)) {
    result.emplace_back();
    for (int64_t i = 0; i < tensor.size(); ++i)
      result.back().push_back(tensor.get(i));
  }
  return result;
}

std::vector<double> output_of(const std::string& name, const std::vector<Given>& operands,
                              const Attributes& attributes = {})
{
  return outputs_of(name, operands, attributes).at(0);
}

std::vector<double> counting(int64_t count, double first = 0)
{
  std::vector<double> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), first);
  return values;
}

void check_near(const std::vector<double>& found, const std::vector<double>& wanted, double tolerance = 1e-6)
{
  REQUIRE(found.size() == wanted.size());
  for (size_t i = 0; i < found.size(); ++i)
    CHECK(found[i] == doctest::Approx(wanted[i]).epsilon(tolerance));
}

using List = std::vector<double>;
using Ints = std::vector<int64_t>;

const List picture{1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0};

} // namespace

TEST_CASE("conv2d of the lecture")
{
  Given x{{1, 1, 5, 5}, picture}, w = fixed({1, 1, 3, 3}, {1, 0, 1, 0, 1, 0, 1, 0, 1});
  CHECK(output_of("conv2d", {x, w}) == List{4, 3, 4, 2, 4, 3, 2, 3, 4});
  CHECK(output_of("conv2d", {x, w, fixed({1}, {10})}) == List{14, 13, 14, 12, 14, 13, 12, 13, 14});
  // The kernel is its own mirror image.
  CHECK(output_of("conv2d", {x, w}, {{"flip", true}}) == List{4, 3, 4, 2, 4, 3, 2, 3, 4});
  // Every other window; and taps two apart: the corners and the middle of the whole picture.
  CHECK(output_of("conv2d", {x, w}, {{"stride", int64_t{2}}}) == List{4, 4, 2, 4});
  CHECK(output_of("conv2d", {x, w}, {{"dilation", int64_t{2}}}) == List{2});
}

TEST_CASE("conv2d pads each side by its own number of zeros")
{
  Given x{{1, 1, 2, 2}, {1, 2, 3, 4}}, w = fixed({1, 1, 2, 2}, {1, 10, 100, 1000});
  CHECK(output_of("conv2d", {x, w}) == List{4321});
  CHECK(output_of("conv2d", {x, w}, {{"flip", true}}) == List{1234});
  CHECK(output_of("conv2d", {x, w}, {{"padding", Ints{1, 0, 0, 0}}}) == List{2100, 4321});
  CHECK(output_of("conv2d", {x, w}, {{"padding", Ints{0, 1, 0, 0}}}) == List{3010, 4321});
  CHECK(output_of("conv2d", {x, w}, {{"padding", Ints{0, 0, 1, 0}}}) == List{4321, 43});
  CHECK(output_of("conv2d", {x, w}, {{"padding", Ints{0, 0, 0, 1}}}) == List{4321, 402});
}

TEST_CASE("conv2d in groups sees its own channels only")
{
  Given x{{1, 4, 1, 1}, {1, 2, 3, 4}};
  CHECK(output_of("conv2d", {x, fixed({2, 4, 1, 1}, {1, 10, 100, 1000, 1, 1, 1, 1})}) == List{4321, 10});
  CHECK(output_of("conv2d", {x, fixed({4, 2, 1, 1}, {1, 0, 0, 1, 1, 0, 0, 1}), fixed({4}, {0, 0, 0, 100})},
                  {{"groups", int64_t{2}}}) == List{1, 2, 3, 104});
  CHECK(output_of("conv2d", {x, fixed({4, 1, 1, 1}, {1, 10, 100, 1000})}, {{"groups", int64_t{4}}}) ==
        List{1, 20, 300, 4000});
  CHECK(output_of("conv2d", {x, fixed({8, 1, 1, 1}, {1, 2, 1, 2, 1, 2, 1, 2})}, {{"groups", int64_t{4}}}) ==
        List{1, 2, 2, 4, 3, 6, 4, 8});
  CHECK(output_of("conv2d", {x, fixed({2, 2, 1, 1}, {1, 10, 1, 10})}, {{"groups", int64_t{2}}}) == List{21, 43});
}

TEST_CASE("conv2d treats each image alone")
{
  CHECK(output_of("conv2d", {{{2, 1, 1, 2}, {1, 2, 3, 4}}, fixed({1, 1, 1, 1}, {10})}) == List{10, 20, 30, 40});
}

TEST_CASE("local2d has its own filter at each place")
{
  Given x{{1, 1, 2, 3}, {1, 2, 3, 4, 5, 6}};
  Given w = fixed({1, 1, 2, 1, 2, 2}, {1, 1, 1, 1, 1, 0, 0, 0});
  CHECK(output_of("local2d", {x, w}) == List{1 + 2 + 4 + 5, 2});
  CHECK(output_of("local2d", {x, w, fixed({1, 1, 2}, {100, 200})}) == List{112, 202});
}

TEST_CASE("max_pool2d keeps the largest and which one it was, the first of equals")
{
  Given x{{1, 1, 4, 4}, {1, 2, 5, 5, 3, 4, 5, 5, -1, -2, 0, 0, -3, -4, 0, 1}};
  auto outputs = outputs_of("max_pool2d", {x}, {{"kernel", int64_t{2}}});
  REQUIRE(outputs.size() == 2);
  CHECK(outputs[0] == List{4, 5, -1, 1});
  CHECK(outputs[1] == List{3, 0, 0, 3});
  // Outside is never the largest.
  CHECK(output_of("max_pool2d", {{{1, 1, 1, 2}, {-5, -7}}},
                  {{"kernel", int64_t{3}}, {"stride", int64_t{1}}, {"padding", int64_t{1}}}) == List{-5, -5});
  CHECK(output_of("max_pool2d", {{{1, 1, 1, 5}, {1, 9, 3, 4, 2}}},
                  {{"kernel", Ints{1, 3}}, {"stride", int64_t{1}}, {"dilation", Ints{1, 2}}}) == List{3});
}

TEST_CASE("avg_pool2d divides by what is inside, or by the whole window")
{
  Given x{{1, 1, 2, 2}, {1, 2, 3, 6}};
  CHECK(output_of("avg_pool2d", {x}, {{"kernel", int64_t{2}}}) == List{3});
  Attributes padded{{"kernel", int64_t{2}}, {"stride", int64_t{2}}, {"padding", int64_t{1}}};
  CHECK(output_of("avg_pool2d", {x}, padded) == List{1, 2, 3, 6});
  padded["count_include_pad"] = true;
  CHECK(output_of("avg_pool2d", {x}, padded) == List{0.25, 0.5, 0.75, 1.5});
  // Two images, two channels: what counts as inside does not depend on them.
  CHECK(output_of("avg_pool2d", {{{2, 2, 1, 2}, counting(8)}},
                  {{"kernel", Ints{1, 2}}, {"stride", int64_t{1}}, {"padding", Ints{0, 1, 0, 0}}}) ==
        List{0, 0.5, 2, 2.5, 4, 4.5, 6, 6.5});
}

TEST_CASE("global_avg_pool takes the mean of each channel")
{
  CHECK(output_of("global_avg_pool", {{{1, 2, 2, 2}, {1, 2, 3, 6, 0, 0, 0, 4}}}) == List{3, 1});
}

TEST_CASE("activations")
{
  Given x{{1, 4}, {-2, -0.5, 0, 3}};
  CHECK(output_of("relu", {x}) == List{0, 0, 0, 3});
  check_near(output_of("leaky_relu", {x}), {-0.02, -0.005, 0, 3});
  CHECK(output_of("leaky_relu", {x}, {{"slope", 0.5}}) == List{-1, -0.25, 0, 3});
  check_near(output_of("sigmoid", {x}), {0.11920292, 0.37754067, 0.5, 0.95257413});
  check_near(output_of("tanh", {x}), {-0.96402758, -0.46211716, 0, 0.99505475});
  CHECK(std::isnan(output_of("relu", {{{1}, {std::nan("")}}})[0]));
  CHECK(output_of("sigmoid", {{{2}, {-1000, 1000}}}) == List{0, 1});
}

TEST_CASE("dense")
{
  Given x{{2, 2}, {1, 2, 3, 4}}, w = fixed({3, 2}, {1, 10, 0, 1, 1, 1});
  CHECK(output_of("dense", {x, w}) == List{21, 2, 3, 43, 4, 7});
  CHECK(output_of("dense", {x, w, fixed({3}, {100, 200, 300})}) == List{121, 202, 303, 143, 204, 307});
}

TEST_CASE("flatten and copy keep the order")
{
  CHECK(output_of("flatten", {{{2, 2, 2, 3}, counting(24)}}) == counting(24));
  CHECK(output_of("copy", {{{2, 3}, counting(6)}}) == counting(6));
}

TEST_CASE("add and mul broadcast")
{
  Given x{{2, 2, 1, 2}, counting(8)};
  CHECK(output_of("add", {x, x}) == List{0, 2, 4, 6, 8, 10, 12, 14});
  CHECK(output_of("add", {x, fixed({2, 1, 1}, {10, 20})}) == List{10, 11, 22, 23, 14, 15, 26, 27});
  CHECK(output_of("mul", {x, {{2, 2, 1, 1}, {1, 2, 3, 4}}}) == List{0, 1, 4, 6, 12, 15, 24, 28});
}

TEST_CASE("concat puts tensors one behind the other")
{
  Given a{{2, 1, 1, 2}, {1, 2, 3, 4}}, b{{2, 2, 1, 2}, {10, 11, 12, 13, 14, 15, 16, 17}};
  CHECK(output_of("concat", {a, b}) == List{1, 2, 10, 11, 12, 13, 3, 4, 14, 15, 16, 17});
  CHECK(output_of("concat", {a, a, a}, {{"axis", int64_t{3}}}) == List{1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4});
}

TEST_CASE("dropout zeroes its part, scales the rest, and draws the same mask again")
{
  const int64_t count = 4000;
  auto mask = [&](double key, double step, int64_t salt) {
    return output_of("dropout",
                     {{{2, count / 2}, List(count, 1)}, fixed({}, {key}, DType::i64), fixed({}, {step}, DType::i64)},
                     {{"rate", 0.25}, {"salt", salt}});
  };
  List first = mask(12345, 0, 1);
  auto zeros = static_cast<double>(std::count(first.begin(), first.end(), 0.0));
  CHECK(zeros / count == doctest::Approx(0.25).epsilon(0.1));
  for (double value : first)
    CHECK((value == 0 || value == doctest::Approx(1 / 0.75)));
  CHECK(mask(12345, 0, 1) == first);
  CHECK(mask(12345, 1, 1) != first);
  CHECK(mask(12345, 0, 2) != first);
  CHECK(mask(12347, 0, 1) != first);
  // The numbers that ir/random.h says, far beyond the 53 bits of a double.
  uint64_t salt = seed_key(1) & 0x1ffffffffffffe;
  uint64_t step = 100000;
  List late = mask(12345, static_cast<double>(step), 1);
  for (uint64_t p = 0; p < 100; ++p)
    CHECK((late[p] == 0) == (random_unit(12345 + salt, (step << 40) + p) < 0.25));
}

TEST_CASE("softmax sums to one, and large numbers do not overflow")
{
  check_near(output_of("softmax", {{{2, 3}, {1, 2, 3, 1000, 1000, 1000}}}),
             {0.09003057, 0.24472847, 0.66524096, 1.0 / 3, 1.0 / 3, 1.0 / 3});
  // Over the channels, place by place.
  check_near(output_of("softmax", {{{1, 2, 2}, {0, 1, 0, 0}}}), {0.5, 0.73105858, 0.5, 0.26894142});
}

TEST_CASE("cross_entropy is the mean of -log softmax at the label")
{
  Given x{{2, 3}, {1, 2, 3, 1000, 1000, 1000}}, label{{2}, {2, 0}, DType::i32};
  check_near(output_of("cross_entropy", {x, label}), {(-std::log(0.66524096) + std::log(3.0)) / 2});
}

TEST_CASE("sgd steps as PyTorch's does")
{
  Attributes attributes{{"learning_rate", 0.1}, {"momentum", 0.9}, {"weight_decay", 0.01}};
  Given w = fixed({2}, {1, -2}), v = fixed({2}, {0.5, 0}), g = fixed({2}, {0.2, 0.4}), rate = fixed({}, {0.1});
  // g + 0.01*w = 0.21, 0.38; v = 0.9*v + that = 0.66, 0.38
  auto plain = outputs_of("sgd", {w, v, g, rate}, attributes);
  check_near(plain.at(1), {0.66, 0.38});
  check_near(plain.at(0), {1 - 0.066, -2 - 0.038});
  attributes["nesterov"] = true;
  check_near(outputs_of("sgd", {w, v, g, rate}, attributes).at(0),
             {1 - 0.1 * (0.21 + 0.9 * 0.66), -2 - 0.1 * (0.38 + 0.9 * 0.38)});
  attributes["nesterov"] = false;
  attributes["rate_factor"] = 2.0;
  check_near(outputs_of("sgd", {w, v, g, rate}, attributes).at(0), {1 - 0.132, -2 - 0.076});
  check_near(outputs_of("sgd", {w, v, g, rate}, {{"learning_rate", 0.1}}).at(0), {1 - 0.02, -2 - 0.04});
}

TEST_CASE("adam corrects the bias of its first steps")
{
  double w = 1, m = 0, s = 0;
  Given mean = fixed({1}, {0}), square = fixed({1}, {0}), weight = fixed({1}, {1});
  for (int step = 1; step <= 3; ++step) {
    double g = 0.5 / step;
    m = 0.9 * m + 0.1 * g;
    s = 0.999 * s + 0.001 * g * g;
    w -= 0.01 * (m / (1 - std::pow(0.9, step))) / (std::sqrt(s / (1 - std::pow(0.999, step))) + 1e-8);
    auto found = outputs_of("adam", {weight, mean, square, fixed({1}, {g}), fixed({}, {0.01}),
                                     fixed({}, {static_cast<double>(step)}, DType::i64)});
    check_near(found.at(0), {w});
    check_near(found.at(1), {m});
    check_near(found.at(2), {s});
    weight.values = found[0];
    mean.values = found[1];
    square.values = found[2];
  }
}

TEST_CASE("a graph is interpreted op by op, and updates take their places")
{
  auto text = std::make_shared<const Source>(Source{"net.ir", R"(
    net @a(%x: f32[n,2]) {
      parameter @w: f32[2,2] = [1, 0, 0, -1]
      state @seen: f32[] = zero
      %y = dense %x, @w : f32[n,2]
      %z = relu %y : f32[n,2]
      %new = formula @seen {inputs = ["s[]"], outputs = ["t[]"], text = "t[] = s[] + 1"} : f32[]
      %all = formula @seen {inputs = ["s[]"], outputs = ["t[N]"], text = "t[n] = s[] + N"} : f32[n]
      output %z
      update @seen = %new
    })"});
  Graph graph = parse_graph(text);
  verify(graph);
  Tensor x(DType::f32, {3, 2}), seen(DType::f32, {});
  for (int64_t i = 0; i < 6; ++i)
    x.set(i, static_cast<double>(i) - 2);
  seen.set(0, 41);
  NamedTensors result = interpret(graph, {{"x", x}, {"seen", seen}}, 3);
  auto list = [&](const std::string& name) {
    List values;
    for (int64_t i = 0; i < result.at(name).size(); ++i)
      values.push_back(result.at(name).get(i));
    return values;
  };
  CHECK(list("y") == List{-2, 1, 0, -1, 2, -3});
  CHECK(list("z") == List{0, 1, 0, 0, 2, 0});
  CHECK(list("seen") == List{42});
  CHECK(list("all") == List{44, 44, 44}); // no operand has the batch
  CHECK_THROWS_AS(interpret(graph, {{"x", x}}, 3), Error);
  CHECK_THROWS_AS(interpret(graph, {{"x", x}, {"seen", seen}}, 2), Error);
}
