// y = (x - mean) / sqrt(var + epsilon) * weight[c] + bias[c]     over the channels of a group and all their points
//
// instance_norm: every channel is a group. Wu, He, "Group normalization", ECCV 2018; Ulyanov, Vedaldi, Lempitsky,
// "Instance normalization: the missing ingredient for fast stylization", 2016.
#include "ir/norm_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

NormText text(const OpCall& op, int64_t groups)
{
  const Shape& shape = op.shape(0);
  const int64_t channels = shape[1].size;
  if (groups < 1 || channels % groups != 0)
    throw Error({}, fmt::format("{} channels do not divide into {} groups", channels, groups));
  const int64_t of_group = channels / groups;
  NormText t;
  std::string channel = groups == channels ? "g" : groups == 1 ? "c" : fmt::format("g*{} + c", of_group);
  t.x = "n, " + channel;
  t.statistics = groups == 1 && channels != 1 ? "n" : "n,g";
  int64_t points = of_group;
  for (size_t d = 2; d < shape.size(); ++d) {
    t.x += fmt::format(", i{}", d);
    points *= shape[d].size;
  }
  t.points = std::to_string(points);
  t.weight = "weight[" + channel + "]";
  t.bias = "bias[" + channel + "]";
  if (groups > 1 && groups < channels)
    t.ranges = fmt::format(" where g < {}, c < {}", groups, of_group);
  return t;
}

NormText instances(const OpCall& op)
{
  return text(op, op.shape(0)[1].size);
}

NormText group_text(const OpCall& op)
{
  return text(op, op.integer("groups"));
}

OpDef norm(std::string name, std::string doc, NormText (*make)(const OpCall&))
{
  return {
      .name = std::move(name),
      .doc = std::move(doc),
      .inputs = {"x[N,C,...]", "weight[C]", "bias[C]"},
      .outputs = {"y[N,C,...]", "mean", "inverse"},
      .attributes = {epsilon_attribute(1e-5)},
      .parameters = {{.name = "weight", .dims = {"C"}, .initial = "one"},
                     {.name = "bias", .dims = {"C"}, .initial = "zero"}},
      .make_formula = [make](const OpCall& op) { return norm_formula(make(op)); },
      .make_gradient = [make](const OpCall& op) { return norm_gradient(make(op)); },
      .kept = {"mean", "inverse"},
  };
}

} // namespace

extern const OpDef op_instance_norm =
    norm("instance_norm",
         "gives each channel of each image mean 0 and deviation 1, then each channel a learnt factor and summand",
         instances);

extern const OpDef op_group_norm = [] {
  OpDef def = norm("group_norm",
                   "gives the channels of a group together mean 0 and deviation 1, for each image, then each channel a "
                   "learnt factor and summand",
                   group_text);
  def.attributes.insert(def.attributes.begin(), {.name = "groups", .minimum = 1, .doc = "how many groups of channels"});
  return def;
}();

} // namespace cnnc
