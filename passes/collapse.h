// For choose_layouts, which rates kernels as they will run.
#pragma once

#include "passes/pass.h"

namespace cnnc {

void collapse(Nest&, const Target&, Remarks&);

} // namespace cnnc
