#include "passes/plan_price.h"

#include <algorithm>
#include <cmath>

namespace cnnc {

namespace {

constexpr double load_cost[] = {0.5, 0.5, 2.0, 2.5, 9.0}; // by Lane
constexpr double store_cost[] = {1.0, 1.0, 4.0, 3.0, 20.0};
constexpr double l2_rate = 25.6, l2_rate_of_vectors = 0.8; // bytes a cycle; for one of a vector
constexpr double line_cost = 3;                            // cycles, of one that comes again
constexpr double crowded = 1.1;                            // times as long, where no register is left to load ahead
constexpr int64_t batches[] = {1, 32};                     // what an unknown batch is priced at, each per image

// How many values of an index lie side by side in an access's blocks; 0: it has none.
int64_t block_of(const LaneAccess& access)
{
  constexpr int64_t usual = 16; // of a layout that is to be chosen
  int64_t block = access.free ? usual : 0;
  for (const Axis& axis : access.buffer->layout.axes)
    if (axis.modulo > 0 && axis.divide == 1)
      block = std::max(block, axis.modulo);
  return block;
}

// Tiles of 40 channels in blocks of 16: where each of their vectors lies is computed for each of them.
bool begins_inside_block(const LaneAccess& access, int64_t size)
{
  const int64_t block = block_of(access);
  return access.in_lanes && block > 0 && size > block && size % block != 0;
}

class Price {
public:
  explicit Price(const Candidate& candidate)
      : candidate(candidate),
        stage(candidate.stage),
        lanes(candidate.lanes),
        tile(candidate.tile),
        is_crowded(stage.reductions > 0 && registers_left(candidate) == 0)
  {
  }

  double of_batch(int64_t batch) { return from(0, 1, stage.reductions ? steps_of(batch) : 0, batch); }

private:
  // Over the box's dimensions from `d` on: full tiles and tails. `tile` is as before when it returns.
  double from(size_t d, double times, double steps, int64_t batch)
  {
    if (d == stage.box.size())
      return times * of_tile(steps);
    const Dimension& dimension = stage.box[d];
    const bool has_lanes = dimension.index == lanes.index;
    int64_t extent = dimension.extent ? *dimension.extent : dimension.fixed ? 8 : batch;
    if (has_lanes)
      extent = ceil_div(extent, lanes.width);
    int64_t& size = has_lanes ? tile.blocks : tile.sizes[d];
    const int64_t full = size, tail = extent % full;
    double sum = 0;
    if (extent / full > 0)
      sum += from(d + 1, times * static_cast<double>(extent / full), steps, batch);
    if (tail > 0 && (has_lanes || dimension.extent)) {
      size = tail;
      sum += from(d + 1, times, steps, batch);
    } else if (tail > 0) { // of a batch: in halves
      int64_t rest = tail;
      for (size = full / 2; rest > 0; rest %= size, size = std::max<int64_t>(size / 2, 1))
        if (rest >= size)
          sum += from(d + 1, times * static_cast<double>(rest / size), steps, batch);
    }
    size = full;
    return sum;
  }

  double steps_of(int64_t batch) const
  {
    double steps = 1;
    for (size_t r = 0; r < stage.reduced.size(); r++) {
      const Dimension& d = stage.reduced[r];
      double extent = d.extent ? static_cast<double>(*d.extent) : static_cast<double>(batch);
      if (d.index != lanes.index && !candidate.inside.empty())
        extent *= candidate.inside[r];
      steps *= d.index == lanes.index ? std::ceil(extent / static_cast<double>(lanes.width))
               : d.index == stage.dot ? extent / static_cast<double>(lanes.group)
                                      : extent;
    }
    return steps;
  }

  // Of the time that the widest vectors take: less where those go through a narrower unit in several parts.
  double share_of_width() const
  {
    const int64_t bytes = std::max(lanes.width * stage.lane_bytes, stage.target.unit_bytes);
    return std::min(1.0, static_cast<double>(bytes) / static_cast<double>(stage.target.vector_bytes));
  }

  // A factor's, as if it were in the first cache.
  double of_load(const LaneAccess& access, double share) const
  {
    if (lanes.group > 1 && access.lane == Lane::broadcast) // an instruction of its own
      return 0.8;
    const int64_t size = tile.blocks * lanes.width;
    // Where a block has several vectors, a tile of whole blocks knows in which of them each one begins.
    const bool is_cut = access.lane == Lane::split && size % access.buffer->layout.axes.back().modulo != 0;
    double cost = load_cost[static_cast<int>(is_cut ? Lane::gathered : access.lane)] * (access.checked ? 2 : 1) *
                  (access.lane == Lane::broadcast ? 1 : share);
    if (access.lane == Lane::contiguous && begins_inside_block(access, size))
      cost += 0.5;
    return cost;
  }

  // Lines of the access in a loop over its rows and columns.
  int64_t lines_of(const LaneAccess& access) const
  {
    Tile all = tile;
    for (const size_t d : access.along)
      all.sizes[d] = stage.box[d].extent.value_or(1);
    return elements(stage, access, all) / tile.blocks;
  }

