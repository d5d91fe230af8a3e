// y[n, o, tile*h ..., tile*w ...] = A' m[n,o,h,w] A + bias[o]     tile x tile elements of y for each tile of m
#include "ir/winograd_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  op.want_floats();
  const int64_t tile = op.integer("tile");
  return tile_text(
      winograd_matrices(tile, op.integer("taps")).output, "n,o,h,w",
      [](size_t a, size_t b) { return fmt::format("m[n,o,h,w,{},{}]", a, b); },
      [&](size_t i, size_t j) { return fmt::format("y[n,o,{0}*h + {1},{0}*w + {2}]", tile, i, j); },
      op.has(1) ? " + bias[o]" : "", "");
}

} // namespace

extern const OpDef op_winograd_output{
    .name = "winograd_output",
    .doc = "from the products of a convolution with few multiplications to its result; what winograd puts in",
    .inputs = {"m[N,O,TH,TW,A,B]", "bias[O]?"},
    .outputs = {"y[N,O,height,width]"},
    .attributes = {winograd_tile_attribute(),
                   winograd_taps_attribute(),
                   {.name = "height", .minimum = 1, .maximum = 1 << 22, .doc = "rows of y"},
                   {.name = "width", .minimum = 1, .maximum = 1 << 22, .doc = "columns of y"}},
    .checks = {winograd_check(),
               {"A == tile + taps - 1", "products of {tile} + {taps} - 1 rows and columns are wanted, not {A} x {B}"},
               {"B == tile + taps - 1", "products of {tile} + {taps} - 1 rows and columns are wanted, not {A} x {B}"},
               {"height <= TH*tile", "{TH} tiles do not reach {height} rows"},
               {"width <= TW*tile", "{TW} tiles do not reach {width} columns"}},
    .make_formula = formula,
    .no_gradient = "it comes after the gradients",
    .is_internal = true,
};

} // namespace cnnc
