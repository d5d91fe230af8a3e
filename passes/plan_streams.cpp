#include "passes/plan_streams.h"

#include <algorithm>

namespace cnnc {

namespace {

// The hardware's prefetchers stop at the end of a page, and follow few streams. Where a tile reads one run of memory,
// its steps pass a page before a line from memory is there.
constexpr int64_t stream_ahead = 4096, run_ahead = 8192, farthest_ahead = int64_t{1} << 20; // bytes

// In memory, over so many steps of an index; 0 where they are not whole blocks.
int64_t bytes_along(const Access& access, int index, int64_t steps)
{
  const std::vector<int64_t> strides = axis_strides(access.buffer->layout, access.buffer->type.shape);
  int64_t bytes = 0;
  for (size_t a = 0; a < strides.size(); a++) {
    const Axis& axis = access.buffer->layout.axes[a];
    const int64_t moved = access.at[axis.dim].factor(index) * steps;
    if (moved % std::max(axis.divide, axis.modulo) != 0)
      return 0;
    if (axis.modulo == 0)
      bytes += strides[a] * (moved / axis.divide) * bytes_of(access.buffer->type.dtype);
  }
  return bytes;
}

int index_of(const StageFacts& stage, const std::string& name)
{
  for (const std::vector<Dimension>* dimensions : {&stage.box, &stage.reduced})
    for (const Dimension& d : *dimensions)
      if (d.name == name)
        return d.index;
  return -1;
}

class Streams {
public:
  Streams(const StageFacts& stage, const StageSchedule& schedule)
      : stage(stage),
        schedule(schedule),
        lanes(index_of(stage, schedule.lanes))
  {
  }

  std::vector<std::pair<int, Ahead>> find() const
  {
    std::vector<std::pair<int, Ahead>> streams;
    const std::vector<Buffer>& buffers = stage.nest.buffers;
    for (const Buffer& buffer : buffers)
      if (buffer.role == BufferRole::in)
        if (const std::optional<Ahead> ahead = of_operand(buffer))
          streams.push_back({static_cast<int>(&buffer - buffers.data()), *ahead});
    for (const Access& access : stage.accesses)
      if (is_result(access) && is_asked_for_ahead(access)) {
        streams.push_back({static_cast<int>(access.buffer - buffers.data()), {run_ahead, "", 1}});
        break;
      }
    return streams;
  }

  bool should_prefetch() const
  {
    return std::any_of(stage.accesses.begin(), stage.accesses.end(), [&](const Access& access) {
      return is_result(access) && !are_short_sums() && bytes_of_buffer(*access.buffer) > stage.target.l1_bytes;
    });
  }

private:
  // By the first of its reads that is worth it.
  std::optional<Ahead> of_operand(const Buffer& buffer) const
  {
    for (const Access& access : stage.accesses) {
      if (access.buffer != &buffer || !access.in_reduction)
        continue;
      const Lane lane = lane_of(access);
      const bool is_batch = has_batch(buffer.type.shape);
      std::optional<Ahead> ahead;
      if (!is_batch && lane == Lane::contiguous)
        ahead = of_weights(access);
      else if (is_batch && lane == Lane::broadcast)
        ahead = of_picture(access);
      if (ahead)
        return ahead;
    }
    return std::nullopt;
  }

  std::optional<Ahead> of_weights(const Access& access) const
  {
    const int64_t bytes = bytes_of_buffer(*access.buffer), tile = next_tile(access);
    if (tile > 0 && tile < bytes && bytes > stage.target.l1_bytes / 2)
      return in_turns(access, tile);
    if (access.is_stream && stage.target.reads_in_rows())
      return of_rows(access);
    if (bytes > stage.target.l2_bytes)
      return Ahead{std::max(access.is_stream ? run_ahead : stream_ahead, rows_of_tile(access)), "", 1};
    return std::nullopt;
  }

