// y = s / d     s[n,c,h,w] = sum over i, j of x[n, c, h*stride_h + i - pad_top, ...];  d[h,w]: how many of them are
// inside
#include "ir/window.h"

namespace cnnc {

namespace {

const Window window{"kernel_h", "kernel_w", false};

std::string formula(const OpCall& op)
{
  std::string ranges =
      "\n  where h < " + window.output_height() + ", w < " + window.output_width() + ", i < kernel_h, j < kernel_w\n";
  std::string sum = "s[n,c,h,w] += x[n, c, h*stride_h + i - pad_top, w*stride_w + j - pad_left]" + ranges;
  // Every window has all its taps, or counts them as if it had.
  bool inside = op.integer("pad_top") == 0 && op.integer("pad_left") == 0 && op.integer("pad_bottom") == 0 &&
                op.integer("pad_right") == 0;
  if (inside || op.integer("count_include_pad") != 0)
    return sum + "y[n,c,h,w] = s[n,c,h,w] / (kernel_h*kernel_w)";
  return sum + "d[h,w] += inside(x[0, 0, h*stride_h + i - pad_top, w*stride_w + j - pad_left])" + ranges +
         "y[n,c,h,w] = s[n,c,h,w] / d[h,w]";
}

} // namespace

extern const OpDef op_avg_pool2d{
    .name = "avg_pool2d",
    .doc = "the mean under a window, for each channel",
    .inputs = {"x[N,C,H,W]"},
    .outputs = {"y[N,C," + window.output_height() + "," + window.output_width() + "]"},
    .attributes = {kernel_attribute("height and width of the window"),
                   stride_attribute("kernel"),
                   padding_attribute("how far windows may reach outside"),
                   {.name = "count_include_pad",
                    .kind = AttributeKind::boolean,
                    .default_value = false,
                    .doc = "divide by the window's size also where part of it is outside"}},
    .checks = window.fits_and_touches(),
    .hints = window.reaches_end(),
    .make_formula = formula,
};

} // namespace cnnc
