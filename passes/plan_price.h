// What a candidate costs, by a model of a core: per step of the reduction the larger of
//   FMAs / 2,  loads / 2 (strided and gathered ones cost more),  the FMA's latency where there are few accumulators,
// times the steps, plus what a tile costs at its ends. Tails are priced as the smaller tiles that they are. A window may
// be written out whole: then it is one step, which reads each element of the overlap once.
#pragma once

#include "passes/plan_candidate.h"

namespace cnnc {

// Cycles of the whole box: those of a batch of 1, and an image's share of a larger one's.
double price_of(const Candidate&);

} // namespace cnnc
