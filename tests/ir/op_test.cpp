// The op table: what a row says is there, and what it answers is right.
#include "ir/op.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

using namespace cnnc;
using namespace std::string_literals;

namespace {

using Types = std::vector<std::optional<TensorType>>;

TensorType f32(std::vector<int64_t> dims) // -1 is the batch
{
  TensorType type;
  for (int64_t dim : dims)
    type.shape.push_back(dim < 0 ? Dim{1, true} : Dim{dim});
  return type;
}

TensorType typed(DType dtype, std::vector<int64_t> dims)
{
  TensorType type = f32(std::move(dims));
  type.dtype = dtype;
  return type;
}

TensorType i64()
{
  return {DType::i64, {}};
}

struct Sample {
  std::string op;
  Types inputs;
  Attributes attributes;
  std::vector<std::string> outputs;
};

const std::vector<int64_t> two{2, 2};

const std::vector<Sample> samples{
    {"conv2d", {f32({-1, 3, 32, 32}), f32({8, 3, 5, 5}), f32({8})}, {}, {"f32[n,8,28,28]"}},
    {"conv2d", {f32({-1, 3, 9, 11}), f32({8, 3, 3, 5})}, {{"stride", std::vector<int64_t>{2, 3}}}, {"f32[n,8,4,3]"}},
    {"conv2d",
     {f32({-1, 4, 8, 8}), f32({6, 2, 3, 3}), f32({6})},
     {{"groups", int64_t{2}}, {"padding", std::vector<int64_t>{1, 0, 2, 1}}, {"dilation", int64_t{2}}},
     {"f32[n,6,7,5]"}},
    {"conv2d", {f32({-1, 4, 8, 8}), f32({4, 1, 3, 3})}, {{"groups", int64_t{4}}, {"flip", true}}, {"f32[n,4,6,6]"}},
    {"local2d", {f32({-1, 3, 30, 30}), f32({5, 24, 24, 3, 7, 7}), f32({5, 24, 24})}, {}, {"f32[n,5,24,24]"}},
    {"max_pool2d", {f32({-1, 3, 8, 8})}, {{"kernel", int64_t{2}}}, {"f32[n,3,4,4]", "u8[n,3,4,4]"}},
    {"max_pool2d", {f32({-1, 3, 20, 20})}, {{"kernel", int64_t{17}}}, {"f32[n,3,1,1]", "i32[n,3,1,1]"}},
    {"avg_pool2d", {f32({-1, 3, 8, 8})}, {{"kernel", int64_t{2}}}, {"f32[n,3,4,4]"}},
    {"avg_pool2d",
     {f32({-1, 3, 8, 8})},
     {{"kernel", int64_t{3}}, {"stride", int64_t{1}}, {"padding", int64_t{1}}},
     {"f32[n,3,8,8]"}},
    {"global_avg_pool", {f32({-1, 3, 8, 8})}, {}, {"f32[n,3,1,1]"}},
    {"conv1d", {f32({-1, 4, 9}), f32({8, 4, 3}), f32({8})}, {{"padding", int64_t{1}}}, {"f32[n,8,9]"}},
    {"conv3d",
     {f32({-1, 4, 5, 8, 9}), f32({8, 4, 3, 3, 3})},
     {{"stride", std::vector<int64_t>{1, 2, 3}}, {"padding", std::vector<int64_t>{1, 0, 1, 1, 1, 0}}},
     {"f32[n,8,5,4,3]"}},
    {"conv_transpose1d", {f32({-1, 4, 9}), f32({4, 8, 3})}, {{"stride", int64_t{2}}}, {"f32[n,8,19]"}},
    {"conv_transpose2d",
     {f32({-1, 4, 3, 5}), f32({4, 3, 4, 4}), f32({6})},
     {{"stride", int64_t{2}}, {"padding", int64_t{1}}, {"groups", int64_t{2}}},
     {"f32[n,6,6,10]"}},
    {"conv_transpose3d",
     {f32({-1, 4, 3, 5, 2}), f32({4, 3, 2, 3, 1})},
     {{"stride", int64_t{2}}, {"output_padding", int64_t{1}}, {"dilation", std::vector<int64_t>{1, 2, 1}}},
     {"f32[n,3,7,14,4]"}},
    {"local1d", {f32({-1, 3, 9}), f32({5, 7, 3, 3})}, {}, {"f32[n,5,7]"}},
    {"max_pool1d", {f32({-1, 3, 9})}, {{"kernel", int64_t{2}}}, {"f32[n,3,4]", "u8[n,3,4]"}},
    {"max_pool1d", {f32({-1, 3, 9})}, {{"kernel", int64_t{2}}, {"ceil_mode", true}}, {"f32[n,3,5]", "u8[n,3,5]"}},
    // A last window that would start in the padding is dropped.
    {"max_pool1d",
     {f32({-1, 3, 4})},
     {{"kernel", int64_t{2}}, {"stride", int64_t{3}}, {"padding", int64_t{1}}, {"ceil_mode", true}},
     {"f32[n,3,2]", "u8[n,3,2]"}},
    {"max_pool3d",
     {f32({-1, 3, 9, 8, 7})},
     {{"kernel", std::vector<int64_t>{2, 3, 1}}, {"stride", int64_t{2}}},
     {"f32[n,3,4,3,4]", "u8[n,3,4,3,4]"}},
    {"avg_pool1d", {f32({-1, 3, 9})}, {{"kernel", int64_t{2}}}, {"f32[n,3,4]"}},
    {"avg_pool3d", {f32({-1, 3, 9, 8, 7})}, {{"kernel", int64_t{2}}, {"ceil_mode", true}}, {"f32[n,3,5,4,4]"}},
    {"lp_pool1d", {f32({-1, 3, 9})}, {{"kernel", int64_t{2}}}, {"f32[n,3,4]"}},
    {"lp_pool2d", {f32({-1, 3, 9, 9})}, {{"kernel", int64_t{3}}, {"p", int64_t{3}}}, {"f32[n,3,3,3]"}},
    {"lp_pool3d", {f32({-1, 3, 9, 9, 9})}, {{"kernel", int64_t{3}}, {"p", int64_t{1}}}, {"f32[n,3,3,3,3]"}},
    {"global_max_pool", {f32({-1, 3, 8})}, {}, {"f32[n,3,1]", "u8[n,3,1]"}},
    {"global_lp_pool", {f32({-1, 3, 8, 4, 2})}, {}, {"f32[n,3,1,1,1]"}},
    {"adaptive_avg_pool1d", {f32({-1, 3, 9})}, {{"size", int64_t{6}}}, {"f32[n,3,6]"}},
    {"adaptive_avg_pool2d", {f32({-1, 3, 13, 12})}, {{"size", int64_t{6}}}, {"f32[n,3,6,6]"}},
    {"adaptive_avg_pool3d", {f32({-1, 3, 4, 6, 2})}, {{"size", std::vector<int64_t>{2, 3, 4}}}, {"f32[n,3,2,3,4]"}},
    {"adaptive_max_pool1d", {f32({-1, 3, 9})}, {{"size", int64_t{6}}}, {"f32[n,3,6]"}},
    {"adaptive_max_pool2d", {f32({-1, 3, 13, 12})}, {{"size", int64_t{6}}}, {"f32[n,3,6,6]"}},
    {"adaptive_max_pool3d", {f32({-1, 3, 4, 6, 2})}, {{"size", int64_t{1}}}, {"f32[n,3,1,1,1]"}},
    {"max_unpool2d", {f32({-1, 3, 4, 3}), f32({-1, 3, 9, 6})}, {{"kernel", int64_t{2}}}, {"f32[n,3,9,6]"}},
    {"lrn", {f32({-1, 8, 3, 3})}, {{"size", int64_t{5}}}, {"f32[n,8,3,3]"}},
    {"layer_norm", {f32({-1, 3, 4}), f32({3, 4}), f32({3, 4})}, {}, {"f32[n,3,4]", "f32[n]", "f32[n]"}},
    {"instance_norm", {f32({-1, 3, 4}), f32({3}), f32({3})}, {}, {"f32[n,3,4]", "f32[n,3]", "f32[n,3]"}},
    {"group_norm",
     {f32({-1, 6, 4}), f32({6}), f32({6})},
     {{"groups", int64_t{2}}},
     {"f32[n,6,4]", "f32[n,2]", "f32[n,2]"}},
    {"mvn", {f32({-1, 3, 4})}, {{"axes", std::vector<int64_t>{0, 2}}}, {"f32[n,3,4]", "f32[3]", "f32[3]"}},
    {"batch_norm",
     {f32({-1, 3, 8, 8}), f32({3}), f32({3}), f32({3}), f32({3})},
     {},
     {"f32[n,3,8,8]", "f32[3]", "f32[3]"}},
    {"batch_norm",
     {f32({-1, 3, 5}), f32({3}), f32({3}), f32({3}), f32({3})},
     {{"training", true}},
     {"f32[n,3,5]", "f32[3]", "f32[3]", "f32[3]", "f32[3]"}},
    {"relu", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"leaky_relu", {f32({-1, 3})}, {}, {"f32[n,3]"}},
    {"sigmoid", {f32({5})}, {}, {"f32[5]"}},
    {"tanh", {f32({-1, 3, 8, 8})}, {}, {"f32[n,3,8,8]"}},
    {"prelu", {f32({-1, 3, 8}), f32({3})}, {}, {"f32[n,3,8]"}},
    {"elu", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"selu", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"celu", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"gelu", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"softplus", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"softsign", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"mish", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"swish", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"hard_sigmoid", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"hard_swish", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"thresholded_relu", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"clip", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"relu6", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"abs", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"neg", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"exp", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"log", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"sqrt", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"rsqrt", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"reciprocal", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"floor", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"erf", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"sign", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"identity", {f32({-1, 3, 8})}, {}, {"f32[n,3,8]"}},
    {"clip", {typed(DType::i32, {-1, 3})}, {{"min", -1.0}, {"max", 4.0}}, {"i32[n,3]"}},
    {"sign", {typed(DType::u8, {-1, 3})}, {}, {"u8[n,3]"}},
    {"cast", {f32({-1, 3})}, {{"to", "i8"}}, {"i8[n,3]"}},
    {"not", {typed(DType::boolean, {-1, 3})}, {}, {"bool[n,3]"}},
    {"dropout", {f32({-1, 3, 8, 8}), i64(), i64()}, {}, {"f32[n,3,8,8]"}},
    {"flatten", {f32({-1, 3, 8, 9})}, {}, {"f32[n,216]"}},
    {"flatten", {f32({-1, 7})}, {}, {"f32[n,7]"}},
    {"dense", {f32({-1, 20}), f32({10, 20}), f32({10})}, {}, {"f32[n,10]"}},
    {"copy", {f32({-1, 3, 8, 8})}, {}, {"f32[n,3,8,8]"}},
    {"winograd_input",
     {f32({-1, 3, 8, 8})},
     {{"rows", int64_t{2}}, {"columns", int64_t{3}}, {"pad_top", int64_t{1}}, {"pad_left", int64_t{1}}},
     {"f32[n,3,2,3,6,6]"}},
    {"winograd_weight", {f32({8, 3, 3, 3})}, {{"tile", int64_t{6}}}, {"f32[8,3,8,8]"}},
    {"winograd_output",
     {f32({-1, 8, 2, 3, 4, 4}), f32({8})},
     {{"tile", int64_t{2}}, {"height", int64_t{3}}, {"width", int64_t{6}}},
     {"f32[n,8,3,6]"}},
    {"flatten", {f32({-1, 7, 3})}, {{"axis", int64_t{-1}}}, {"f32[7*n,3]"}},
    {"flatten", {f32({-1, 7})}, {{"axis", int64_t{0}}}, {"f32[1,7*n]"}},
    {"reshape", {f32({-1, 4, 6})}, {{"shape", std::vector<int64_t>{0, 3, -1}}}, {"f32[n,3,8]"}},
    {"reshape", {f32({-1, 4, 6})}, {{"shape", std::vector<int64_t>{-1, 8}}}, {"f32[3*n,8]"}},
    {"reshape", {f32({0, 3})}, {{"shape", std::vector<int64_t>{3, -1}}}, {"f32[3,0]"}},
    {"transpose", {f32({-1, 4, 6})}, {}, {"f32[6,4,n]"}},
    {"squeeze", {f32({-1, 1, 6, 1})}, {{"axes", std::vector<int64_t>{-1}}}, {"f32[n,1,6]"}},
    {"unsqueeze", {f32({-1, 6})}, {{"axes", std::vector<int64_t>{3, 0}}}, {"f32[1,n,6,1]"}},
    {"slice",
     {f32({-1, 9, 7})},
     {{"starts", std::vector<int64_t>{2, -1}},
      {"ends", std::vector<int64_t>{100, INT64_MIN / 4}},
      {"axes", std::vector<int64_t>{1, -1}},
      {"steps", std::vector<int64_t>{3, -2}}},
     {"f32[n,3,4]"}},
    {"split", {f32({-1, 9})}, {{"sizes", std::vector<int64_t>{4, 0, 5}}, {"part", int64_t{1}}}, {"f32[n,0]"}},
    {"pad", {f32({-1, 5, 4})}, {{"padding", std::vector<int64_t>{0, 1, -2, 0, 0, 3}}}, {"f32[n,6,5]"}},
    {"gather", {f32({-1, 9, 4})}, {{"indices", std::vector<int64_t>{8, -1, 0}}}, {"f32[n,3,4]"}},
    {"tile", {f32({-1, 2, 4})}, {{"repeats", std::vector<int64_t>{1, 3, 2}}}, {"f32[n,6,8]"}},
    {"expand", {f32({-1, 1, 4})}, {{"shape", std::vector<int64_t>{2, 1, 3, 1}}}, {"f32[2,n,3,4]"}},
    {"resize", {f32({-1, 3, 8, 5})}, {{"scales", std::vector<double>{2.5}}}, {"f32[n,3,20,12]"}},
    {"resize",
     {f32({-1, 3, 8, 5})},
     {{"sizes", std::vector<int64_t>{4, 7}}, {"mode", std::string("cubic")}},
     {"f32[n,3,4,7]"}},
    {"pixel_shuffle", {f32({-1, 18, 4, 5})}, {{"factor", int64_t{3}}}, {"f32[n,2,12,15]"}},
    {"pixel_unshuffle", {f32({-1, 2, 12, 15})}, {{"factor", int64_t{3}}}, {"f32[n,18,4,5]"}},
    {"parameter", {f32({2, 3})}, {}, {"f32[2,3]"}},
    {"matmul", {f32({-1, 5, 2, 3}), f32({5, 3, 4})}, {}, {"f32[n,5,2,4]"}},
    {"matmul", {f32({3}), f32({-1, 3, 4})}, {}, {"f32[n,4]"}},
    {"matmul", {f32({-1, 3}), f32({3})}, {}, {"f32[n]"}},
    {"gemm",
     {f32({3, -1}), f32({4, 3}), f32({4})},
     {{"trans_a", true}, {"trans_b", true}, {"alpha", 0.5}},
     {"f32[n,4]"}},
    {"add", {f32({-1, 3, 8, 8}), f32({3, 1, 1})}, {}, {"f32[n,3,8,8]"}},
    {"mul", {f32({-1, 3, 8, 8}), f32({-1, 3, 1, 1})}, {}, {"f32[n,3,8,8]"}},
    {"sub", {f32({-1, 3, 8, 8}), f32({3, 1, 1})}, {}, {"f32[n,3,8,8]"}},
    {"div", {f32({-1, 3, 8, 8}), f32({3, 1, 1})}, {}, {"f32[n,3,8,8]"}},
    {"pow", {f32({-1, 3, 8, 8}), f32({3, 1, 1})}, {}, {"f32[n,3,8,8]"}},
    {"min", {f32({-1, 3, 8, 8}), f32({3, 1, 1})}, {}, {"f32[n,3,8,8]"}},
    {"max", {f32({-1, 3, 8, 8}), f32({3, 1, 1})}, {}, {"f32[n,3,8,8]"}},
    {"pow", {typed(DType::i64, {-1, 3}), f32({3})}, {}, {"i64[n,3]"}},
    {"div", {typed(DType::i8, {-1, 3}), typed(DType::i8, {3})}, {}, {"i8[n,3]"}},
    {"less", {f32({-1, 3, 8, 8}), f32({3, 1, 1})}, {}, {"bool[n,3,8,8]"}},
    {"less_equal", {f32({-1, 3, 8, 8}), f32({3, 1, 1})}, {}, {"bool[n,3,8,8]"}},
    {"greater", {f32({-1, 3, 8, 8}), f32({3, 1, 1})}, {}, {"bool[n,3,8,8]"}},
    {"greater_equal", {f32({-1, 3, 8, 8}), f32({3, 1, 1})}, {}, {"bool[n,3,8,8]"}},
    {"equal", {f32({-1, 3, 8, 8}), f32({3, 1, 1})}, {}, {"bool[n,3,8,8]"}},
    {"and", {typed(DType::boolean, {-1, 3}), typed(DType::boolean, {3})}, {}, {"bool[n,3]"}},
    {"or", {typed(DType::boolean, {-1, 3}), typed(DType::boolean, {3})}, {}, {"bool[n,3]"}},
    {"where",
     {typed(DType::boolean, {3, 1}), typed(DType::i32, {-1, 3, 2}), typed(DType::i32, {2})},
     {},
     {"i32[n,3,2]"}},
    {"concat", {f32({-1, 3, 8, 8}), f32({-1, 5, 8, 8}), f32({-1, 1, 8, 8})}, {}, {"f32[n,9,8,8]"}},
    {"softmax", {f32({-1, 10})}, {}, {"f32[n,10]"}},
    {"softmax", {f32({-1, 10, 4, 4})}, {}, {"f32[n,10,4,4]"}},
    {"log_softmax", {f32({-1, 10, 4, 4})}, {{"axis", int64_t{-1}}}, {"f32[n,10,4,4]"}},
    {"reduce_sum", {f32({-1, 10, 4, 4})}, {{"axes", std::vector<int64_t>{1, -1}}}, {"f32[n,1,4,1]"}},
    {"reduce_mean", {f32({-1, 10, 4, 4})}, {{"axes", std::vector<int64_t>{1, -1}}}, {"f32[n,1,4,1]"}},
    {"reduce_max", {f32({-1, 10, 4, 4})}, {{"axes", std::vector<int64_t>{1, -1}}}, {"f32[n,1,4,1]"}},
    {"reduce_min", {f32({-1, 10, 4, 4})}, {{"axes", std::vector<int64_t>{1, -1}}}, {"f32[n,1,4,1]"}},
    {"reduce_prod", {f32({-1, 10, 4, 4})}, {{"axes", std::vector<int64_t>{1, -1}}}, {"f32[n,1,4,1]"}},
    {"reduce_l1", {f32({-1, 10, 4, 4})}, {{"axes", std::vector<int64_t>{1, -1}}}, {"f32[n,1,4,1]"}},
    {"reduce_l2", {f32({-1, 10, 4, 4})}, {{"axes", std::vector<int64_t>{1, -1}}}, {"f32[n,1,4,1]"}},
    {"reduce_sum_square", {f32({-1, 10, 4, 4})}, {{"axes", std::vector<int64_t>{1, -1}}}, {"f32[n,1,4,1]"}},
    {"reduce_log_sum", {f32({-1, 10, 4, 4})}, {{"axes", std::vector<int64_t>{1, -1}}}, {"f32[n,1,4,1]"}},
    {"reduce_log_sum_exp", {f32({-1, 10, 4, 4})}, {{"axes", std::vector<int64_t>{1, -1}}}, {"f32[n,1,4,1]"}},
    {"reduce_sum", {f32({-1, 10, 4})}, {{"keep_dims", false}}, {"f32[n]"}},
    {"reduce_mean", {f32({-1, 10, 4})}, {{"axes", std::vector<int64_t>{0}}, {"keep_dims", false}}, {"f32[10,4]"}},
    {"reduce_max", {typed(DType::boolean, {-1, 5})}, {}, {"bool[n,1]"}},
    {"argmax", {f32({-1, 10, 4})}, {}, {"i64[n,1,4]"}},
    {"cross_entropy", {f32({-1, 10}), TensorType{DType::i32, {{1, true}}}}, {}, {"f32[]"}},
    {"cross_entropy",
     {f32({-1, 10, 4}), typed(DType::i32, {-1, 4}), f32({10})},
     {{"label_smoothing", 0.1}, {"ignore_index", int64_t{255}}},
     {"f32[]"}},
    {"nll", {f32({-1, 10}), typed(DType::i32, {-1})}, {{"reduction", "none"}}, {"f32[n]"}},
    {"hinge", {f32({-1, 10, 3}), typed(DType::i32, {-1, 3})}, {}, {"f32[]"}},
    {"mse", {f32({-1, 3, 8}), f32({-1, 3, 8})}, {}, {"f32[]"}},
    {"l1", {f32({-1, 3, 8}), f32({-1, 3, 8})}, {}, {"f32[]"}},
    {"smooth_l1", {f32({-1, 3, 8}), f32({-1, 3, 8})}, {}, {"f32[]"}},
    {"bce", {f32({-1, 3, 8}), f32({-1, 3, 8})}, {}, {"f32[]"}},
    {"kl", {f32({-1, 3, 8}), f32({-1, 3, 8})}, {}, {"f32[]"}},
    {"sgd",
     {f32({4, 3}), f32({4, 3}), f32({4, 3}), f32({})},
     {{"learning_rate", 0.1}, {"weight_decay", 0.01}, {"nesterov", true}},
     {"f32[4,3]", "f32[4,3]"}},
    {"adam", {f32({4}), f32({4}), f32({4}), f32({4}), f32({}), i64()}, {}, {"f32[4]", "f32[4]", "f32[4]"}},
};

Formula bound(const std::string& name, const Types& inputs, const Attributes& attributes)
{
  const OpDef* def = find_op(name);
  REQUIRE(def);
  return cnnc::bind(*def, inputs, check_attributes(*def, attributes, false, {}), {});
}

std::string message(const std::function<void()>& run)
{
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

std::string bind_message(const std::string& name, const Types& inputs, const Attributes& attributes)
{
  return message([&] { bound(name, inputs, attributes); });
}

std::string attribute_message(const std::string& name, const Attributes& attributes)
{
  return message([&] { check_attributes(*find_op(name), attributes, true, {}); });
}

bool has(const std::string& text, const std::string& part)
{
  return text.find(part) != text.npos;
}

int64_t layer_elements(const std::string& name, const TensorType& input, const Attributes& attributes,
                       const std::string& operand)
{
  const OpDef& def = *find_op(name);
  for (const LayerParameter& parameter : parameters_of(def, {input}, check_attributes(def, attributes, true, {}), {}))
    if (parameter.name == operand)
      return elements(parameter.type.shape);
  return -1;
}

} // namespace

TEST_CASE("every row is complete")
{
  std::set<std::string> names;
  for (const OpDef* def : op_table()) {
    CAPTURE(def->name);
    CHECK(names.insert(def->name).second);
    CHECK(find_op(def->name) == def);
    CHECK_FALSE(def->doc.empty());
    CHECK_FALSE(def->inputs.empty());
    CHECK_FALSE(def->outputs.empty());
    CHECK(def->formula.empty() == static_cast<bool>(def->make_formula));
    CHECK((def->gradient.empty() || !def->make_gradient));
    for (const std::vector<AttributeDef>* attributes : {&def->attributes, &def->layer})
      for (const AttributeDef& attribute : *attributes) {
        CAPTURE(attribute.name);
        CHECK_FALSE(attribute.doc.empty());
        CHECK(attribute.minimum <= attribute.maximum);
      }
    std::vector<OperandSpec> inputs = input_specs(*def, {}), outputs = output_specs(*def, {});
    for (const ParameterDef& parameter : def->parameters)
      CHECK(std::any_of(inputs.begin(), inputs.end(), [&](const OperandSpec& s) { return s.name == parameter.name; }));
    for (const std::string& kept : def->kept)
      CHECK(std::any_of(outputs.begin(), outputs.end(), [&](const OperandSpec& s) { return s.name == kept; }));
    CHECK(std::any_of(samples.begin(), samples.end(), [&](const Sample& s) { return s.op == def->name; }));
  }
  CHECK(find_op("conv7d") == nullptr);
  CHECK(find_op("formula") == &op_formula);
}

TEST_CASE("every row binds, and its results have the right types")
{
  for (const Sample& sample : samples) {
    CAPTURE(sample.op);
    Formula formula = bound(sample.op, sample.inputs, sample.attributes);
    verify(formula);
    std::vector<std::string> outputs;
    for (const FormulaTensor& tensor : formula.tensors)
      if (tensor.role == Role::output)
        outputs.push_back(to_string(tensor.type));
    CHECK(outputs == sample.outputs);
  }
}

TEST_CASE("a bound formula prints as text that binds to the same formula")
{
  for (const Sample& sample : samples) {
    Formula formula = bound(sample.op, sample.inputs, sample.attributes);
    std::vector<BoundInput> inputs;
    std::vector<OperandSpec> specs = operand_specs(formula, Role::input);
    size_t k = 0;
    for (const FormulaTensor& tensor : formula.tensors)
      if (tensor.role == Role::input)
        inputs.push_back({specs[k++], tensor.type});
    std::string text = to_string(formula);
    CAPTURE(text);
    Formula again = bind_formula(text, inputs, operand_specs(formula, Role::output), {}, {});
    CHECK(to_string(again) == text);
  }
}

TEST_CASE("attributes are spread over their parts and filled up")
{
  const OpDef& conv = *find_op("conv2d");
  Attributes a =
      check_attributes(conv, {{"filters", int64_t{4}}, {"kernel", int64_t{5}}, {"padding", "same"}}, true, {});
  CHECK(std::get<std::vector<int64_t>>(a.at("kernel")) == std::vector<int64_t>{5, 5});
  CHECK(std::get<std::vector<int64_t>>(a.at("padding")) == std::vector<int64_t>{2, 2, 2, 2});
  CHECK(std::get<std::vector<int64_t>>(a.at("stride")) == std::vector<int64_t>{1, 1});
  CHECK(std::get<bool>(a.at("bias")));
  Symbols symbols = symbols_of(conv, a);
  CHECK(std::get<int64_t>(symbols.at("pad_right")) == 2);
  CHECK(std::get<int64_t>(symbols.at("kernel_h")) == 5);
  CHECK(std::get<int64_t>(symbols.at("flip")) == 0);

  // An even kernel: the odd zero goes to the end. Dilation counts.
  a = check_attributes(conv,
                       {{"filters", int64_t{4}},
                        {"kernel", std::vector<int64_t>{4, 3}},
                        {"dilation", std::vector<int64_t>{1, 2}},
                        {"padding", "same"}},
                       true, {});
  CHECK(std::get<std::vector<int64_t>>(a.at("padding")) == std::vector<int64_t>{1, 2, 2, 2});
  a = check_attributes(conv, {{"padding", std::vector<int64_t>{3, 1}}}, false, {});
  CHECK(std::get<std::vector<int64_t>>(a.at("padding")) == std::vector<int64_t>{3, 1, 3, 1});
  CHECK(a.find("filters") == a.end());

  a = check_attributes(*find_op("max_pool2d"), {{"kernel", std::vector<int64_t>{2, 3}}}, false, {});
  CHECK(std::get<std::vector<int64_t>>(a.at("stride")) == std::vector<int64_t>{2, 3});
  a = check_attributes(*find_op("leaky_relu"), {{"slope", int64_t{1}}}, false, {});
  CHECK(std::get<double>(a.at("slope")) == 1.0);
}

TEST_CASE("wrong attributes are named")
{
  Attributes fine{{"filters", int64_t{4}}, {"kernel", int64_t{3}}};
  auto with = [&](const std::string& name, AttributeValue value) {
    Attributes a = fine;
    a[name] = std::move(value);
    return attribute_message("conv2d", a);
  };
  CHECK(attribute_message("conv2d", fine) == "(no error)");
  CHECK(has(with("kernl", int64_t{3}), "did you mean 'kernel'?"));
  CHECK(has(with("stride", int64_t{0}), "stride is at least 1, found 0"));
  CHECK(has(with("stride", int64_t{-2}), "stride is at least 1, found -2"));
  CHECK(has(with("padding", int64_t{1} << 40), "padding is at most"));
  CHECK(has(with("padding", "samee"), "padding wants"));
  CHECK(has(with("padding", std::vector<int64_t>{1, 2, 3}), "padding wants"));
  CHECK(has(with("stride", std::vector<int64_t>{1, 2, 3}), "wants one number or 2"));
  CHECK(has(with("filters", 2.5), "filters wants an integer, found 2.5"));
  CHECK(has(with("filters", "many"), "filters wants an integer, found \"many\""));
  CHECK(has(with("bias", int64_t{1}), "bias wants true or false"));
  CHECK(has(attribute_message("conv2d", {{"filters", int64_t{4}}}), "wants 'kernel'"));
  CHECK(has(attribute_message("dropout", {{"rate", 1.0}}), "rate is at most"));
  CHECK(has(attribute_message("dropout", {{"rate", std::nan("")}}), "rate is at least"));
  // In a graph's text the window is known from the weight's shape only.
  CHECK(has(message([] { check_attributes(*find_op("conv2d"), {{"padding", "same"}}, false, {}); }), "\"same\""));
  CHECK(has(message([] {
              check_attributes(*find_op("conv2d"), {{"filters", int64_t{4}}}, false, {});
            }),
            "no attribute 'filters'"));
}

TEST_CASE("operands that do not fit are errors that say what was wanted and what was found")
{
  TensorType x = f32({-1, 6, 28, 28});
  CHECK(has(bind_message("conv2d", {x, f32({16, 8, 5, 5})}, {}), "weight wants 8 input channels, the input has 6"));
  CHECK(has(bind_message("conv2d", {x, f32({16, 6, 29, 5})}, {}), "height 29 does not fit into height 28"));
  CHECK(has(bind_message("conv2d", {x, f32({16, 6, 5, 31})}, {{"padding", int64_t{1}}}),
            "width 31 does not fit into width 30"));
  CHECK(has(bind_message("conv2d", {x, f32({16, 6, 5, 5})}, {{"groups", int64_t{4}}}),
            "6 input channels do not divide into 4 groups"));
  CHECK(has(bind_message("conv2d", {x, f32({7, 3, 5, 5})}, {{"groups", int64_t{2}}}),
            "7 filters do not divide into 2 groups"));
  CHECK(has(bind_message("conv2d", {x, f32({16, 6, 5, 5}), f32({15})}, {}), "15"));
  CHECK(has(bind_message("conv2d", {x}, {}), "weight[O,I,KH,KW] is missing"));
  CHECK(has(bind_message("relu", {x, x}, {}), "takes 1 operand, found 2"));
  CHECK(has(bind_message("concat", {}, {}), "at least one"));
  CHECK(has(bind_message("concat", {x, f32({-1, 6, 28, 27})}, {}), "do not meet"));
  CHECK(has(bind_message("dense", {f32({-1, 16, 5, 5}), f32({10, 400})}, {}), "put a flatten before it"));
  CHECK(has(bind_message("max_pool2d", {f32({-1, 3, 4, 4})}, {{"kernel", int64_t{5}}}), "does not fit into height 4"));
  CHECK(has(bind_message("max_pool2d", {f32({-1, 3, 4, 4})}, {{"kernel", int64_t{2}}, {"padding", int64_t{2}}}),
            "outside of the input"));
  CHECK(has(bind_message("local2d", {f32({-1, 3, 30, 30}), f32({5, 23, 24, 3, 7, 7})}, {}), "this one has 24 by 24"));
  CHECK(bind_message("add", {f32({-1, 3, 8, 8}), f32({2, 1, 1})}, {}) != "(no error)");
  CHECK(bind_message("cross_entropy", {f32({-1, 10}), f32({-1})}, {}) != "(no error)");
}

TEST_CASE("a stride that does not meet the end gives a hint with sizes that do")
{
  auto hint = [](const std::string& op, const Types& inputs, const Attributes& attributes) {
    const OpDef& def = *find_op(op);
    return hints(def, inputs, check_attributes(def, attributes, false, {}));
  };
  Attributes two_steps{{"stride", int64_t{2}}};
  std::vector<std::string> found = hint("conv2d", {f32({-1, 1, 6, 7}), f32({4, 1, 3, 3})}, two_steps);
  REQUIRE(found.size() == 1);
  CHECK(found[0] == "kernel 3 with stride 2 on height 6 gives size 2.5: the last rows are ignored: 1; heights 5 or 7 "
                    "fit");
  CHECK(hint("conv2d", {f32({-1, 1, 7, 7}), f32({4, 1, 3, 3})}, two_steps).empty());
  // Only zeros are left out.
  CHECK(hint("conv2d", {f32({-1, 3, 224, 224}), f32({4, 3, 7, 7})}, {{"stride", int64_t{2}}, {"padding", int64_t{3}}})
            .empty());
  CHECK(hint("max_pool2d", {f32({-1, 1, 7, 6})}, {{"kernel", int64_t{2}}}).size() == 1);
}

TEST_CASE("layers bring their parameters along")
{
  // From the lecture: unshared 7x7 filters of depth 5 on 30x30x3; a dense layer of 1000 units on 256x256x3.
  CHECK(layer_elements("local2d", f32({-1, 3, 30, 30}), {{"filters", int64_t{5}}, {"kernel", int64_t{7}}}, "weight") ==
        423360);
  CHECK(layer_elements("dense", f32({-1, 256 * 256 * 3}), {{"units", int64_t{1000}}}, "weight") == 196608000);
  CHECK(layer_elements("conv2d", f32({-1, 96, 27, 27}),
                       {{"filters", int64_t{256}}, {"kernel", int64_t{5}}, {"groups", int64_t{2}}},
                       "weight") == 256 * 48 * 25);
  Attributes no_bias{{"filters", int64_t{4}}, {"kernel", int64_t{3}}, {"bias", false}};
  CHECK(layer_elements("conv2d", f32({-1, 3, 8, 8}), no_bias, "bias") == -1);
  const OpDef& conv = *find_op("conv2d");
  std::vector<LayerParameter> parameters =
      parameters_of(conv, {f32({-1, 3, 8, 8})},
                    check_attributes(conv, {{"filters", int64_t{4}}, {"kernel", int64_t{3}}}, true, {}), {});
  REQUIRE(parameters.size() == 2);
  CHECK(parameters[0].initial == "he(27)");
  CHECK(to_string(parameters[0].type) == "f32[4,3,3,3]");
  CHECK(parameters[1].initial == "zero");
  CHECK(message([] {
          layer_elements("local2d", f32({-1, 3, 5, 5}), {{"filters", int64_t{5}}, {"kernel", int64_t{7}}}, "weight");
        }) != "(no error)");
  CHECK(message([] {
          layer_elements("dense", f32({-1, 1 << 20}), {{"units", int64_t{1000000000}}}, "weight");
        }) != "(no error)");
}

TEST_CASE("the op formula means its text")
{
  Attributes attributes{{"inputs", std::vector<std::string>{"x[...]"}},
                        {"outputs", std::vector<std::string>{"y"}},
                        {"text", "y[...] = x[...] / (1 + exp(-x[...]))"}};
  Formula formula = cnnc::bind(op_formula, {f32({-1, 3})}, attributes, {});
  REQUIRE(formula.tensors.size() == 2);
  CHECK(to_string(formula.tensors[1].type) == "f32[n,3]");
  for (const char* inputs : {"x[", "", "x[N]:f33", "3", "x[N]?x"}) {
    CAPTURE(inputs);
    attributes["inputs"] = std::vector<std::string>{inputs};
    CHECK_THROWS_AS(cnnc::bind(op_formula, {f32({-1, 3})}, attributes, {}), Error);
  }
}

TEST_CASE("gradients that depend on the rank are made for it")
{
  CHECK(has(gradient_text(*find_op("softmax"), {f32({-1, 4, 5})}, {{"axis", int64_t{1}}}), "dx[n,c,i2] = y[n,c,i2]"));
  CHECK(has(gradient_text(*find_op("relu"), {f32({-1, 4, 5})}, {}), "dx[...]"));
  CHECK(gradient_text(*find_op("conv2d"), {f32({-1, 3, 8, 8}), f32({4, 3, 3, 3})}, {}).empty());
}

TEST_CASE("attribute values print as text")
{
  CHECK(to_string(AttributeValue(int64_t{-3})) == "-3");
  CHECK(to_string(AttributeValue(2.0)) == "2.0");
  CHECK(to_string(AttributeValue(0.1)) == "0.1");
  CHECK(to_string(AttributeValue(1e300)) == "1e+300");
  CHECK(to_string(AttributeValue(true)) == "true");
  CHECK(to_string(AttributeValue("a \"b\"\n\x01")) == "\"a \\\"b\\\"\\n\\x01\"");
  CHECK(to_string(AttributeValue(two)) == "[2, 2]");
  CHECK(to_string(AttributeValue(std::vector<std::string>{"a", "b"})) == "[\"a\", \"b\"]");
}
