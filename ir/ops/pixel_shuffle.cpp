// y[n, c, h*factor + i, w*factor + j] = x[n, (i*factor + j)*C + c, h, w]        dcr
//                                       x[n, c*factor*factor + i*factor + j, h, w]    crd
#include "ir/op.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  const int64_t factor = op.integer("factor"), channels = op.integer("C") / (factor * factor);
  const std::string channel = op.text("order") == "dcr" ? fmt::format("i*{} + j*{} + c", factor * channels, channels)
                                                        : fmt::format("c*{} + i*{} + j", factor * factor, factor);
  return fmt::format("y[n, c, h*factor + i, w*factor + j] = x[n, {}, h, w] where c < {}, i < factor, j < factor",
                     channel, channels);
}

} // namespace

extern const OpDef op_pixel_shuffle{
    .name = "pixel_shuffle",
    .doc = "channels become pixels: a picture that is larger by factor (ONNX's DepthToSpace)",
    .inputs = {"x[B,C,H,W]"},
    .outputs = {"y"},
    .attributes = {{.name = "factor", .minimum = 1, .maximum = 1024, .doc = "how much taller and wider"},
                   {.name = "order",
                    .kind = AttributeKind::text,
                    .default_value = std::string("dcr"),
                    .doc = "which channels lie together: dcr those of a pixel, crd those of a result's channel, as "
                           "PyTorch has it",
                    .choices = {"dcr", "crd"}}},
    .checks = {{"C % (factor*factor) == 0", "{C} channels do not divide by {factor*factor}"}},
    .make_formula = formula,
};

} // namespace cnnc
