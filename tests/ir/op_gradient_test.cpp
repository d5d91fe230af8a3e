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
  bool positive = false;         // floats in (0, 1), else in (-1, 1)
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
    {"conv1d", {{-1, 2, 7}, {3, 2, 3}, {3}}, {{"padding", Numbers{1, 2}}, {"stride", int64_t{2}}}},
    {"conv3d",
     {{-1, 2, 3, 4, 5}, {4, 1, 2, 3, 2}, {4}},
     {{"padding", Numbers{1, 0, 1, 0, 1, 2}}, {"stride", Numbers{1, 2, 2}}, {"groups", int64_t{2}}}},
    {"conv_transpose1d", {{-1, 2, 3}, {2, 3, 3}, {3}}, {{"stride", int64_t{2}}, {"output_padding", int64_t{1}}}},
    {"conv_transpose2d",
     {{-1, 4, 3, 2}, {4, 3, 3, 2}, {6}},
     {{"stride", Numbers{2, 3}}, {"padding", Numbers{1, 0, 2, 1}}, {"groups", int64_t{2}}}},
    {"conv_transpose2d", {{-1, 2, 3, 2}, {2, 3, 2, 2}}, {{"dilation", Numbers{2, 3}}}},
    {"conv_transpose3d", {{-1, 2, 2, 3, 2}, {2, 1, 2, 1, 3}, {1}}, {{"stride", Numbers{2, 2, 1}}}},
    {"local1d", {{-1, 2, 6}, {3, 3, 2, 2}, {3, 3}}, {{"stride", int64_t{2}}}},
    {"max_pool1d", {{-1, 2, 7}}, {{"kernel", int64_t{3}}, {"stride", int64_t{2}}, {"padding", int64_t{1}}}},
    {"max_pool3d", {{-1, 2, 4, 5, 3}}, {{"kernel", int64_t{2}}, {"stride", int64_t{2}}, {"ceil_mode", true}}},
    {"max_pool2d", {{-1, 2, 6, 5}}, {{"kernel", int64_t{3}}, {"stride", int64_t{2}}, {"ceil_mode", true}}},
    {"avg_pool1d", {{-1, 2, 7}}, {{"kernel", int64_t{2}}, {"ceil_mode", true}}},
    {"avg_pool2d",
     {{-1, 2, 6, 7}},
     {{"kernel", int64_t{3}},
      {"stride", int64_t{2}},
      {"padding", int64_t{1}},
      {"ceil_mode", true},
      {"count_include_pad", true}}},
    {"avg_pool3d", {{-1, 2, 3, 4, 5}}, {{"kernel", int64_t{2}}, {"dilation", int64_t{2}}, {"stride", int64_t{1}}}},
    {"lp_pool1d", {{-1, 2, 7}}, {{"kernel", int64_t{3}}, {"stride", int64_t{2}}, {"p", int64_t{1}}}},
    {"lp_pool2d", {{-1, 2, 5, 4}}, {{"kernel", int64_t{3}}, {"stride", int64_t{1}}}},
    {"lp_pool3d", {{-1, 2, 3, 4, 3}}, {{"kernel", int64_t{2}}, {"p", int64_t{3}}}},
    {"global_max_pool", {{-1, 3, 4, 5}}},
    {"global_lp_pool", {{-1, 3, 4}}},
    {"global_lp_pool", {{-1, 3, 4, 2}}, {{"p", int64_t{3}}}},
    {"adaptive_avg_pool1d", {{-1, 2, 7}}, {{"size", int64_t{3}}}},
    {"adaptive_avg_pool2d", {{-1, 2, 6, 5}}, {{"size", Numbers{4, 5}}}},
    {"adaptive_avg_pool3d", {{-1, 2, 4, 2, 3}}, {{"size", int64_t{2}}}},
    {"adaptive_max_pool1d", {{-1, 2, 7}}, {{"size", int64_t{3}}}},
    {"adaptive_max_pool2d", {{-1, 2, 6, 5}}, {{"size", Numbers{4, 5}}}},
    {"adaptive_max_pool3d", {{-1, 2, 4, 2, 3}}, {{"size", int64_t{2}}}},
    {"max_unpool2d", {{-1, 2, 3, 2}, {-1, 2, 6, 4}}, {{"kernel", int64_t{2}}}},
    {"max_unpool2d",
     {{-1, 2, 4, 3}, {-1, 2, 7, 5}},
     {{"kernel", int64_t{3}}, {"stride", int64_t{2}}, {"padding", int64_t{1}}}},
    {"lrn", {{-1, 6, 2, 2}}, {{"size", int64_t{5}}, {"alpha", 2.0}}},
    {"lrn", {{-1, 5, 3}}, {{"size", int64_t{4}}, {"alpha", 2.0}, {"beta", 0.6}, {"bias", 2.0}}},
    {"layer_norm", {{-1, 3, 2}, {3, 2}, {3, 2}}},
    {"layer_norm", {{-1, 3, 4}, {4}}, {{"axis", int64_t{-1}}}},
    {"instance_norm", {{-1, 3, 2, 2}, {3}, {3}}},
    {"group_norm", {{-1, 6, 3}, {6}, {6}}, {{"groups", int64_t{2}}}},
    {"group_norm", {{-1, 3, 3}, {3}, {3}}, {{"groups", int64_t{1}}}},
    {"mvn", {{-1, 3, 4, 2}}, {{"axes", Numbers{0, 2, -1}}}},
    {"mvn", {{-1, 3, 4}}},
    {"batch_norm", {{-1, 3, 2, 2}, {3}, {3}, {3}, {3}}, {{"epsilon", 1.5}}},
    {"batch_norm", {{-1, 3, 2, 2}, {3}, {3}, {3}, {3}}, {{"training", true}}},
    {"batch_norm", {{-1, 3}, {3}, {3}, {3}, {3}}, {{"training", true}}},
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
    {"winograd_input",
     {{-1, 2, 7, 5}},
     {{"tile", int64_t{2}},
      {"rows", int64_t{3}},
      {"columns", int64_t{2}},
      {"pad_top", int64_t{1}},
      {"pad_left", int64_t{0}}}},
    {"winograd_weight", {{2, 3, 3, 3}}, {{"flip", true}}},
    {"winograd_output", {{-1, 2, 2, 1, 6, 6}, {2}}, {{"height", int64_t{7}}, {"width", int64_t{4}}}},
    {"flatten", {{-1, 2, 3}}, {{"axis", int64_t{2}}}},
    {"concat", {{2, 3}, {1, 3}}, {{"axis", int64_t{-2}}}},
    {"reshape", {{-1, 6, 4}}, {{"shape", Numbers{0, 2, -1}}}},
    {"reshape", {{-1, 6, 4}}, {{"shape", Numbers{0, 3, 8}}}},
    {"reshape", {{-1, 4, 6}}, {{"shape", Numbers{0, 3, 8}}}},
    {"reshape", {{-1, 4, 3}}, {{"shape", Numbers{-1, 2}}}},
    {"transpose", {{-1, 2, 3, 4}}, {{"perm", Numbers{0, 2, 3, 1}}}},
    {"squeeze", {{-1, 1, 3, 1}}},
    {"unsqueeze", {{-1, 3}}, {{"axes", Numbers{0, -1}}}},
    {"slice",
     {{-1, 5, 7}},
     {{"axes", Numbers{1, 2}}, {"starts", Numbers{1, -1}}, {"ends", Numbers{4, -20}}, {"steps", Numbers{1, -2}}}},
    {"split", {{-1, 7}}, {{"sizes", Numbers{2, 4, 1}}, {"part", int64_t{1}}}},
    {"pad", {{-1, 2, 3}}, {{"padding", Numbers{0, 1, 2, 0, -1, 1}}, {"value", 0.5}}},
    {"pad", {{-1, 4, 3}}, {{"padding", Numbers{0, 3, 2, 0, -1, 4}}, {"mode", std::string("reflect")}}},
    {"pad", {{-1, 4, 3}}, {{"padding", Numbers{0, 1, 2, 0, 2, 1}}, {"mode", std::string("edge")}}},
    {"pad", {{-1, 4, 3}}, {{"padding", Numbers{0, 1, 2, 0, 2, 4}}, {"mode", std::string("wrap")}}},
    {"gather", {{-1, 5, 2}}, {{"indices", Numbers{4, -5, 2, 2, 1, 3}}}},
    {"gather", {{-1, 8}}, {{"indices", Numbers{0, 4, 1, 5, 2, 6, 3, 7}}}},
    {"tile", {{-1, 2, 3}}, {{"repeats", Numbers{1, 3, 2}}}},
    {"expand", {{-1, 1, 3}}, {{"shape", Numbers{2, 1, 4, 1}}}},
    {"resize", {{-1, 2, 3, 4}}, {{"scales", std::vector<double>{2.0}}}},
    {"resize", {{-1, 1, 5, 4}}, {{"sizes", Numbers{3, 7}}}},
    {"resize", {{-1, 1, 3, 4}}, {{"scales", std::vector<double>{2.0}}, {"mode", std::string("linear")}}},
    {"resize", {{-1, 1, 6, 5}}, {{"sizes", Numbers{3, 4}}, {"mode", std::string("linear")}, {"antialias", true}}},
    {"resize", {{-1, 1, 5}}, {{"sizes", Numbers{8}}, {"mode", std::string("cubic")}, {"exclude_outside", true}}},
    {"resize",
     {{-1, 1, 5}},
     {{"sizes", Numbers{7}},
      {"mode", std::string("linear")},
      {"coordinates", std::string("tf_crop_and_resize")},
      {"roi", std::vector<double>{-0.2, 0.9}}}},
    {"pixel_shuffle", {{-1, 8, 2, 3}}, {{"factor", int64_t{2}}}},
    {"pixel_unshuffle", {{-1, 2, 4, 6}}, {{"factor", int64_t{2}}, {"order", std::string("crd")}}},
    {"matmul", {{-1, 2, 3, 4}, {1, 4, 2}}},
    {"matmul", {{-1, 4}, {4}}},
    {"gemm", {{-1, 3}, {4, 3}, {4}}, {{"alpha", 0.5}, {"beta", 2.0}, {"trans_b", true}}},
    {"gemm", {{3, 2}, {3, 4}, {2, 1}}, {{"trans_a", true}}},
    {"parameter", {{2, 3}}},
    {"concat", {{-1, 3, 2, 2}, {-1, 1, 2, 2}, {-1, 2, 2, 2}}},
    {"dropout", {{-1, 9}, {}, {}}, {{"rate", 0.4}}, {DType::f64, DType::i64, DType::i64}},
    {"prelu", {{-1, 3, 2, 2}, {3}}},
    {"prelu", {{-1, 3, 2}, {3, 1}}},
    {"prelu", {{-1, 3}, {3}}},
    {"elu", {{-1, 7}}, {{"alpha", 0.7}}},
    {"selu", {{-1, 7}}},
    {"celu", {{-1, 7}}, {{"alpha", 0.7}}},
    {"gelu", {{-1, 7}}},
    {"gelu", {{-1, 7}}, {{"approximate", "tanh"}}},
    {"softplus", {{-1, 7}}},
    {"softsign", {{-1, 7}}},
    {"mish", {{-1, 7}}},
    {"swish", {{-1, 7}}, {{"beta", 1.3}}},
    {"hard_sigmoid", {{-1, 7}}, {{"alpha", 0.8}, {"beta", 0.45}}},
    {"hard_swish", {{-1, 7}}},
    {"thresholded_relu", {{-1, 7}}, {{"alpha", 0.3}}},
    {"clip", {{-1, 7}}, {{"min", -0.4}, {"max", 0.3}}},
    {"clip", {{-1, 7}}, {{"max", 0.3}}},
    {"relu6", {{-1, 7}}},
    {"abs", {{-1, 7}}},
    {"neg", {{-1, 7}}},
    {"exp", {{-1, 7}}},
    {"log", {{-1, 7}}, {}, {}, true},
    {"sqrt", {{-1, 7}}, {}, {}, true},
    {"rsqrt", {{-1, 7}}, {}, {}, true},
    {"reciprocal", {{-1, 7}}, {}, {}, true},
    {"floor", {{-1, 7}}},
    {"erf", {{-1, 7}}},
    {"sign", {{-1, 7}}},
    {"cast", {{-1, 7}}, {{"to", "f64"}}},
    {"identity", {{-1, 7}}},
    {"sub", {{-1, 3, 2, 2}, {3, 1, 1}}},
    {"div", {{-1, 3, 2}, {-1, 1, 2}}},
    {"pow", {{-1, 3, 2}, {3, 1}}, {}, {}, true},
    {"pow", {{-1, 3, 2}, {-1, 1, 2}}, {}, {DType::f64, DType::i32}, true},
    {"min", {{-1, 3, 2}, {-1, 3, 1}}},
    {"max", {{-1, 3, 2}, {2}}},
    {"where", {{-1, 3, 2}, {-1, 3, 1}, {2}}, {}, {DType::boolean}},
    {"softmax", {{-1, 3, 2, 2}}, {{"axis", int64_t{-1}}}},
    {"softmax", {{-1, 3}}, {{"axis", int64_t{0}}}},
    {"log_softmax", {{-1, 6}}},
    {"log_softmax", {{-1, 3, 2, 2}}, {{"axis", int64_t{2}}}},
    {"reduce_sum", {{2, 3, 2}}, {{"axes", Numbers{0, 2}}}},
    {"reduce_mean", {{-1, 3, 2, 2}}},
    {"reduce_mean", {{2, 3, 2}}, {{"axes", Numbers{-1, 0}}, {"keep_dims", false}}},
    {"reduce_max", {{-1, 3, 4}}, {{"axes", Numbers{1}}, {"keep_dims", false}}},
    {"reduce_max", {{-1, 3, 4}}},
    {"reduce_min", {{-1, 3, 4}}, {{"axes", Numbers{0, 2}}}},
    {"reduce_prod", {{-1, 3, 5}}},
    {"reduce_prod", {{2, 7, 2}}, {{"axes", Numbers{1, 0}}, {"keep_dims", false}}},
    {"reduce_l1", {{-1, 3, 2}}},
    {"reduce_l2", {{-1, 3, 2}}, {{"axes", Numbers{1}}, {"keep_dims", false}}},
    {"reduce_sum_square", {{-1, 3, 2}}},
    {"reduce_log_sum", {{-1, 3, 2}}, {}, {}, true},
    {"reduce_log_sum_exp", {{-1, 3, 2}}, {{"axes", Numbers{2}}}},
    {"softmax", {{-1, 6}}},
    {"softmax", {{-1, 3, 2, 2}}},
    {"cross_entropy", {{-1, 6}, {-1}}, {}, {DType::f64, DType::i32}},
    {"cross_entropy", {{-1, 6}, {-1}}, {{"reduction", "none"}}, {DType::f64, DType::i32}},
    {"cross_entropy", {{-1, 8, 2}, {-1, 2}}, {{"ignore_index", Numbers{3}}}, {DType::f64, DType::i32}},
    {"cross_entropy", {{-1, 8, 2}, {-1, 2}}, {{"label_smoothing", 0.2}}, {DType::f64, DType::i32}},
    {"cross_entropy",
     {{-1, 8, 2}, {-1, 2}, {8}},
     {{"label_smoothing", 0.2}, {"ignore_index", Numbers{3}}},
     {DType::f64, DType::i32, DType::f64},
     true},
    {"cross_entropy", {{-1, 8}, {-1}, {8}}, {{"reduction", "sum"}}, {DType::f64, DType::i32}},
    {"nll", {{-1, 6}, {-1}}, {}, {DType::f64, DType::i32}},
    {"nll", {{-1, 8, 2}, {-1, 2}, {8}}, {{"label_smoothing", 0.2}}, {DType::f64, DType::i32, DType::f64}, true},
    {"nll", {{-1, 8, 2}, {-1, 2}, {8}}, {{"reduction", "none"}}, {DType::f64, DType::i32}},
    {"mse", {{-1, 3, 2}, {-1, 3, 2}}},
    {"mse", {{-1, 3, 2}, {-1, 3, 2}}, {{"reduction", "none"}}},
    {"l1", {{-1, 3, 2}, {-1, 3, 2}}},
    {"smooth_l1", {{-1, 3, 2}, {-1, 3, 2}}, {{"beta", 0.7}}},
    {"smooth_l1", {{-1, 3}, {-1, 3}}, {{"beta", 0.0}, {"reduction", "sum"}}},
    {"bce", {{-1, 3, 2}, {-1, 3, 2}}, {}, {}, true},
    {"bce", {{-1, 3}, {-1, 3}}, {{"from_logits", true}, {"reduction", "sum"}}},
    {"kl", {{-1, 3}, {-1, 3}}, {{"reduction", "batch_mean"}}, {}, true},
    {"kl", {{-1, 3}, {-1, 3}}, {{"reduction", "none"}}, {}, true},
    {"hinge", {{-1, 6}, {-1}}, {}, {DType::f64, DType::i32}},
    {"hinge", {{-1, 8, 2}, {-1, 2}}, {{"reduction", "sum"}, {"margin", 0.4567}}, {DType::f64, DType::i32}},
};

