#include "passes/plan_order.h"

#include <algorithm>

namespace cnnc {

namespace {

constexpr int64_t most_statements = 480; // written out: steps of a reduction times a tile's accumulators

// The outermost index of the box that an operand read once has, or -1.
int rows_of_stream(const StageFacts& stage)
{
  for (const Access& access : stage.accesses)
    if (access.is_stream)
      for (const Dimension& d : stage.box)
        if (d.extent && *d.extent > 1)
          return d.index;
  return -1;
}

// A stream is read once: as it lies, or each line of it would come from far away several times. The index with which
// it goes on, or -1.
int innermost_of_stream(const StageFacts& stage, int lanes)
{
  int innermost = -1;
  int64_t least = 0;
  for (const Access& access : stage.accesses) {
    if (!access.is_stream)
      continue;
    for (const Dimension& d : stage.reduced) {
      const std::optional<int64_t> stride = memory_stride(*access.buffer, access.at, d.index);
      if (d.index == lanes || !d.extent || d.fixed || *d.extent < 2 || !stride || *stride <= 0)
        continue;
      if (innermost < 0 || *stride < least) {
        innermost = d.index;
        least = *stride;
      }
    }
  }
  return innermost;
}

// What is written out innermost: the index that walks contiguously through an operand, else the last one that does
// not slide; or -1.
int innermost_of_reduction(const Candidate& candidate)
{
  const StageFacts& stage = candidate.stage;
  int chosen = candidate.lanes.group > 1 ? stage.dot : innermost_of_stream(stage, candidate.lanes.index);
  for (const bool trimmed : {false, true}) {
    if (chosen >= 0)
      break;
    for (const Dimension& d : stage.reduced) {
      if (d.index == candidate.lanes.index || !d.extent || d.fixed || *d.extent < 2 || slides(candidate, d.index) ||
          is_trimmed(candidate, d.index) != trimmed)
        continue;
      bool contiguous = false, blocked = false;
      for (const Access& access : stage.accesses)
        if (access.in_reduction && access.uses(d.index)) {
          std::optional<int64_t> stride = memory_stride(*access.buffer, access.at, d.index);
          contiguous = contiguous || (stride && *stride == 1);
          for (const Axis& axis : access.buffer->layout.axes)
            blocked = blocked || (axis.modulo > 0 && access.at[axis.dim].uses(d.index));
        }
      if (chosen < 0 || contiguous || blocked)
        chosen = d.index;
      if (blocked)
        break;
    }
  }
  return chosen;
}

// Bytes of an image that an operand's reads leave gaps in (every second pixel of every second row); 0: they leave none.
int64_t bytes_with_gaps(const StageFacts& stage, const Access& access)
{
  int64_t elements = 1;
  bool has_gaps = false;
  for (const Affine& at : access.at) {
    int64_t window = 1, stride = 1;
    for (const Dimension& d : stage.reduced)
      if (at.uses(d.index))
        window *= d.extent.value_or(1);
    for (const Dimension& d : stage.box)
      if (at.uses(d.index)) {
        elements *= d.extent.value_or(1);
        stride = std::max(stride, at.factor(d.index));
      }
    elements *= window;
    has_gaps = has_gaps || stride > window;
  }
  return has_gaps ? elements * bytes_of(access.buffer->type.dtype) : 0;
}

// A picture with gaps that leaves the second cache comes from the third one for every tile of channels, with half of what
// is fetched ahead for nothing. Where the weights are less to read for every row, rows go before channels: how many
// of the box's dimensions, or none.
size_t rows_before(const StageFacts& stage, const StageSchedule& schedule, size_t channels, int64_t stationary)
{
  int64_t picture = 0, rows = 1;
  for (const Access& access : stage.accesses)
    if (access.in_reduction)
      picture = std::max(picture, bytes_with_gaps(stage, access));
  if (picture <= stage.target.l2_bytes / 2)
    return 0;
  auto tiles = [&](size_t step) -> int64_t {
    for (const Dimension& d : stage.box)
      if (d.name == schedule.tile[step].index)
        return d.extent ? ceil_div(*d.extent, schedule.tile[step].size) : 1;
    return 1;
  };
  const size_t columns = schedule.tile.size() - 1;
  if (channels >= columns)
    return 0;
  for (size_t step = channels + 1; step < columns; step++)
    rows *= tiles(step);
  const double weights_for_rows = static_cast<double>(stationary) * static_cast<double>(rows);
  return weights_for_rows < static_cast<double>(picture) * static_cast<double>(tiles(channels)) ? columns - channels - 1
                                                                                                : 0;
}

// Indices that keep all factors apart go first. Lanes along channels: their tile goes behind the images, before rows
// and columns, so that its weights stay near; before the images where all of them together would leave the second
// cache for each image.
void order_tiles(StageSchedule& schedule, const StageFacts& stage, int lanes)
{
  const std::vector<Dimension>& box = stage.box;
  const int along = std::any_of(box.begin(), box.end(), [&](const Dimension& d) { return d.index == lanes; })
                        ? lanes
                        : rows_of_stream(stage);
  std::vector<StageSchedule::Step> first, rest;
  for (size_t d = 0; d < box.size(); d++)
    (box[d].index != lanes && box[d].is_apart ? first : rest).push_back(schedule.tile[d]);
  schedule.tile = first;
  schedule.tile.insert(schedule.tile.end(), rest.begin(), rest.end());
  auto at = std::find_if(schedule.tile.begin(), schedule.tile.end(),
                         [&](const auto& step) { return along >= 0 && step.index == stage.nest.indices[along].name; });
  if (at == schedule.tile.end())
    return;
  int64_t stationary = 0;
  bool spatial = false;
  for (const Access& access : stage.accesses) {
    if (!access.in_reduction || !access.uses(along))
      continue;
    bool moves = std::any_of(box.begin(), box.end(),
                             [&](const Dimension& d) { return d.index != along && access.uses(d.index); });
    if (moves)
      spatial = true;
    else
      stationary += bytes_of_buffer(*access.buffer);
  }
  if (spatial || stationary == 0)
    return;
  size_t to = first.size();
  if (stationary <= stage.target.l2_bytes / 2)
    for (const Dimension& d : box)
      to += !d.extent && !d.fixed && d.name == schedule.tile[to].index;
  StageSchedule::Step step = *at;
  if (static_cast<size_t>(at - schedule.tile.begin()) < to)
    return;
  schedule.tile.erase(at);
  schedule.tile.insert(schedule.tile.begin() + static_cast<std::ptrdiff_t>(to), step);
  const auto channels = schedule.tile.begin() + static_cast<std::ptrdiff_t>(to);
  std::rotate(channels, channels + 1,
              channels + 1 + static_cast<std::ptrdiff_t>(rows_before(stage, schedule, to, stationary)));
}

} // namespace

StageSchedule schedule_of(const Candidate& candidate)
{
  const StageFacts& stage = candidate.stage;
  const LaneChoice& lanes = candidate.lanes;
  StageSchedule schedule;
  for (size_t d = 0; d < stage.box.size(); d++) {
    int64_t size = candidate.tile.sizes[d];
    if (stage.box[d].index == lanes.index)
      size = std::min(candidate.tile.blocks * lanes.width, *stage.box[d].extent);
    schedule.tile.push_back({stage.box[d].name, size});
  }
  if (lanes.index >= 0) {
    schedule.lanes = stage.nest.indices[lanes.index].name;
    schedule.width = lanes.width;
    order_tiles(schedule, stage, lanes.index);
  }
  schedule.reduce = order_reduction(candidate);
  if (const std::optional<Cut>& cut = candidate.cut) {
    schedule.cut.push_back({stage.reduced[cut->reduced].name, cut->size});
    if (cut->images >= 0)
      schedule.cut.push_back({stage.box[static_cast<size_t>(cut->images)].name, cut->group});
  }
  return schedule;
}

namespace {

// Of so few steps that it needs no loop: where a loop ends, the next tile's steps wait for it. The steps that a loop
// would leave out at a border are few. Without a factor that is the same for all lanes loads take the time.
bool needs_no_loop(const Candidate& candidate, int64_t limit)
{
  constexpr double least_inside = 0.9;
  int64_t steps = 1;
  for (const Dimension& d : candidate.stage.reduced) {
    const bool in_groups = candidate.lanes.group > 1 && d.index == candidate.stage.dot;
    if (!d.extent || d.fixed || d.index == candidate.lanes.index ||
        (in_groups && *d.extent % candidate.lanes.group != 0) || *d.extent > 2 * most_written_out)
      return false;
    steps *= *d.extent;
  }
  double inside = 1;
  for (const double share : candidate.inside)
    inside *= share;
  const std::vector<LaneAccess>& accesses = candidate.lanes.accesses;
  const bool has_broadcast = std::any_of(accesses.begin(), accesses.end(), [](const LaneAccess& access) {
    return access.in_reduction && access.lane == Lane::broadcast;
  });
  return has_broadcast && steps <= std::min(2 * most_written_out, limit) && inside >= least_inside;
}

} // namespace

std::vector<StageSchedule::Step> order_reduction(const Candidate& candidate)
{
  const StageFacts& stage = candidate.stage;
  std::vector<StageSchedule::Step> order;
  if (stage.reductions != 1)
    return order;
  const int chosen = innermost_of_reduction(candidate), lanes = candidate.lanes.index;
  const int64_t group = candidate.lanes.group;
  const int64_t limit = std::max<int64_t>(1, most_statements / std::max<int64_t>(candidate.tile.accumulators(), 1));
  const bool is_whole = candidate.is_written_out || needs_no_loop(candidate, limit);
  for (const Dimension& d : stage.reduced) {
    StageSchedule::Step step{d.name, 1};
    if (is_whole) {
      step.size = *d.extent;
    } else if (d.index == lanes) {
      step.size = std::min(candidate.lanes.width, *d.extent);
    } else if (d.index == chosen) {
      const int64_t block = stage.block_of(d.index, lanes);
      for (int64_t size = std::min<int64_t>({*d.extent, most_written_out, limit}); size >= 1; size--)
        if (*d.extent % size == 0 && block % size == 0 && (group == 1 || size % group == 0)) {
          step.size = size;
          break;
        }
    }
    order.push_back(step);
  }
  return order;
}

} // namespace cnnc
