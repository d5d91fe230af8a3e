#include "passes/plan_cut.h"
#include "passes/plan_order.h"

#include <algorithm>

namespace cnnc {

namespace {

constexpr int64_t images_in_group = 16; // about as many
constexpr int64_t fewest_tiles = 3;

// Bytes of the weights that a tile reads, where all tiles of the picture behind it read the same; else 0.
int64_t panel_of(const Candidate& candidate)
{
  const StageFacts& stage = candidate.stage;
  const LaneChoice& lanes = candidate.lanes;
  int64_t steps = 1;
  for (const Dimension& d : stage.reduced) {
    if (!d.extent || d.fixed)
      return 0;
    steps *= *d.extent;
  }
  int64_t bytes = 0;
  for (const LaneAccess& access : lanes.accesses)
    if (access.in_reduction && access.in_lanes && access.lane == Lane::contiguous &&
        std::none_of(stage.box.begin(), stage.box.end(),
                     [&](const Dimension& d) { return d.index != lanes.index && !d.is_apart && access.uses(d.index); }))
      bytes = std::max(bytes, candidate.tile.blocks * lanes.width * steps * bytes_of(access.buffer->type.dtype));
  return bytes;
}

} // namespace

std::optional<Cut> cut_of(const Candidate& candidate)
{
  const StageFacts& stage = candidate.stage;
  const LaneChoice& lanes = candidate.lanes;
  const std::vector<Dimension>&box = stage.box, &reduced = stage.reduced;
  const Tile& tile = candidate.tile;
  const int64_t l1_bytes = stage.target.l1_bytes, l2_bytes = stage.target.l2_bytes;
  if (stage.reductions != 1 || !stage.is_sum || stage.has_tap || candidate.is_written_out || lanes.index < 0 ||
      lanes.are_reduced)
    return std::nullopt;
  const int64_t panel = panel_of(candidate);
  if (panel <= l1_bytes)
    return std::nullopt;
  Cut found{0, 0, 1};
  int64_t sums = stage.lane_bytes, tiles = 1;
  for (size_t d = 0; d < box.size(); d++) {
    if (box[d].index == lanes.index) {
      sums *= tile.blocks * lanes.width;
    } else if (box[d].fixed) {
      return std::nullopt;
    } else if (!box[d].extent || box[d].is_apart) {
      sums *= tile.sizes[d];
      found.images = box[d].extent ? found.images : static_cast<int>(d);
    } else {
      sums *= *box[d].extent;
      tiles *= ceil_div(*box[d].extent, tile.sizes[d]);
    }
  }
  if (tiles == 1 && found.images >= 0 && panel > l2_bytes / 2) {
    const int64_t size = tile.sizes[static_cast<size_t>(found.images)];
    found.group = ceil_div(images_in_group, size) * size;
    sums *= found.group / size;
  } else {
    found.images = -1;
    if (tiles < fewest_tiles)
      return std::nullopt;
  }
  for (size_t r = 0; r < reduced.size(); r++)
    if (!is_trimmed(candidate, reduced[r].index) && *reduced[r].extent > *reduced[found.reduced].extent)
      found.reduced = r;
  if (is_trimmed(candidate, reduced[found.reduced].index))
    return std::nullopt;
  const int64_t extent = *reduced[found.reduced].extent, step = order_reduction(candidate)[found.reduced].size;
  for (int64_t size = step; size < extent; size += step)
    if (extent % size == 0 && (found.size == 0 || panel / extent * size <= l1_bytes / 4))
      found.size = size;
  const int64_t taken = sums + panel / extent * found.size;
  found.is_needed = panel > l2_bytes / 2;
  found.is_near = taken <= l1_bytes / 4 * 3 && found.images < 0; // one image alone reads nothing again
  if (found.size == 0 || taken > panel / 4 || !(found.is_near || (found.is_needed && taken <= l2_bytes / 8)))
    return std::nullopt;
  found.parts = extent / found.size;
  return found;
}

} // namespace cnnc
