// In what order a candidate runs: the loops over its tiles, then those of the reduction.
//
//   lanes o:16, tiles of 32 o and 14 w   =>   tile n, o:32, h, w:14 reduce c:16, i, j lanes o:16
#pragma once

#include "passes/plan_candidate.h"

namespace cnnc {

StageSchedule schedule_of(const Candidate&);

// The reduction's loops, and how many steps of each are written out; none where a stage has no reduction, or several.
std::vector<StageSchedule::Step> order_reduction(const Candidate&);

} // namespace cnnc
