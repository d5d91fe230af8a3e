// What a library carries beside its code: constants, and the parameter block with what is known now and what follows.
#pragma once

#include "compiler/interface.h"
#include "compiler/link.h"
#include "compiler/llvm/emit_model.h"

namespace cnnc {

// What the code of `model` refers to. The fills read the arguments, which must live on. `target` is what the program was
// compiled for; where this machine cannot run its code, `prepare` is compiled once more for this one.
std::vector<LinkData> carried_data(const EmittedModel& model, const Program&, const Target&, const Interface&);

} // namespace cnnc
