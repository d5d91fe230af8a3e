// Whether a kernel computes the same by another schedule.
#pragma once

#include "passes/pass.h"

#include <string>

namespace cnnc {

// Runs the nest (in canonical form) by the planner's schedule and by this one, for one image of random numbers, and with
// `interprets` in the interpreter too. Nothing, or where they differ.
std::string difference(const Nest&, const std::string& schedule, const Target&, bool interprets);

} // namespace cnnc
