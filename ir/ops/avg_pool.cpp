// y = s / d     s[n,c,h,w] = sum over i, j of x[n, c, h*stride_h + i*dilation_h - pad_top, ...]
//
// d[h,w]: how many of them are inside of x; with count_include_pad how many are inside of x and its padding, which with
// ceil_mode may be less than all.
#include "ir/window.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const Window& window, const OpCall& op)
{
  op.want_floats();
  const std::string ranges = fmt::format("\n  where {}, {}\n", window.index_ranges(), window.tap_ranges());
  const std::string sum = fmt::format("s[n,c{}] += x[n, c{}]{}", window.indices(), window.places(), ranges);
  const AttributeDef padding = window.padding_attribute(""), kernel = window.kernel_attribute(""),
                     stride = window.stride_attribute(int64_t{1}), dilation = window.dilation_attribute();
  bool pads = false, overhangs = false;
  std::string taps, is_padded;
  for (size_t d = 0; d < window.rank; ++d) {
    const int64_t before = op.integer(padding.parts[d]), after = op.integer(padding.parts[window.rank + d]);
    const int64_t padded = op.integer(window.extent(d)) + before + after;
    const int64_t span = op.integer(dilation.parts[d]) * (op.integer(kernel.parts[d]) - 1);
    const int64_t step = op.integer(stride.parts[d]);
    pads = pads || before > 0 || after > 0;
    overhangs = overhangs || (op.integer("ceil_mode") != 0 && (padded - span - 1) % step != 0);
    taps += (d == 0 ? "" : "*") + kernel.parts[d];
    is_padded += fmt::format("{}{}*{} + {}*{} < {}", d == 0 ? "" : " and ", window.indices()[2 * d + 1], step,
                             window.taps()[2 * d + 1], op.integer(dilation.parts[d]), padded);
  }
  const bool counts_padding = op.integer("count_include_pad") != 0;
  if (!overhangs && (!pads || counts_padding)) // every window has all its taps, or counts them as if it had
    return sum + fmt::format("y[n,c{}] = s[n,c{}] / ({})", window.indices(), window.indices(), taps);
  const std::string counted =
      counts_padding ? fmt::format("select({}, 1, 0)", is_padded) : fmt::format("inside(x[0, 0{}])", window.places());
  const std::string at = window.indices().substr(1);
  // The count in front: so the quotient shares the sums' registers.
  return fmt::format("d[{1}] += {2}{3}{0}y[n,c,{1}] = s[n,c,{1}] / d[{1}]", sum, at, counted, ranges);
}

OpDef avg_pool(size_t rank)
{
  const Window window{.rank = rank, .rounds_up = true};
  return {
      .name = fmt::format("avg_pool{}d", rank),
      .doc = "the mean under a window, for each channel",
      .inputs = {"x[N,C" + window.extents() + "]"},
      .outputs = {"y[N,C" + window.outputs() + "]"},
      .attributes = {window.kernel_attribute("extents of the window"),
                     window.stride_attribute("kernel"),
                     window.padding_attribute("how far windows may reach outside"),
                     window.dilation_attribute(),
                     window.ceil_mode_attribute(),
                     {.name = "count_include_pad",
                      .kind = AttributeKind::boolean,
                      .default_value = false,
                      .doc = "divide by the window's size also where part of it is outside"}},
      .checks = window.fits_and_touches(),
      .hints = window.reaches_end(),
      .make_formula = [window](const OpCall& op) { return formula(window, op); },
  };
}

} // namespace

extern const OpDef op_avg_pool1d = avg_pool(1);
extern const OpDef op_avg_pool2d = avg_pool(2);
extern const OpDef op_avg_pool3d = avg_pool(3);

} // namespace cnnc
