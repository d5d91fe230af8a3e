// y = (x - mean) / sqrt(var + epsilon) * weight + bias     over all dimensions from `axis` on
//
// Ba, Kiros, Hinton, "Layer normalization", 2016.
#include "ir/norm_text.h"
#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

NormText text(const OpCall& op)
{
  NormText t;
  std::string own, points;
  const size_t axis = axis_of(op.integer("axis"), op.shape(0).size());
  for (size_t d = 0; d < op.shape(0).size(); ++d) {
    t.x += fmt::format("{}i{}", d == 0 ? "" : ",", d);
    if (d < axis) {
      t.statistics += fmt::format("{}i{}", d == 0 ? "" : ",", d);
      continue;
    }
    own += fmt::format("{}i{}", d == axis ? "" : ",", d);
    const Dim& dim = op.shape(0)[d];
    points +=
        fmt::format("{}{}", d == axis ? "" : "*", dim.batch ? fmt::format("{}*N", dim.size) : std::to_string(dim.size));
  }
  t.points = "(" + points + ")";
  if (op.has(1))
    t.weight = "weight[" + own + "]";
  if (op.has(2))
    t.bias = "bias[" + own + "]";
  const Shape wanted(op.shape(0).begin() + static_cast<std::ptrdiff_t>(axis), op.shape(0).end());
  for (size_t i : {1, 2})
    if (op.has(i) && op.shape(i) != wanted)
      throw Error({}, fmt::format("its {} is {}, the normalized dimensions are {}", i == 1 ? "weight" : "bias",
                                  to_string(op.shape(i)), to_string(wanted)));
  return t;
}

std::vector<int64_t> own_dims(const OpCall& op)
{
  std::vector<int64_t> dims;
  for (size_t d = axis_of(op.integer("axis"), op.shape(0).size()); d < op.shape(0).size(); ++d) {
    if (op.shape(0)[d].batch)
      throw Error({}, "the batch is not normalized over: parameters cannot have its size");
    dims.push_back(op.shape(0)[d].size);
  }
  return dims;
}

} // namespace

extern const OpDef op_layer_norm{
    .name = "layer_norm",
    .doc = "gives each image mean 0 and deviation 1, then each element a learnt factor and summand",
    .inputs = {"x[...]", "weight[...]?", "bias[...]?"},
    .outputs = {"y", "mean", "inverse"},
    .attributes = {{.name = "axis",
                    .default_value = int64_t{1},
                    .minimum = -64,
                    .maximum = 64,
                    .doc = "the first of the dimensions that are normalized together"},
                   epsilon_attribute(1e-5)},
    .parameters = {{.name = "weight", .initial = "one", .make_dims = own_dims},
                   {.name = "bias", .initial = "zero", .make_dims = own_dims}},
    .make_formula = [](const OpCall& op) { return norm_formula(text(op)); },
    .make_gradient = [](const OpCall& op) { return norm_gradient(text(op)); },
    .kept = {"mean", "inverse"},
};

} // namespace cnnc
