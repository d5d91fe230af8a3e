// y[n,o,h,w] = bias[o] + sum over c, i, j of x[n, c, h*stride_h + i*dilation_h - pad_top, ...] * weight[o,c,i,j]
//
// groups: the filters of a group see the channels of that group only. flip: true convolution, the kernel reversed.
#include "ir/window.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const Window& window, const OpCall& op)
{
  bool flip = op.integer("flip") != 0;
  // A group of one filter, or of one channel, needs no index for it: depthwise reads x[n,g,...].
  std::string filter = "o", channel = "c", own_channel = "c", ranges;
  if (int64_t groups = op.integer("groups"); groups > 1) {
    int64_t filters = op.integer("O") / groups, channels = op.integer("I");
    filter = filters == 1 ? "g" : fmt::format("g*{} + o", filters);
    channel = channels == 1 ? "g" : fmt::format("g*{} + c", channels);
    own_channel = channels == 1 ? "0" : "c";
    ranges = fmt::format("\n  where g < {}", groups);
    if (filters > 1)
      ranges += fmt::format(", o < {}", filters);
  }
  std::string taps = window.taps();
  if (flip) {
    taps.clear();
    for (size_t d = 0; d < window.rank; ++d)
      taps += fmt::format(", {} - 1 - {}", window.kernel(d), window.taps()[2 * d + 1]);
    ranges += (ranges.empty() ? "\n  where " : ", ") + window.tap_ranges();
  }
  return fmt::format("y[n,o{0}] = bias[o]\n"
                     "y[n, {1}{0}] += x[n, {2}{3}] * weight[{1}, {4}{5}]{6}",
                     window.indices(), filter, channel, window.places(), own_channel, taps, ranges);
}

OpDef conv(size_t rank)
{
  const Window window{.rank = rank, .has_weight = true}, layer{.rank = rank};
  const std::string fan_in = "max(C/groups, 1)";
  std::vector<std::string> dims{"filters", fan_in};
  std::string elements = fan_in;
  for (size_t d = 0; d < rank; ++d) {
    dims.push_back(layer.kernel(d));
    elements += "*" + layer.kernel(d);
  }
  const char* over[] = {"a signal", "a picture", "a volume"};
  return {
      .name = fmt::format("conv{}d", rank),
      .doc = fmt::format("slides filters over {} (cross-correlation, as the field has it; flip: true reverses the "
                         "kernel)",
                         over[rank - 1]),
      .inputs = {"x[N,C" + window.extents() + "]", "weight[O,I" + window.kernels() + "]", "bias[O]?"},
      .outputs = {"y[N,O" + window.outputs() + "]"},
      .attributes = {window.stride_attribute(int64_t{1}),
                     window.padding_attribute("zeros around the input; same keeps the size at stride 1"),
                     window.dilation_attribute(),
                     groups_attribute(),
                     {.name = "flip",
                      .kind = AttributeKind::boolean,
                      .default_value = false,
                      .doc = "reverse the kernel, as the mathematical definition of convolution does"}},
      .layer = {{.name = "filters", .minimum = 1, .doc = "output channels"},
                layer.kernel_attribute("extents of a filter"),
                bias_attribute("a learnt number added to each channel")},
      .parameters = {{.name = "weight", .dims = dims, .initial = "he", .fan_in = elements},
                     {.name = "bias", .dims = {"filters"}, .initial = "zero", .only_when = "bias"}},
      .checks = window.fits({{"C % groups == 0", "{C} input channels do not divide into {groups} groups"},
                             {"O % groups == 0", "{O} filters do not divide into {groups} groups"},
                             {"C == I*groups", "weight wants {I*groups} input channels, the input has {C}"}}),
      .hints = window.reaches_end(),
      .make_formula = [window](const OpCall& op) { return formula(window, op); },
  };
}

} // namespace

extern const OpDef op_conv1d = conv(1);
extern const OpDef op_conv2d = conv(2);
extern const OpDef op_conv3d = conv(3);

} // namespace cnnc
