// y[n,c,h,w] = max over i, j of x[n, c, h*stride_h + i*dilation_h - pad_top, ...]; tap: which (i, j) it was, the first
#include "ir/window.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

OpDef max_pool(size_t rank)
{
  const Window window{.rank = rank, .rounds_up = true};
  return {
      .name = fmt::format("max_pool{}d", rank),
      .doc = "the largest value under a window, for each channel",
      .inputs = {"x[N,C" + window.extents() + "]"},
      .outputs = {"y[N,C" + window.outputs() + "]", "tap:u8"},
      .attributes = {window.kernel_attribute("extents of the window"), window.stride_attribute("kernel"),
                     window.padding_attribute("how far windows may reach outside; nothing there is ever the largest"),
                     window.dilation_attribute(), window.ceil_mode_attribute()},
      .checks = window.fits_and_touches(),
      .hints = window.reaches_end(),
      .formula = fmt::format("y[n,c{}], tap max= x[n, c{}]\n  where {}", window.indices(), window.places(),
                             window.tap_ranges()),
      .kept = {"tap"},
  };
}

} // namespace

extern const OpDef op_max_pool1d = max_pool(1);
extern const OpDef op_max_pool2d = max_pool(2);
extern const OpDef op_max_pool3d = max_pool(3);

} // namespace cnnc
