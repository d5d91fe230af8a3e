// The whole network as one module: kernels, steps, the descriptor, the exported functions, the note.
#pragma once

#include "compiler/interface.h"

namespace cnnc {

// Symbols that the object wants beside the runtime's, where there is something behind them.
constexpr const char* known_symbol = "cnnc_known_parameters";
constexpr const char* constants_symbol = "cnnc_constants";

struct EmittedModel {
  std::string text;                 // IR, assembly or object bytes
  std::vector<std::byte> constants; // for constants_symbol; empty: not wanted
};

EmittedModel emit_model(const Program&, const Target&, const Interface&, const ArtefactInfo&, Emit);

} // namespace cnnc
