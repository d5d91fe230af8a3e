// y[n,c,h,w] = B' x[n, c, tile*h - pad_top ..., tile*w - pad_left ...] B     a tile of tile + taps - 1 rows and columns
#include "ir/winograd_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  op.want_floats();
  const int64_t tile = op.integer("tile");
  return tile_text(
      winograd_matrices(tile, op.integer("taps")).input, "n,c,h,w",
      [&](size_t i, size_t j) {
        return fmt::format("x[n,c,{0}*h + {1} - pad_top,{0}*w + {2} - pad_left]?", tile, i, j);
      },
      [](size_t a, size_t b) { return fmt::format("y[n,c,h,w,{},{}]", a, b); }, "",
      fmt::format(" where h < {}, w < {}", op.integer("rows"), op.integer("columns")));
}

} // namespace

extern const OpDef op_winograd_input{
    .name = "winograd_input",
    .doc = "tiles of a picture as a convolution with few multiplications takes them; what winograd puts in",
    .inputs = {"x[N,C,H,W]"},
    .outputs = {"y"},
    .attributes =
        {winograd_tile_attribute(),
         winograd_taps_attribute(),
         {.name = "rows", .minimum = 1, .maximum = 1 << 20, .doc = "of tiles"},
         {.name = "columns", .minimum = 1, .maximum = 1 << 20, .doc = "of tiles"},
         {.name = "pad_top", .minimum = -(1 << 20), .maximum = 1 << 20, .doc = "rows before the picture"},
         {.name = "pad_left", .minimum = -(1 << 20), .maximum = 1 << 20, .doc = "columns before the picture"}},
    .checks = {winograd_check()},
    .make_formula = formula,
    .no_gradient = "it comes after the gradients",
    .is_internal = true,
};

} // namespace cnnc