  // Rows side by side are the prefetchers' own work (21 GB/s with us, 24.7 without), until a part of them is read again and
  // again for many images: then the next part comes in the meantime.
  std::optional<Ahead> of_rows(const Access& access) const
  {
    constexpr int64_t page = 4096, many_images = 4;
    const int64_t part = next_part(access);
    return part > 0 && part < page ? std::optional(Ahead{part, "", 1, many_images}) : std::nullopt;
  }

  std::optional<Ahead> of_picture(const Access& access) const
  {
    const int64_t bytes = bytes_of_buffer(*access.buffer);
    if (bytes <= stage.target.l1_bytes)
      return std::nullopt;
    const int64_t pixels = bytes > stage.target.l2_bytes / 2 ? next_pixels(access) : 0;
    const int64_t next = pixels > 0 ? pixels : next_block(access);
    return next > 0 ? std::optional(Ahead{next, "", 1}) : std::nullopt;
  }

  bool is_result(const Access& access) const
  {
    const BufferRole role = access.buffer->role;
    return stage.reductions == 1 && access.is_store && (role == BufferRole::out || role == BufferRole::inout) &&
           std::any_of(stage.box.begin(), stage.box.end(), [&](const Dimension& d) { return d.index == lanes; }) &&
           lane_of(access) == Lane::contiguous;
  }

  bool is_asked_for_ahead(const Access& access) const
  {
    return bytes_of_buffer(*access.buffer) > stage.target.l2_bytes / 2 && are_short_sums();
  }

  // A tile's sums are done before what is asked for in front of them is there; from the second cache it comes by itself.
  bool are_short_sums() const
  {
    constexpr int64_t latency = 400; // cycles
    int64_t products = 1;            // vectors of them, of which a core makes one a cycle
    for (const StageSchedule::Step& step : schedule.tile)
      products *= step.size;
    for (const Dimension& d : stage.reduced)
      products *= d.extent.value_or(1);
    return products / std::max<int64_t>(schedule.width, 1) < latency;
  }

  // Weights that lie in groups, for one instruction, count as strided.
  Lane lane_of(const Access& access) const { return stage.lane_of(access, lanes, schedule.width, 1); }

  int64_t size_in_tile(const std::string& index) const
  {
    for (const StageSchedule::Step& step : schedule.tile)
      if (step.index == index)
        return step.size;
    return 0;
  }

  // From what a tile reads to what the next one along this index does; 0 where that is nowhere in particular.
  int64_t bytes_to_next(const Access& access, const Dimension& d) const
  {
    const std::optional<int64_t> stride = memory_stride(*access.buffer, access.at, d.index);
    return std::max<int64_t>(stride.value_or(0), 0) * size_in_tile(d.name) * bytes_of(access.buffer->type.dtype);
  }

  // Bytes of an operand's rows that a tile reads side by side, where those are short: a page ahead of the first one is in
  // the second one, which is read as well.
  int64_t rows_of_tile(const Access& access) const
  {
    constexpr int64_t most = 64 << 10;
    int64_t bytes = 0;
    for (const Dimension& d : stage.box)
      if (d.name != schedule.lanes && size_in_tile(d.name) > 1)
        bytes = std::max(bytes, bytes_to_next(access, d));
    return bytes <= most ? bytes : 0;
  }

  // Bytes from a tile's weights to those of the next one along the lanes (or of the next part of a sum that is cut), where
  // the tile's own are used again and both find room in the second cache beside the pictures; else 0.
  int64_t next_tile(const Access& access) const
  {
    const int64_t size = size_in_tile(schedule.lanes);
    bool is_shared = false;
    for (const Dimension& d : stage.box) {
      if (d.index == lanes || d.is_apart) // whose next value comes behind the last of the lanes
        continue;
      if (access.uses(d.index))
        return 0;
      is_shared = is_shared || (d.extent && *d.extent > 1);
    }
    if (!is_shared || size == 0)
      return 0;
    const int64_t bytes = schedule.cut.empty() ? bytes_along(access, lanes, size) : next_part(access);
    return bytes <= stage.target.l2_bytes / 4 ? bytes : 0;
  }

