// A lowered program becomes what the user holds in hand: net.so with net.h, or LLVM IR, assembly, an object file.
//
//   Program ─ interface.h ─▶ Interface ─ llvm/emit_model.h ─▶ object ─┐
//                                       header_writer.h ─▶ net.h      ├─ link.h ─▶ net.so
//   weights ──────────────────────── into the room that the link leaves ┘
#pragma once

#include "ir/interpret.h"
#include "ir/program.h"
#include "passes/target.h"

#include <span>

namespace cnnc {

// The network for one machine. Those of one library have the same graphs and layouts: they share every block.
struct Variant {
  Program program;
  Target target;
};

// What the artefact tells of itself, and what it carries beside the program.
struct ArtefactInfo {
  std::string name;        // the network's; "" is that of the program's first function
  std::string source_text; // the YAML or IR
  std::string march, flags;
  const NamedTensors* weights = nullptr; // every parameter, in the standard layout: embedded
  std::span<const Variant> lesser;       // for machines that cannot run the program, the best first
};

enum class Emit : uint8_t { llvm, assembly, object };

std::string compiler_version(); // "cnnc 0.1.0"

// The network's own code and tables; an object lacks the runtime and the weights, which only the linker adds.
std::string emit(const Program&, const Target&, const ArtefactInfo&, Emit);

// so_path, and beside it the header: lenet5.so, lenet5.h. Both are written aside, then renamed; nothing is left half
// written. Throws Error: exit code 1 for weights that do not fit, 2 where there is no header path to the right of
// so_path, 3 where a file cannot be written.
void write_library(const Program&, const Target&, const ArtefactInfo&, const std::string& so_path);

} // namespace cnnc
