// net.h: the C interface of one network, readable by a person, complete in itself.
#pragma once

#include "compiler/interface.h"

namespace cnnc {

// Compiles as C99 and as C++.
std::string header_text(const Interface&, const Target&, const ArtefactInfo&);

} // namespace cnnc