// Neither what is only kept for the way back nor what becomes a running statistic.
bool influences_loss(const OpDef& def, const std::string& output)
{
  return std::find(def.kept.begin(), def.kept.end(), output) == def.kept.end() &&
         std::none_of(def.updates.begin(), def.updates.end(), [&](const auto& u) { return u.first == output; });
}

bool is_learnt(const OpDef& def, size_t input)
{
  return std::none_of(def.parameters.begin(), def.parameters.end(), [&](const ParameterDef& p) {
    return !p.is_learnt && p.name == parse_operand_spec(def.inputs.at(std::min(input, def.inputs.size() - 1))).name;
  });
}

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
      for (int64_t j = 0; j < inputs[i].size(); j++)
        if (types[i]->dtype == DType::boolean)
          inputs[i].set(j, static_cast<double>(j % 2));
        else if (!is_float(types[i]->dtype))
          inputs[i].set(j, static_cast<double>(2 * j + 1)); // labels; a key and a step
        else if (e.positive)
          inputs[i].set(j, std::abs(inputs[i].get(j)));
    }
    for (const FormulaTensor* tensor : with_role(forward, Role::output)) {
      have.push_back(is_float(tensor->type.dtype) && influences_loss(*def, tensor->name));
      adjoints.push_back(have.back() ? separated_numbers(tensor->type, 11) : Tensor(DType::f64, {0}));
    }
    for (int k = 0; k < static_cast<int>(types.size()); k++) {
      const bool comes_later = def->is_internal && !def->no_gradient.empty(); // no gradient is taken of it
      if (!is_float(types[k]->dtype) || !is_learnt(*def, static_cast<size_t>(k)) || comes_later)
        continue;
      CAPTURE(k);
      Tensor want = differences(forward, inputs, static_cast<size_t>(k), adjoints);
      std::vector<Gradient> own = gradients_of(*def, types, attributes, {k}, have, {});
      if (own.empty()) { // it influences the output in steps only
        for (int64_t i = 0; i < want.size(); i++)
          CHECK(want.get(i) == 0);
        continue;
      }
      REQUIRE(own.size() == 1);
      if (Gradient derived = derive(forward, {k}, have, {}); !derived.wanted.empty()) // a step has none
        own.push_back(std::move(derived));
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
