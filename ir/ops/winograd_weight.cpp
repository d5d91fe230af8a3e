// y[o,c] = G w[o,c] G'     of a window of taps x taps; `flip` turns the window round
#include "ir/winograd_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  op.want_floats();
  const auto taps = static_cast<size_t>(op.integer("taps"));
  auto tap = [&](size_t i) { return op.integer("flip") ? taps - 1 - i : i; };
  return tile_text(
      winograd_matrices(op.integer("tile"), op.integer("taps")).weight, "o,c",
      [&](size_t i, size_t j) { return fmt::format("w[o,c,{},{}]", tap(i), tap(j)); },
      [](size_t a, size_t b) { return fmt::format("y[o,c,{},{}]", a, b); }, "", "");
}

} // namespace

extern const OpDef op_winograd_weight{
    .name = "winograd_weight",
    .doc = "weights as a convolution with few multiplications takes them; what winograd puts in",
    .inputs = {"w[O,C,KH,KW]"},
    .outputs = {"y"},
    .attributes = {winograd_tile_attribute(),
                   winograd_taps_attribute(),
                   {.name = "flip",
                    .kind = AttributeKind::boolean,
                    .default_value = false,
                    .doc = "the window's last row and column first"}},
    .checks = {winograd_check(),
               {"KH == taps", "a window of {taps} x {taps} is wanted, not {KH} x {KW}"},
               {"KW == taps", "a window of {taps} x {taps} is wanted, not {KH} x {KW}"}},
    .make_formula = formula,
    .no_gradient = "it comes after the gradients",
    .is_internal = true,
};

} // namespace cnnc
