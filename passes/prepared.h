// What follows from a network's parameters alone, for the passes that move it out of `forward`.
#pragma once

#include "ir/program.h"

namespace cnnc {

// The function that is called to predict, where its parameters are its caller's and stay as they are: a network's first.
// Nothing where it changes them itself, has kernels already, or is still to become a training step.
Graph* forward_of(Program&);

// For each value: it is the same for every call until a parameter changes. Parameters, constants, prepared values, and
// results of ops that read nothing else (at least one of them no constant: those have been computed already).
std::vector<bool> steady_values(const Graph&);

} // namespace cnnc
