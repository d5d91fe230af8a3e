// The parameter block that a library carries: what is known now, and what follows from it.
#pragma once

#include "compiler/interface.h"

namespace cnnc {

// Where some parameters are only drawn at run time, nothing is prepared yet.
int64_t known_bytes(const Interface&);
// `block` is known_bytes of zeros. `target` is what the program was compiled for; where this machine cannot run its
// code, `prepare` is compiled once more for this one.
void fill_known(const Program&, const Target&, const Interface&, std::byte* block);

} // namespace cnnc
