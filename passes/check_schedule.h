// A schedule from outside, before the passes obey it.
#pragma once

#include "passes/stage_loops.h"

namespace cnnc {

// Throws Error at `where` unless the passes behind `schedule` can run the nest (in canonical form) by this text, with
// what the planner itself keeps to: each index once and within its extent, vectors that the target has, no more written
// out than is reasonable.
std::vector<StageSchedule> check_schedule(const Nest&, std::string_view text, const Target&, const Location& where);

} // namespace cnnc
