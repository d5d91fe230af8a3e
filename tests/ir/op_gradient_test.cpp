// Every row of the op table: its gradient against central differences and, where the row has its own, against the
// derived one; the same behind gather_scatters.
#include "ir/gather.h"
#include "tests/ir/formula_fixture.h"

#include <fmt/format.h>

#include <algorithm>

using namespace cnnc;
using namespace cnnc::test;

namespace {

using Numbers = std::vector<int64_t>;

struct Example {
  std::string op;
  std::vector<std::vector<int64_t>> inputs; // -1 is the batch
  Attributes attributes = {};
  std::vector<DType> types = {}; // f64 where nothing is said
};

const Example examples[] = {
    {"conv2d", {{-1, 2, 6, 5}, {3, 2, 3, 3}, {3}}, {{"padding", Numbers{1, 1, 1, 1}}}},
    {"conv2d",
     {{-1, 4, 7, 6}, {6, 2, 3, 2}, {6}},
     {{"stride", Numbers{2, 1}}, {"padding", Numbers{1, 0, 2, 1}}, {"groups", int64_t{2}}}},
    {"conv2d", {{-1, 3, 7, 6}, {3, 1, 2, 2}}, {{"dilation", Numbers{2, 3}}, {"groups", int64_t{3}}, {"flip", true}}},
    {"conv2d", {{-1, 2, 7, 5}, {3, 2, 1, 1}, {3}}, {{"stride", Numbers{2, 2}}}},
    {"local2d", {{-1, 2, 5, 4}, {3, 4, 2, 2, 2, 3}, {3, 4, 2}}},
    {"local2d", {{-1, 2, 5, 5}, {3, 2, 2, 2, 2, 2}}, {{"stride", Numbers{2, 2}}}},
    {"max_pool2d", {{-1, 2, 6, 4}}, {{"kernel", Numbers{2, 2}}}},
    {"max_pool2d",
     {{-1, 2, 7, 6}},
     {{"kernel", Numbers{3, 3}}, {"stride", Numbers{2, 1}}, {"padding", Numbers{1, 1, 1, 1}}}},
    {"avg_pool2d", {{-1, 2, 6, 4}}, {{"kernel", Numbers{2, 2}}}},
    {"avg_pool2d",
     {{-1, 2, 7, 6}},
     {{"kernel", Numbers{3, 3}}, {"stride", Numbers{2, 2}}, {"padding", Numbers{1, 1, 1, 1}}}},
    {"global_avg_pool", {{-1, 3, 4, 5}}},
    {"relu", {{-1, 2, 3, 3}}},
    {"leaky_relu", {{-1, 7}}},
    {"sigmoid", {{-1, 7}}},
    {"tanh", {{-1, 7}}},
    {"dense", {{-1, 5}, {4, 5}, {4}}},
    {"dense", {{-1, 5}, {4, 5}}},
    {"flatten", {{-1, 2, 3, 4}}},
    {"add", {{-1, 3, 2, 2}, {-1, 3, 2, 2}}},
    {"add", {{-1, 3, 2, 2}, {3, 1, 1}}},
    {"mul", {{-1, 3, 2, 2}, {1, 3, 1, 2}}},
    {"copy", {{-1, 3}}},
    {"concat", {{-1, 3, 2, 2}, {-1, 1, 2, 2}, {-1, 2, 2, 2}}},
    {"dropout", {{-1, 9}, {}, {}}, {{"rate", 0.4}}, {DType::f64, DType::i64, DType::i64}},
    {"softmax", {{-1, 6}}},
    {"softmax", {{-1, 3, 2, 2}}},
    {"cross_entropy", {{-1, 6}, {-1}}, {}, {DType::f64, DType::i32}},
};

} // namespace

TEST_CASE("every op with a gradient has an example here")
{
  for (const OpDef* def : op_table())
    if (def->no_gradient.empty())
      CHECK_MESSAGE(
          std::any_of(std::begin(examples), std::end(examples), [&](const Example& e) { return e.op == def->name; }),
          def->name);
}

TEST_CASE("every op's gradient is its differences")
{
  for (const Example& e : examples) {
    CAPTURE(e.op);
    const OpDef* def = find_op(e.op);
    REQUIRE(def);
    std::vector<std::optional<TensorType>> types;
    for (size_t i = 0; i < e.inputs.size(); i++) {
      TensorType type{i < e.types.size() ? e.types[i] : DType::f64, {}};
      for (int64_t dim : e.inputs[i])
        type.shape.push_back(dim < 0 ? Dim{1, true} : Dim{dim, false});
      types.push_back(type);
    }
    Attributes attributes = check_attributes(*def, e.attributes, false, {});
    Formula forward = bind(*def, types, attributes, {});
    std::vector<Tensor> inputs, adjoints;
    std::vector<bool> have;
    for (size_t i = 0; i < types.size(); i++) {
      inputs.push_back(separated_numbers(*types[i], i + 1));
      for (int64_t j = 0; !is_float(types[i]->dtype) && j < inputs[i].size(); j++)
        inputs[i].set(j, static_cast<double>(2 * j + 1)); // labels; a key and a step
    }
    for (const FormulaTensor* tensor : with_role(forward, Role::output)) {
      have.push_back(is_float(tensor->type.dtype));
      adjoints.push_back(have.back() ? separated_numbers(tensor->type, 11) : Tensor(DType::f64, {0}));
    }
    for (int k = 0; k < static_cast<int>(types.size()); k++) {
      if (!is_float(types[k]->dtype))
        continue;
      CAPTURE(k);
      Tensor want = differences(forward, inputs, static_cast<size_t>(k), adjoints);
      std::vector<Gradient> own = gradients_of(*def, types, attributes, {k}, have, {});
      REQUIRE(own.size() == 1);
      own.push_back(derive(forward, {k}, have, {}));
      for (const Gradient& gradient : own) {
        CHECK(gradient.wanted == std::vector<int>{k});
        verify(gradient.formula);
        check_near(run(gradient, gradient.formula, forward, inputs, adjoints).at(0), want, to_string(gradient.formula));
        Formula gathered = gradient.formula;
        gather_scatters(gathered);
        check_near(run(gradient, reread(gathered), forward, inputs, adjoints).at(0), want, to_string(gathered));
      }
    }
  }
}