  // Lines that are touched before the same ones' next part: of the access alone, or of all of them where each vector's
  // many reads and stores are an access each.
  int64_t lines_between(const LaneAccess& access)
  {
    if (!stage.runs_vector_by_vector)
      return lines_of(access);
    if (!lines_of_all) {
      lines_of_all = 0;
      for (const LaneAccess& each : lanes.accesses)
        *lines_of_all += each.in_lanes ? lines_of(each) : 0;
    }
    return *lines_of_all;
  }

  // Lanes that take a part of each line: where the rows and columns inside of their loop leave the first cache, a
  // line comes anew for every part. How many of those that a tile touches.
  double lines_again(const LaneAccess& access)
  {
    if (!access.in_lanes || access.lane != Lane::contiguous || lanes.are_reduced)
      return 0;
    const int64_t bytes = bytes_of(access.buffer->type.dtype), part = tile.blocks * lanes.width * bytes;
    const int64_t line = std::min(line_bytes, block_of(access) * bytes);
    if (part >= line)
      return 0;
    if (lines_between(access) * line_bytes <= stage.target.l1_bytes / 2)
      return 0;
    return static_cast<double>(elements(stage, access, tile)) / static_cast<double>(tile.blocks) *
           (1 - static_cast<double>(part) / static_cast<double>(line));
  }

  // How many runs of memory a tile reads: a row of pixels is one, and so are several whole rows.
  int64_t runs_of(const LaneAccess& access) const
  {
    int64_t runs = 1;
    bool is_whole = true;
    for (const size_t d : access.along) {
      runs *= is_whole ? 1 : tile.sizes[d];
      is_whole = is_whole && stage.box[d].extent == tile.sizes[d];
    }
    return runs;
  }

  double of_tile(double steps)
  {
    const std::optional<Cut>& cut = candidate.cut;
    const Target& target = stage.target;
    const double accs = static_cast<double>(tile.accumulators()), taps = candidate.is_written_out ? steps : 1;
    const double share = share_of_width(), latency = lanes.group > 1 ? 6 : stage.is_sum ? 4 : 2;
    double loads = 0, issued = 0, far = 0, vectors = 0, ends = 0;
    int64_t runs = 1, factors = 0;
    if (cut && cut->images < 0) // all but the first part read the sums, all but the last write them
      ends += accs * (load_cost[0] + store_cost[0]) * static_cast<double>(cut->parts - 1);
    for (const LaneAccess& access : lanes.accesses) {
      ends += lines_again(access) * line_cost;
      const bool overlaps = candidate.is_written_out && access.in_reduction;
      double count = static_cast<double>(overlaps ? elements(stage, access, tile) : distinct(access, tile));
      if (access.in_reduction) {
        double cost = of_load(access, share);
        issued += count * cost;
        // A panel larger than the first cache comes from the second.
        const auto bytes = static_cast<double>(lanes.width * lanes.group * bytes_of(access.buffer->type.dtype));
        const double panel = count * bytes * steps / taps;
        if (access.lane == Lane::contiguous && !(cut && cut->is_near) &&
            panel > static_cast<double>(target.l1_bytes) / 2) {
          cost = std::max(cost, bytes / l2_rate);
          if (panel > static_cast<double>(target.l1_bytes) && !has_batch(access.buffer->type.shape) &&
              !access.is_stream)
            far += count * bytes / std::max(l2_rate, l2_rate_of_vectors * static_cast<double>(target.vector_bytes));
        }
        loads += count * cost;
        factors++;
        if (access.lane == Lane::broadcast)
          runs = std::max(runs, runs_of(access));
        vectors += access.lane == Lane::contiguous && access.is_window ? count * cost : 0;
      } else if (access.is_store) {
        ends += accs * store_cost[static_cast<int>(access.lane)];
      } else {
        ends += count * load_cost[static_cast<int>(access.lane)];
      }
    }
    const double work = accs * 0.5 * stage.operations * taps * share;
    double step = std::max({work, loads, latency * taps, (accs * stage.operations * taps * share + loads) / 5});
    // What comes from the second cache is late where it is much of what that can give.
    step += std::max(0.0, far - 0.4 * step);
    // Loads, and sums that wait for themselves, hold up the products where they leave no slack.
    if (factors > 1)
      step += (std::max(0.0, issued - 0.75 * step) + std::max(0.0, latency * taps - 0.75 * step)) / 16;
    // The lines of a picture that come from the second cache, and go there, want the first one to themselves.
    step += std::max(0.0, vectors - work / 2) / 2;
    // Each run of them begins anew, as far as the hardware looks ahead.
    step += 0.05 * static_cast<double>(runs - 1);
    if (is_crowded && tile.accumulators() == candidate.tile.accumulators())
      step *= crowded;
    if (lanes.are_reduced)
      ends += accs * 6;
    ends = (ends + accs * stage.outer_operations * 0.5) * share;
    const double loops = candidate.is_written_out ? 4 : stage.reductions ? 12 : 2;
    return steps / taps * (step + 0.3) + std::max(ends, 1.0) + loops;
  }

  const Candidate& candidate;
  const StageFacts& stage;
  const LaneChoice& lanes;
  Tile tile; // the candidate's, or a tail
  std::optional<int64_t> lines_of_all = {};
  const bool is_crowded;
};

} // namespace

double price_of(const Candidate& candidate)
{
  Price price(candidate);
  double sum = 0;
  for (const int64_t batch : batches)
    sum += price.of_batch(batch) / static_cast<double>(batch);
  return sum;
}

} // namespace cnnc
