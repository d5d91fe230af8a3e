// y[n, c, h*stride_h + i*dilation_h - pad_top, ...] += x[n,c,h,w] where (i, j) is the tap at which max_pool2d of `from`
// found its largest value
//
// Zeiler, Fergus, "Visualizing and understanding convolutional networks", ECCV 2014. What a maximum sends back along
// its switches; `from` is what the pool reads. Values that meet at one place add up.
#include "ir/shape_text.h"
#include "ir/window.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

const Window& window()
{
  static const Window its{.rank = 2, .rounds_up = true};
  return its;
}

std::string formula(const OpCall& op)
{
  const Window& w = window();
  return fmt::format("m: {0}[{1}]\n"
                     "tap: i32[{1}]\n"
                     "m[n,c,h,w], tap max= from[n, c{2}] where {3}\n"
                     "y[n, c{2}] += select(tap[n,c,h,w] == i*kernel_w + j, x[n,c,h,w], 0) where {3}",
                     to_string(op.inputs[0].type->dtype), extents(op.shape(0)), w.places(), w.tap_ranges());
}

} // namespace

extern const OpDef op_max_unpool2d{
    .name = "max_unpool2d",
    .doc = "puts each value where a max_pool2d with this window found its largest one in `from`, and zeros elsewhere",
    .inputs = {"x[N,C,OH,OW]", "from[N,C,H,W]"},
    .outputs = {"y[N,C,H,W]"},
    .attributes = {window().kernel_attribute("extents of the window"), window().stride_attribute("kernel"),
                   window().padding_attribute("how far windows reach outside"), window().dilation_attribute(),
                   window().ceil_mode_attribute()},
    .checks =
        [] {
          std::vector<CheckDef> checks = window().fits_and_touches();
          checks.push_back({"OH == " + window().output(0) + " and OW == " + window().output(1),
                            "the pool of `from` is {" + window().output(0) + "} by {" + window().output(1) +
                                "}, the input {OH} by {OW}"});
          return checks;
        }(),
    .make_formula = formula,
};

} // namespace cnnc
