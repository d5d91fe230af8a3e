// y[n,c,h,w] = (sum over i, j of |x[n, c, h*stride_h + i*dilation_h - pad_top, ...]|^p)^(1/p)
#include "ir/power_mean.h"
#include "ir/window.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

OpDef lp_pool(size_t rank)
{
  const Window window{.rank = rank, .rounds_up = true};
  const std::string target = "n,c" + window.indices(), at = "n, c" + window.places();
  const std::string ranges = fmt::format("\n  where {}, {}", window.index_ranges(), window.tap_ranges());
  return {
      .name = fmt::format("lp_pool{}d", rank),
      .doc = "the p-norm of what is under a window, for each channel",
      .inputs = {"x[N,C" + window.extents() + "]"},
      .outputs = {"y[N,C" + window.outputs() + "]"},
      .attributes = {window.kernel_attribute("extents of the window"), window.stride_attribute("kernel"),
                     window.padding_attribute("how far windows may reach outside"), window.dilation_attribute(),
                     window.ceil_mode_attribute(), power_attribute()},
      .checks = window.fits_and_touches(),
      .hints = window.reaches_end(),
      .make_formula = [=](const OpCall& op) { return power_sum_text(op.integer("p"), target, at, ranges); },
      .make_gradient = [=](const OpCall& op) { return power_sum_gradient(op.integer("p"), target, at, ranges); },
  };
}

} // namespace

extern const OpDef op_lp_pool1d = lp_pool(1);
extern const OpDef op_lp_pool2d = lp_pool(2);
extern const OpDef op_lp_pool3d = lp_pool(3);

} // namespace cnnc
