// A schedule in question, of a stage that it knows.
//
//   tile n, o:32, h, w:14 cut c:128 reduce c:16, i, j lanes o:16
//   =>  lanes: o of width 16;  tile: 2 blocks of them, sizes 1, 1, 1, 14;  cut: 128 of c
//
// The order of its loops follows from these (plan_order.h), and so does what it costs (plan_price.h).
#pragma once

#include "passes/plan_facts.h"

namespace cnnc {

constexpr int64_t line_bytes = 64; // of the caches

struct LaneAccess : Access {
  bool in_lanes; // its subscripts use them
  Lane lane;
};

struct LaneChoice {
  int index; // -1: none
  int64_t width;
  bool are_reduced;
  int64_t group;                    // steps of StageFacts::dot that are one instruction
  std::vector<LaneAccess> accesses; // those of StageFacts
};

struct Tile {
  std::vector<int64_t> sizes; // of the box's dimensions; 1 for the lanes' one
  int64_t blocks = 1;         // vectors along the lanes
  int64_t accumulators() const
  {
    int64_t product = blocks;
    for (const int64_t size : sizes)
      product *= size;
    return product;
  }
};

// Of a sum: see plan_cut.h.
struct Cut {
  size_t reduced;
  int64_t size, parts;
  int images = -1; // in the box: goes in groups, all of which read a part's weights
  int64_t group = 1;
  bool is_near = true;    // a part is in the first cache when it is read again
  bool is_needed = false; // or all weights would come from beyond the second one, which has no price
};

struct Candidate {
  const StageFacts& stage;
  LaneChoice lanes;
  Tile tile;
  std::vector<double> inside = {}; // for each reduced index the share of its steps that a tile takes; empty: all
  bool is_written_out = false;     // all steps of its reduction
  std::optional<Cut> cut = {};
};

// With tiles of one vector.
Candidate first_candidate(const StageFacts&, int lanes, int64_t width, bool are_reduced);

// By its lanes and tile: see Candidate::inside.
std::vector<double> shares_inside(const Candidate&);

// There are registers for a tile's accumulators, and for what a step keeps beside them.
bool fits(const Candidate&);
// Vector registers beside a tile's sums, the vectors of its smaller factor and one of the other's; negative: too large.
int64_t registers_left(const Candidate&);
// Whether the whole window is written out, each element of its overlap read once: see emit_nest_unroll.cpp.
bool can_be_written_out(const Candidate&);

// A window's index that slides over a tiled one: h + i with 7 rows in the tile. Written out, neighbouring steps share
// loads, all of which would be kept alive.
bool slides(const Candidate&, int index);
// A loop that stops at the picture's end cannot be written out.
bool is_trimmed(const Candidate&, int index);

// Which inner loops an access depends on: how many different loads one step makes.
inline int64_t distinct(const LaneAccess& access, const Tile& tile)
{
  int64_t count = access.in_lanes ? tile.blocks : 1;
  for (const size_t d : access.along)
    count *= tile.sizes[d];
  return count;
}
// How many all steps make where each element is read once.
int64_t elements(const StageFacts&, const LaneAccess&, const Tile&);

} // namespace cnnc
