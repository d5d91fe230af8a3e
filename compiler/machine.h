// Which machine code is made for: names as -march and --targets have them, to the plain numbers that passes see.
#pragma once

#include "passes/target.h"

#include <string>
#include <vector>

namespace cnnc {

Target host_target();
// "native" (what the processor has and the system allows), "x86-64", "x86-64-v2" ... "-v4", or a processor's name as
// LLVM knows it. Throws Error (exit code 2) for any other, with the nearest known name; `option` is where it stood.
Target make_target(const std::string& march, const std::string& option = "-march");
std::vector<std::string> march_names();

// What its code may ask of the machine that it runs on: rows of runtime/artefact/cpu_features.def.
uint64_t needs_of(const Target&);

} // namespace cnnc
