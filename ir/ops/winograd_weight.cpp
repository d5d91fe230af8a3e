// y[o,c] = G w[o,c] G'     of a window of taps x taps; `flip` turns the window round
#include "ir/winograd_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  op.want_floats();
  const Matrix matrix = winograd_matrices(op.integer("tile"), op.integer("taps")).weight;
  const auto taps = static_cast<size_t>(op.integer("taps"));
  auto tap = [&](size_t i) { return op.integer("flip") ? taps - 1 - i : i; };
  std::string text;
  for (size_t j = 0; j < taps; ++j) {
    std::vector<std::string> column;
    for (size_t i = 0; i < taps; ++i)
      column.push_back(fmt::format("w[o,c,{},{}]", tap(i), tap(j)));
    const std::vector<std::string> made = product_text(matrix, column);
    for (size_t a = 0; a < made.size(); ++a)
      text += fmt::format("t{}{}[o,c] = {}\n", a, j, made[a]);
  }
  for (size_t a = 0; a < matrix.size(); ++a) {
    std::vector<std::string> row;
    for (size_t j = 0; j < taps; ++j)
      row.push_back(fmt::format("t{}{}[o,c]", a, j));
    const std::vector<std::string> made = product_text(matrix, row);
    for (size_t b = 0; b < made.size(); ++b)
      text += fmt::format("y[o,c,{},{}] = {}\n", a, b, made[b]);
  }
  return text;
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
