// y[n,o,h,w] = bias[o,h,w] + sum over c, i, j of x[n, c, h*stride_h + i - pad_top, ...] * weight[o,h,w,c,i,j]
#include "ir/window.h"

namespace cnnc {

namespace {

const Window window{"KH", "KW", false};
const Window layer_window{"kernel_h", "kernel_w", false};

} // namespace

extern const OpDef op_local2d{
    .name = "local2d",
    .doc = "a convolution whose filters are not shared: each place has its own (locally connected)",
    .inputs = {"x[N,C,H,W]", "weight[O,OH,OW,I,KH,KW]", "bias[O,OH,OW]?"},
    .outputs = {"y[N,O,OH,OW]"},
    .attributes = {stride_attribute(int64_t{1}), padding_attribute("zeros around the picture")},
    .layer = {{.name = "filters", .minimum = 1, .doc = "output channels"},
              kernel_attribute("height and width of a filter"),
              {.name = "bias",
               .kind = AttributeKind::boolean,
               .default_value = true,
               .doc = "a learnt number added to each output"}},
    .parameters = {{.name = "weight",
                    .dims = {"filters", layer_window.output_height(), layer_window.output_width(), "C", "kernel_h",
                             "kernel_w"},
                    .initial = "he",
                    .fan_in = "C*kernel_h*kernel_w"},
                   {.name = "bias",
                    .dims = {"filters", layer_window.output_height(), layer_window.output_width()},
                    .initial = "zero",
                    .only_when = "bias"}},
    .checks = window.fits({{"C == I", "weight wants {I} input channels, the input has {C}"},
                           {"OH == " + window.output_height() + " and OW == " + window.output_width(),
                            "weight is for an output of {OH} by {OW}, this one has {" + window.output_height() +
                                "} by {" + window.output_width() + "}"}}),
    .hints = window.reaches_end(),
    .formula = "y[n,o,h,w] = bias[o,h,w]\n"
               "y[n,o,h,w] += x[n, c, h*stride_h + i - pad_top, w*stride_w + j - pad_left] * weight[o,h,w,c,i,j]",
};

} // namespace cnnc
