// What a stage asks for ahead, where it runs by a schedule that is decided.
//
//   tile o:32, h, w:14 ... lanes o:16   =>   @w ahead 18432 turns w/4: the next tile's weights, while this one runs
//
// Weights are asked for a tile before they are multiplied: a network has more of them than a cache keeps from one call
// to the next. Those that leave the second cache before they are read again, and have no such tile, are asked for as
// they go on; channels of a picture, in a tile of which each block is a few lines far from the last, a block before, or
// a tile before where they come from farther than the second cache.
#pragma once

#include "passes/plan_facts.h"

namespace cnnc {

// Plan::streams.
std::vector<std::pair<int, Ahead>> find_streams(const StageFacts&, const StageSchedule&);

// StageSchedule::prefetches. Sums take a while: most of them long enough to bring the lines for the results near, which
// have left the first cache. From memory they come later than a few products are made: such lines are a stream.
bool should_prefetch(const StageFacts&, const StageSchedule&);

} // namespace cnnc
