// y[n, o, h*stride_h + i*dilation_h - pad_top, ...] = bias[o] + sum over c, i, j of x[n,c,h,w] * weight[c,o,i,j]
//
// The adjoint of a convolution: what a convolution of y with these attributes reads, this one writes. Its size is
//   (H - 1)*stride_h + dilation_h*(KH - 1) + 1 + output_padding_h - pad_top - pad_bottom
#include "ir/window.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

struct Texts {
  std::string extents, places; // of y
  std::vector<CheckDef> checks;
};

Texts texts(const Window& window)
{
  Texts result;
  const AttributeDef padding = window.padding_attribute(""), stride = window.stride_attribute(int64_t{1}),
                     dilation = window.dilation_attribute(), more = window.sizes_attribute("output_padding", "");
  for (size_t d = 0; d < window.rank; ++d) {
    const std::string size = fmt::format("({} - 1)*{} + {}*({} - 1) + 1 + {} - {} - {}", window.extent(d),
                                         stride.parts[d], dilation.parts[d], window.kernel(d), more.parts[d],
                                         padding.parts[d], padding.parts[window.rank + d]);
    const char index = window.indices()[2 * d + 1], tap = window.taps()[2 * d + 1];
    result.extents += "," + size;
    result.places +=
        fmt::format(", {}*{} + {}*{} - {}", index, stride.parts[d], tap, dilation.parts[d], padding.parts[d]);
    result.checks.push_back({size + " >= 1", "its padding leaves nothing: the output would have size {" + size + "}"});
  }
  return result;
}

std::string formula(const Window& window, const OpCall& op)
{
  std::string filter = "o", own_filter = "o", channel = "c", ranges;
  if (int64_t groups = op.integer("groups"); groups > 1) {
    int64_t filters = op.integer("M"), channels = op.integer("C") / groups;
    filter = filters == 1 ? "g" : fmt::format("g*{} + o", filters);
    own_filter = filters == 1 ? "0" : "o";
    channel = channels == 1 ? "g" : fmt::format("g*{} + c", channels);
    ranges = fmt::format("\n  where g < {}", groups);
    if (channels > 1)
      ranges += fmt::format(", c < {}", channels);
  }
  return fmt::format("y[n,o{0}] = bias[o]\n"
                     "y[n, {1}{2}] += x[n, {3}{0}] * weight[{3}, {4}{5}]{6}",
                     window.indices(), filter, texts(window).places, channel, own_filter, window.taps(), ranges);
}

OpDef conv_transpose(size_t rank)
{
  const Window window{.rank = rank, .has_weight = true}, layer{.rank = rank};
  Texts its = texts(window);
  std::vector<std::string> dims{"C", "max(filters/groups, 1)"};
  // A point of y meets a part of the kernel's taps: one in each stride.
  std::string elements = "max(C/groups, 1)";
  const AttributeDef stride = window.stride_attribute(int64_t{1});
  for (size_t d = 0; d < rank; ++d) {
    dims.push_back(layer.kernel(d));
    elements += fmt::format("*max({}/{}, 1)", layer.kernel(d), stride.parts[d]);
  }
  AttributeDef more = window.sizes_attribute(
      "output_padding", "rows and columns more at the end: which of the sizes that a convolution maps to this one");
  more.default_value = int64_t{0};
  more.minimum = 0;
  std::vector<CheckDef> checks{{"C % groups == 0", "{C} input channels do not divide into {groups} groups"},
                               {"C == I", "weight wants {I} input channels, the input has {C}"}};
  checks.insert(checks.end(), its.checks.begin(), its.checks.end());
  return {
      .name = fmt::format("conv_transpose{}d", rank),
      .doc = "the adjoint of a convolution: each value of the input adds a filter to the output, a stride apart",
      .inputs = {"x[N,C" + window.extents() + "]", "weight[I,M" + window.kernels() + "]", "bias[O]?"},
      .outputs = {"y[N,M*groups" + its.extents + "]"},
      .attributes = {window.stride_attribute(int64_t{1}),
                     window.padding_attribute("cut off around the output; same keeps the size at stride 1"),
                     window.dilation_attribute(), std::move(more), groups_attribute()},
      .layer = {{.name = "filters", .minimum = 1, .doc = "output channels"},
                layer.kernel_attribute("extents of a filter"),
                bias_attribute("a learnt number added to each channel")},
      .parameters = {{.name = "weight", .dims = dims, .initial = "he", .fan_in = elements},
                     {.name = "bias", .dims = {"filters"}, .initial = "zero", .only_when = "bias"}},
      .checks = std::move(checks),
      .make_formula = [window](const OpCall& op) { return formula(window, op); },
  };
}

} // namespace

extern const OpDef op_conv_transpose1d = conv_transpose(1);
extern const OpDef op_conv_transpose2d = conv_transpose(2);
extern const OpDef op_conv_transpose3d = conv_transpose(3);

} // namespace cnnc
