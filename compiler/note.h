// What a network tells of itself without being loaded: an ELF note named "cnnc" whose text is JSON.
#pragma once

#include "compiler/interface.h"

namespace cnnc {

constexpr uint32_t note_type = 1;

// {"name": "lenet5", "compiler": "cnnc 0.1.0", "abi_version": 1, "march": ..., "targets": [...], "source": ..., "inputs": [...], ...}
std::string note_text(const Interface&, const Target&, const ArtefactInfo&);
// The section's bytes: sizes, type, "cnnc", the text.
std::string note_section(const std::string& text);

// The JSON text of a library that cnnc made. The file is hostile: every offset is checked. Throws Error: exit code 3
// where it cannot be read, 1 where it is no such library.
std::string read_note(const std::string& path);
// The network's name in such a text, which is also its descriptor's. Throws Error where it has none.
std::string note_name(const std::string& text);

} // namespace cnnc
