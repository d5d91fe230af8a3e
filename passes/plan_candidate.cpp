#include "passes/plan_candidate.h"

#include <algorithm>
#include <cstdlib>

namespace cnnc {

namespace {

// Steps of a whole reduction times accumulators: the next tile begins before this one has ended.
constexpr int64_t most_of_window = 160;

// Groups of neighbours lie in the lanes: all operands are the same for all of them, or lie in a row.
bool makes_dots(const StageFacts& stage, int lanes, int64_t width, bool are_reduced)
{
  if (stage.dot < 0 || lanes < 0 || are_reduced || width < stage.full_width)
    return false;
  return std::all_of(stage.accesses.begin(), stage.accesses.end(), [&](const Access& access) {
    return !access.in_reduction || stage.lane_of(access, lanes, width, stage.dot_group) <= Lane::contiguous;
  });
}

// How many different places a subscript has in a tile, with all of its reduced indices' values: h + i.
int64_t places(const StageFacts& stage, const Affine& at, const Tile& tile)
{
  int64_t inside = 1, window = 1, step = 0, dilation = 0;
  for (size_t d = 0; d < stage.box.size(); d++)
    if (const int64_t factor = at.factor(stage.box[d].index); factor != 0 && tile.sizes[d] > 1) {
      inside *= tile.sizes[d];
      step = std::abs(factor);
    }
  for (const Dimension& d : stage.reduced)
    if (const int64_t factor = at.factor(d.index); factor != 0 && *d.extent > 1) {
      window *= *d.extent;
      dilation = std::abs(factor);
    }
  const bool overlaps = step > 0 && dilation > 0 && step % dilation == 0 && step / dilation <= window;
  return overlaps ? (inside - 1) * (step / dilation) + window : inside * window;
}

// Vector registers of a tile's results; taps take as many again.
int64_t sums_of(const Candidate& candidate)
{
  return candidate.tile.accumulators() * (candidate.stage.has_tap ? 2 : 1);
}

// A product whose operands wait in caches: others want a register more, to come to.
bool has_two_factors(const StageFacts& stage)
{
  int factors = 0;
  for (const Access& access : stage.accesses)
    if (access.in_reduction) {
      if (access.is_stream)
        return false;
      factors++;
    }
  return factors > 1;
}

} // namespace

Candidate first_candidate(const StageFacts& stage, int lanes, int64_t width, bool are_reduced)
{
  const int64_t group = makes_dots(stage, lanes, width, are_reduced) ? stage.dot_group : 1;
  LaneChoice choice{lanes, width, are_reduced, group, {}};
  for (const Access& access : stage.accesses)
    choice.accesses.push_back({access, lanes >= 0 && access.uses(lanes), stage.lane_of(access, lanes, width, group)});
  return {stage, std::move(choice), {std::vector<int64_t>(stage.box.size(), 1)}};
}

std::vector<double> shares_inside(const Candidate& candidate)
{
  const StageFacts& stage = candidate.stage;
  std::vector<double> inside(stage.sliders.empty() ? 0 : stage.reduced.size(), 1);
  for (const Slider& s : stage.sliders)
    if (stage.box[s.box].index != candidate.lanes.index)
      inside[s.reduced] = std::min(inside[s.reduced], stage.steps_inside(s, candidate.tile.sizes[s.box]) /
                                                          static_cast<double>(*stage.reduced[s.reduced].extent));
  return inside;
}

int64_t registers_left(const Candidate& candidate)
{
  const StageFacts& stage = candidate.stage;
  int64_t kept = stage.target.vector_registers, products = 0;
  for (const LaneAccess& access : candidate.lanes.accesses)
    if (access.in_reduction) {
      kept = std::min(kept, distinct(access, candidate.tile));
      products++;
    }
  if (products < 2)
    kept = 1;
  return stage.target.vector_registers - sums_of(candidate) - kept - 1;
}

bool fits(const Candidate& candidate)
{
  const StageFacts& stage = candidate.stage;
  const int64_t accs = sums_of(candidate);
  if (stage.reductions == 0) { // some values of each vector are alive at once
    const bool fills_line = accs * candidate.lanes.width * stage.lane_bytes <= line_bytes;
    return accs == 1 || (stage.runs_vector_by_vector && fills_line) ||
           (accs <= 4 && accs * stage.values <= stage.target.vector_registers);
  }
  return accs == 1 || registers_left(candidate) >= (has_two_factors(stage) ? 0 : 1);
}

bool can_be_written_out(const Candidate& candidate)
{
  const StageFacts& stage = candidate.stage;
  const LaneChoice& lanes = candidate.lanes;
  if (stage.reductions != 1 || !stage.is_sum || stage.has_tap || lanes.group > 1 || lanes.index < 0 ||
      lanes.are_reduced)
    return false;
  const int64_t accs = candidate.tile.accumulators();
  int64_t count = accs;
  for (const Dimension& d : stage.reduced) {
    if (!d.extent || d.fixed || stage.block_of(d.index, lanes.index) % *d.extent != 0)
      return false;
    count *= *d.extent;
    if (count > most_of_window)
      return false;
  }
  int64_t shared = 0, others = 0;
  bool has_window = false, is_apart = true; // vectors of the lanes that have nothing in common run one after the other
  for (const LaneAccess& access : lanes.accesses)
    if (access.in_reduction) {
      has_window = has_window || access.is_window;
      is_apart = is_apart && access.in_lanes;
      if (access.checked || access.lane > Lane::contiguous)
        return false;
      const int64_t size = elements(stage, access, candidate.tile);
      shared = std::max(shared, size);
      others += size;
    }
  others -= shared;
  const int64_t parts = is_apart ? candidate.tile.blocks : 1;
  return has_window && count > accs &&
         reads_by_element({count / parts, shared / parts, others / parts, accs / parts}, parts,
                          stage.target.vector_registers);
}

bool slides(const Candidate& candidate, int index)
{
  for (const Access& access : candidate.stage.accesses)
    for (const Affine& at : access.at)
      if (access.in_reduction && at.uses(index))
        for (size_t d = 0; d < candidate.stage.box.size(); d++)
          if (candidate.tile.sizes[d] > 1 && at.uses(candidate.stage.box[d].index))
            return true;
  return false;
}

bool is_trimmed(const Candidate& candidate, int index)
{
  const StageFacts& stage = candidate.stage;
  return std::any_of(stage.sliders.begin(), stage.sliders.end(), [&](const Slider& s) {
    const Dimension& d = stage.reduced[s.reduced];
    return d.index == index && stage.steps_inside(s, candidate.tile.sizes[s.box]) < static_cast<double>(*d.extent);
  });
}

int64_t elements(const StageFacts& stage, const LaneAccess& access, const Tile& tile)
{
  int64_t count = access.in_lanes ? tile.blocks : 1;
  for (const Affine& at : access.at)
    count *= places(stage, at, tile);
  return count;
}

} // namespace cnnc
