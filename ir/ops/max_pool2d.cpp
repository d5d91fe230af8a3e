// y[n,c,h,w] = max over i, j of x[n, c, h*stride_h + i*dilation_h - pad_top, ...]; tap: which (i, j) it was, the first
#include "ir/window.h"

namespace cnnc {

namespace {

const Window window{"kernel_h", "kernel_w"};

} // namespace

extern const OpDef op_max_pool2d{
    .name = "max_pool2d",
    .doc = "the largest value under a window, for each channel",
    .inputs = {"x[N,C,H,W]"},
    .outputs = {"y[N,C," + window.output_height() + "," + window.output_width() + "]", "tap:u8"},
    .attributes = {kernel_attribute("height and width of the window"), stride_attribute("kernel"),
                   padding_attribute("how far windows may reach outside; nothing there is ever the largest"),
                   dilation_attribute()},
    .checks = window.fits_and_touches(),
    .hints = window.reaches_end(),
    .formula =
        "y[n,c,h,w], tap max= x[n, c, h*stride_h + i*dilation_h - pad_top, w*stride_w + j*dilation_w - pad_left]\n"
        "  where i < kernel_h, j < kernel_w",
    .kept = {"tap"},
};

} // namespace cnnc
