// Which sums are cut, and into what.
//
//   for o tiles { for h, w tiles { for c in 0..2048 { ... } } }
//   =>  for o tiles { for c parts of 128 { for h, w tiles { for c in the part { ... } } } }
//
// All weights of a tile are read again for each tile of the picture behind them, or of the images. Where they are many,
// in parts: one of them, and the sums so far, find room in the first cache, and are little beside what would come from
// farther away.
#pragma once

#include "passes/plan_candidate.h"

namespace cnnc {

// Nothing where a cut cannot be, or does not pay.
std::optional<Cut> cut_of(const Candidate&);

} // namespace cnnc
