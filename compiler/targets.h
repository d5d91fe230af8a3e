// Several machines for one library, and what a machine lacks.
#pragma once

#include "compiler/machine.h"

#include <cstdint>

namespace cnnc {

// --targets: the best first, so that the first one that a machine runs is the one to take. Throws Error (exit code 2):
// a name that is unknown, empty or there twice, more than 8, or two that need the same instructions.
std::vector<Target> make_targets(const std::vector<std::string>& names);

// "x86-64-v4,x86-64-v3" => {"x86-64-v4", "x86-64-v3"}; empty parts stay.
std::vector<std::string> split(const std::string& text, char between);

// Rows of runtime/artefact/cpu_features.def by name: "avx2", "fma".
std::vector<std::string> feature_names(uint64_t rows);
// Those of them that this machine lacks, or its system does not switch on.
std::vector<std::string> lacking(const std::vector<std::string>& features);

} // namespace cnnc
