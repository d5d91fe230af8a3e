// y[n, (i*factor + j)*C + c, h, w] = x[n, c, h*factor + i, w*factor + j]        dcr
// y[n, c*factor*factor + i*factor + j, h, w]                                    crd
#include "ir/op.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  const int64_t factor = op.integer("factor"), channels = op.integer("C");
  const std::string channel = op.text("order") == "dcr" ? fmt::format("i*{} + j*{} + c", factor * channels, channels)
                                                        : fmt::format("c*{} + i*{} + j", factor * factor, factor);
  return fmt::format("y[n, {}, h, w] = x[n, c, h*factor + i, w*factor + j] "
                     "where c < C, h < H/factor, w < W/factor, i < factor, j < factor",
                     channel);
}

} // namespace

extern const OpDef op_pixel_unshuffle{
    .name = "pixel_unshuffle",
    .doc = "pixels become channels: a picture that is smaller by factor (ONNX's SpaceToDepth)",
    .inputs = {"x[B,C,H,W]"},
    .outputs = {"y"},
    .attributes = {{.name = "factor", .minimum = 1, .maximum = 1024, .doc = "how much less tall and wide"},
                   {.name = "order",
                    .kind = AttributeKind::text,
                    .default_value = std::string("dcr"),
                    .doc = "which channels lie together: dcr those of a pixel, crd those of an input's channel, as "
                           "PyTorch has it",
                    .choices = {"dcr", "crd"}}},
    .checks = {{"H % factor == 0", "{H} rows do not divide by {factor}"},
               {"W % factor == 0", "{W} columns do not divide by {factor}"}},
    .make_formula = formula,
};

} // namespace cnnc
