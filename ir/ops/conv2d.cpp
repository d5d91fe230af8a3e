// y[n,o,h,w] = bias[o] + sum over c, i, j of x[n, c, h*stride_h + i*dilation_h - pad_top, ...] * weight[o,c,i,j]
//
// groups: the filters of a group see the channels of that group only. flip: true convolution, the kernel reversed.
#include "ir/window.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
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
  return fmt::format("y[n,o,h,w] = bias[o]\n"
                     "y[n, {0}, h, w] += x[n, {1}, h*stride_h + i*dilation_h - pad_top, "
                     "w*stride_w + j*dilation_w - pad_left] * weight[{0}, {2}, {3}, {4}]{5}",
                     filter, channel, own_channel, flip ? "KH - 1 - i" : "i", flip ? "KW - 1 - j" : "j",
                     ranges + (flip ? std::string(ranges.empty() ? "\n  where " : ", ") + "i < KH, j < KW" : ""));
}

const Window window{"KH", "KW"};

} // namespace

extern const OpDef op_conv2d{
    .name = "conv2d",
    .doc = "slides filters over a picture (cross-correlation, as the field has it; flip: true reverses the kernel)",
    .inputs = {"x[N,C,H,W]", "weight[O,I,KH,KW]", "bias[O]?"},
    .outputs = {"y[N,O," + window.output_height() + "," + window.output_width() + "]"},
    .attributes = {stride_attribute(int64_t{1}),
                   padding_attribute("zeros around the picture; same keeps the size at stride 1"),
                   dilation_attribute(),
                   {.name = "groups",
                    .default_value = int64_t{1},
                    .minimum = 1,
                    .doc = "channels and filters in groups that do not mix; as many as channels is depthwise"},
                   {.name = "flip",
                    .kind = AttributeKind::boolean,
                    .default_value = false,
                    .doc = "reverse the kernel, as the mathematical definition of convolution does"}},
    .layer = {{.name = "filters", .minimum = 1, .doc = "output channels"},
              kernel_attribute("height and width of a filter"),
              {.name = "bias",
               .kind = AttributeKind::boolean,
               .default_value = true,
               .doc = "a learnt number added to each channel"}},
    .parameters = {{.name = "weight",
                    .dims = {"filters", "max(C/groups, 1)", "kernel_h", "kernel_w"},
                    .initial = "he",
                    .fan_in = "max(C/groups, 1)*kernel_h*kernel_w"},
                   {.name = "bias", .dims = {"filters"}, .initial = "zero", .only_when = "bias"}},
    .checks = window.fits({{"C % groups == 0", "{C} input channels do not divide into {groups} groups"},
                           {"O % groups == 0", "{O} filters do not divide into {groups} groups"},
                           {"C == I*groups", "weight wants {I*groups} input channels, the input has {C}"}}),
    .hints = window.reaches_end(),
    .make_formula = formula,
};

} // namespace cnnc