  // Bytes from a part of a sum that is cut to the next one; 0 where it is not cut.
  int64_t next_part(const Access& access) const
  {
    int64_t bytes = 0;
    for (const StageSchedule::Step& part : schedule.cut)
      for (const Dimension& d : stage.reduced)
        if (d.name == part.index)
          bytes = bytes_along(access, d.index, part.size);
    return bytes;
  }

  // A tile's weights are read again for each tile of the picture that follows. Asked for all at once, the next ones would
  // come while the first of these runs, which has to wait for memory, and all others would ask in vain.
  Ahead in_turns(const Access& access, int64_t tile) const
  {
    constexpr int64_t line = 64;
    Ahead ahead{tile, "", 1};
    // Kernels of several stages have no integer register to spare, and most read the same weights for further rows.
    if (stage.has_shared_loops)
      return ahead;
    int64_t bytes = bytes_of(access.buffer->type.dtype); // of weights that lie in a row, in a step
    for (const StageSchedule::Step& step : schedule.reduce)
      bytes *= std::max<int64_t>(step.size, 1);
    bool is_inside = false;
    int64_t most = 1, block = 1;
    for (const Axis& axis : access.buffer->layout.axes)
      if (lanes >= 0 && access.at[axis.dim].factor(lanes) == 1 && axis.modulo > 0)
        block = axis.modulo * axis.divide;
    for (const StageSchedule::Step& step : schedule.tile) {
      if (step.index == schedule.lanes) {
        is_inside = true;
        bytes *= std::min(step.size, block);
        continue;
      }
      const auto d =
          std::find_if(stage.box.begin(), stage.box.end(), [&](const Dimension& of) { return of.name == step.index; });
      const int64_t count = d->extent ? ceil_div(*d->extent, step.size) : 1;
      if (!is_inside || access.uses(d->index) || count <= most)
        continue;
      most = count;
      ahead.loop = step.index;
    }
    while (ahead.turns * 2 <= most && bytes % (ahead.turns * 2 * line) == 0)
      ahead.turns *= 2;
    if (ahead.turns == 1)
      ahead.loop.clear();
    return ahead;
  }

  // Bytes from what one tile reads of a picture to what the next one does; else 0. A window's tiles overlap, and read each
  // line for every tap.
  int64_t next_pixels(const Access& access) const
  {
    if (access.is_window)
      return 0;
    int64_t least = 0;
    for (const Dimension& d : stage.box)
      if (const int64_t bytes = bytes_to_next(access, d); bytes > 0 && d.extent && *d.extent > size_in_tile(d.name))
        least = least == 0 ? bytes : std::min(least, bytes);
    return least <= farthest_ahead ? least : 0;
  }

  // Bytes from one iteration of the only loop over reduced indices to the next, where it has many and they are not near;
  // else 0.
  int64_t next_block(const Access& access) const
  {
    constexpr int64_t many = 8;
    int64_t bytes = 0;
    for (const StageSchedule::Step& step : schedule.reduce) {
      const auto d = std::find_if(stage.reduced.begin(), stage.reduced.end(),
                                  [&](const Dimension& of) { return of.name == step.index; });
      if (!d->extent || *d->extent == step.size)
        continue;
      if (bytes > 0 || *d->extent < many * step.size)
        return 0;
      bytes = bytes_along(access, d->index, step.size);
      if (bytes == 0)
        return 0;
    }
    return bytes >= stream_ahead / 4 && bytes <= farthest_ahead ? bytes : 0;
  }

  const StageFacts& stage;
  const StageSchedule& schedule;
  const int lanes; // -1: none
};

} // namespace

std::vector<std::pair<int, Ahead>> find_streams(const StageFacts& stage, const StageSchedule& schedule)
{
  return Streams(stage, schedule).find();
}

bool should_prefetch(const StageFacts& stage, const StageSchedule& schedule)
{
  return Streams(stage, schedule).should_prefetch();
}

} // namespace cnnc
