// The one scheduler: which index lies in the lanes, how many accumulators stand in registers, in what order it runs.
//
// All candidates are enumerated and priced by one model of a core: per step of the reduction the larger of
//   FMAs / 2,  loads / 2 (strided and gathered ones cost more),  the FMA's latency where there are few accumulators,
// times the steps, plus what a tile costs at its ends. Tails are priced as the smaller tiles that they are. A window may
// be written out whole: then it is one step, which reads each element of the overlap once.
#include "passes/stage_loops.h"
#include "passes/trim.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace cnnc {

namespace {

// split: in two rows, of a block and of the next one.
enum class Lane : uint8_t { broadcast, contiguous, split, strided, gathered };

struct Access {
  const Buffer* buffer;
  std::vector<Affine> at;
  bool free; // its layout follows the schedule
  bool is_store;
  bool in_reduction;
  bool checked;
  std::vector<size_t> along = {}; // the box's dimensions that its subscripts use, those that lie nearest first
  // For the lanes in question:
  bool in_lanes = false; // its subscripts use them
  Lane lane = Lane::broadcast;
};

// A reduced index that slides over the box's: x[h*factor + constant + sign*i], beyond the tensor's ends.
struct Slider {
  size_t box, reduced;
  int64_t factor, constant, sign, extent;
};

struct Dimension {
  int index;
  std::string name;
  std::optional<int64_t> extent; // none: depends on the batch
  bool fixed;                    // bounds that a tile would break: stays at 1
};

constexpr double load_cost[] = {0.5, 0.5, 2.0, 2.5, 9.0};
constexpr double l2_rate = 25.6, l2_rate_of_vectors = 0.8; // bytes a cycle; for one of a vector
constexpr double store_cost[] = {1.0, 1.0, 4.0, 3.0, 20.0};
// The hardware's prefetchers stop at the end of a page, and follow few streams. Where a tile reads one run of memory, its
// steps pass a page before a line from memory is there.
constexpr int64_t stream_ahead = 4096, run_ahead = 8192, farthest_ahead = int64_t{1} << 20; // bytes
constexpr int64_t most_written_out = 16;                                                    // steps of a reduction
constexpr int64_t most_statements = 480; // of those and a tile's accumulators
constexpr int64_t most_of_window = 160;  // likewise where that is all: the next tile begins before this one has ended
constexpr double most_kept = 2;          // times the best schedule's cycles, of what is kept beside it
constexpr int64_t most_images = 8;       // in a tile
constexpr int64_t images_in_group = 16;  // about as many, where a sum is cut
constexpr int64_t batches[] = {1, 32};   // what an unknown batch is priced at, each per image

class Planner {
public:
  Planner(const Nest& nest, const StageLoops& stage, const Target& target, const std::vector<bool>& free)
      : nest(nest),
        stage(stage),
        target(target)
  {
    for (const Loop* loop : stage.box)
      box.push_back(dimension(*loop));
    for (const Node& node : *stage.point) {
      if (std::holds_alternative<Loop>(node.is)) {
        ReductionLoops reduction = reduction_of(node);
        if (reductions++ == 0)
          for (const Loop* loop : reduction.loops)
            reduced.push_back(dimension(*loop));
        if (reduction.store) {
          collect(*reduction.store->value, true, free);
          operations += count_operations(*reduction.store->value);
          has_tap = has_tap || reduction.store->tap >= 0;
          is_sum = reduction.store->update == Update::sum;
        }
      } else if (const Store* store = point_store(node)) {
        collect(*store->value, false, free);
        const Buffer& to = nest.buffers[store->target];
        steps += to.role == BufferRole::registers;
        if (to.role != BufferRole::registers)
          accesses.push_back({&to, store->at, is_free(store->target, free), true, false, false});
        outer_operations += count_operations(*store->value) + 0.5;
      }
    }
    for (Access& access : accesses) {
      for (size_t d = 0; d < box.size(); d++)
        if (uses(access, box[d].index))
          access.along.push_back(d);
      const auto stride = [&](size_t d) { return memory_stride(*access.buffer, access.at, box[d].index).value_or(0); };
      std::stable_sort(access.along.begin(), access.along.end(),
                       [&](size_t d, size_t e) { return stride(d) < stride(e); });
    }
    if (reductions == 1 && is_sum) {
      find_sliders();
      find_dot(free);
    }
    int64_t bytes = 1;
    for (const Access& access : accesses)
      if (is_float(access.buffer->type.dtype) || access.buffer->type.dtype == DType::i64)
        bytes = std::max(bytes, bytes_of(access.buffer->type.dtype));
    lane_bytes = std::max<int64_t>(bytes, 4);
    full_width = std::max<int64_t>(1, target.lanes(lane_bytes));
  }

  Plan best()
  {
    consider({-1, 1, false});
    for (const Dimension& d : box)
      if (d.extent && !d.fixed && *d.extent > 1)
        for (int64_t width = full_width; width >= 4; width /= 2)
          consider({d.index, width, false});
    if (reductions == 1 && !has_tap)
      for (const Dimension& d : reduced)
        if (d.extent && !d.fixed && *d.extent >= full_width / 2)
          consider({d.index, full_width, true});
    find_streams();
    result.schedule.prefetches = should_prefetch();
    return result;
  }

  std::vector<Plan> alternatives(double within, size_t most)
  {
    keeps_rated = true;
    best();
    std::sort(rated.begin(), rated.end(), [](const Plan& a, const Plan& b) { return a.cycles < b.cycles; });
    const double limit = result.cycles * within;
    std::vector<Plan> plans;
    for (Plan& plan : rated) {
      if (plan.cycles > limit || plans.size() == most)
        break;
      result = std::move(plan);
      find_streams();
      result.schedule.prefetches = should_prefetch();
      if (std::none_of(plans.begin(), plans.end(), [&](const Plan& p) { return p.schedule == result.schedule; }))
        plans.push_back(result);
    }
    return plans;
  }

  std::vector<std::pair<int, Ahead>> streams(const StageSchedule& schedule)
  {
    result.schedule = schedule;
    find_streams();
    return result.streams;
  }

private:
  Dimension dimension(const Loop& loop) const
  {
    std::optional<int64_t> count = trip_count(loop);
    bool batch = !count && loop.begin.size() == 1 && loop.end.size() == 1 && loop.end[0].uses(batch_index);
    bool offset = loop.begin.size() != 1 || !(loop.begin[0] == Affine(0));
    return {loop.index, nest.indices[loop.index].name, count, offset || (!count && !batch)};
  }

  // The reduced index whose neighbours one instruction multiplies and adds.
  void find_dot(const std::vector<bool>& free)
  {
    for (const Node& node : *stage.point) {
      const Store* store = std::holds_alternative<Loop>(node.is) ? reduction_of(node).store : nullptr;
      std::optional<DotProduct> product = store ? dot_product(*store->value, nest, target) : std::nullopt;
      if (!product)
        continue;
      dot_group = product->group;
      for (const Dimension& d : reduced)
        if (dot < 0 && d.extent && !d.fixed && *d.extent % dot_group == 0 &&
            std::all_of(product->factors.begin(), product->factors.end(), [&](const Expr* read) {
              return is_free(read->tensor, free) // whose layout has blocks of 16
                         ? *d.extent % 16 == 0 && std::any_of(read->at.begin(), read->at.end(),
                                                              [&](const Affine& at) { return at.factor(d.index) == 1; })
                         : are_neighbours(nest.buffers[read->tensor], read->at, d.index, dot_group,
                                          [](int) { return 1; });
            }))
          dot = d.index;
    }
  }

  void find_sliders()
  {
    for (const Node& node : *stage.point) {
      const Store* store = std::holds_alternative<Loop>(node.is) ? reduction_of(node).store : nullptr;
      if (!store)
        continue;
      for_each_factor(*store->value, [&](const Expr& read) {
        for (size_t d = 0; d < read.at.size(); d++)
          find_slider(read.at[d], nest.buffers[read.tensor].type.shape[d]);
      });
    }
  }

  void find_slider(const Affine& at, const Dim& extent)
  {
    if (extent.batch || at.terms.size() != 2)
      return;
    for (size_t b = 0; b < box.size(); b++)
      for (size_t r = 0; r < reduced.size(); r++) {
        const int64_t sign = at.factor(reduced[r].index), factor = at.factor(box[b].index);
        if (factor == 0 || (sign != 1 && sign != -1) || !box[b].extent || box[b].fixed || !reduced[r].extent)
          continue;
        const Slider slider{b, r, factor, at.constant, sign, extent.size};
        if (steps_inside(slider, 1) < static_cast<double>(*reduced[r].extent))
          sliders.push_back(slider);
      }
  }

  // Of the reduced index's steps, how many a tile of this size takes on the average: see trim.h.
  double steps_inside(const Slider& s, int64_t size) const
  {
    const int64_t count = *box[s.box].extent, taps = *reduced[s.reduced].extent;
    int64_t steps = 0, tiles = 0;
    for (int64_t at = 0; at < count; at += size, tiles++) {
      const int64_t a = at * s.factor + s.constant, b = (std::min(at + size, count) - 1) * s.factor + s.constant;
      const int64_t low = std::min(a, b), high = std::max(a, b);
      const int64_t first = s.sign > 0 ? -high : low - s.extent + 1, last = s.sign > 0 ? s.extent - 1 - low : high;
      steps += std::max<int64_t>(0, std::min(taps - 1, last) - std::max<int64_t>(0, first) + 1);
    }
    return static_cast<double>(steps) / static_cast<double>(tiles);
  }

  bool is_free(int buffer, const std::vector<bool>& free) const
  {
    return buffer < static_cast<int>(free.size()) && free[buffer];
  }

  void collect(const Expr& e, bool in_reduction, const std::vector<bool>& free)
  {
    for_each(e, [&](const Expr& x) {
      if (x.fn == Fn::read && nest.buffers[x.tensor].role != BufferRole::registers)
        accesses.push_back({&nest.buffers[x.tensor], x.at, is_free(x.tensor, free), false, in_reduction, x.checked});
    });
  }

  // An FMA is one operation, a transcendental function some twenty.
  static double count_operations(const Expr& e)
  {
    double count = 0;
    for_each(e, [&](const Expr& x) {
      switch (x.fn) {
      case Fn::exp:
      case Fn::log:
      case Fn::tanh:
      case Fn::erf:
      case Fn::random:
      case Fn::pow: count += 20; break;
      case Fn::div:
      case Fn::sqrt:
      case Fn::rsqrt: count += 8; break;
      case Fn::constant:
      case Fn::read:
      case Fn::index:
      case Fn::mul: break;
      default: count += 1;
      }
    });
    return std::max(count, 1.0);
  }

  Lane lane_of(const Access& access, int lanes, int64_t width) const
  {
    if (lanes < 0)
      return Lane::broadcast;
    if (access.free) {
      for (const Affine& at : access.at)
        if (at.uses(lanes))
          return at.factor(lanes) == 1 ? Lane::contiguous : Lane::gathered;
      return Lane::broadcast;
    }
    for (const Axis& axis : access.buffer->layout.axes)
      if (axis.modulo > 0 && access.at[axis.dim].uses(lanes)) {
        if (axis.modulo % width != 0)
          return Lane::gathered;
        if (target.masks_loads(bytes_of(access.buffer->type.dtype)) && is_split(access.at[axis.dim], axis, lanes))
          return &axis == &access.buffer->layout.axes.back() ? Lane::split : Lane::gathered;
      }
    std::optional<int64_t> stride = memory_stride(*access.buffer, access.at, lanes);
    if (!stride)
      return Lane::gathered;
    bool used = std::any_of(access.at.begin(), access.at.end(), [&](const Affine& at) { return at.uses(lanes); });
    if (!used)
      return Lane::broadcast;
    return *stride == 1 || (access.in_reduction && *stride == group) ? Lane::contiguous
           : *stride > 1 && *stride <= 4                             ? Lane::strided
                                                                     : Lane::gathered;
  }

  // Channels c + i - 2: a vector of them begins inside of a block. Written out, i is a number, and so is where.
  bool is_split(const Affine& at, const Axis& axis, int lanes) const
  {
    bool is_split = at.constant % axis.modulo != 0;
    for (const Affine::Term& term : at.terms) {
      const bool is_reduced = std::any_of(reduced.begin(), reduced.end(), [&](const Dimension& d) {
        return d.index == term.index && d.extent && *d.extent <= most_written_out;
      });
      if (term.index == lanes ? term.factor != 1 : term.factor % axis.modulo != 0 && !is_reduced)
        return false;
      is_split = is_split || (is_reduced && term.index != lanes);
    }
    return is_split;
  }

  struct Tile {
    std::vector<int64_t> sizes; // of the box's dimensions; 1 for the lanes' one
    int64_t blocks = 1;         // vectors along the lanes
  };

  struct Lanes {
    int index; // -1: none
    int64_t width;
    bool are_reduced;
  };

  int64_t accumulators(const Tile& tile) const
  {
    int64_t product = tile.blocks;
    for (int64_t size : tile.sizes)
      product *= size;
    return product;
  }

  // Which inner loops an access depends on: how many different loads one step makes.
  static int64_t distinct(const Access& access, const Tile& tile)
  {
    int64_t count = access.in_lanes ? tile.blocks : 1;
    for (size_t d : access.along)
      count *= tile.sizes[d];
    return count;
  }

  static bool uses(const Access& access, int index)
  {
    return std::any_of(access.at.begin(), access.at.end(), [&](const Affine& at) { return at.uses(index); });
  }

  // How many different places a subscript has in a tile, with all of its reduced indices' values: h + i.
  int64_t places(const Affine& at, const Tile& tile) const
  {
    int64_t inside = 1, window = 1, step = 0, dilation = 0;
    for (size_t d = 0; d < box.size(); d++)
      if (const int64_t factor = at.factor(box[d].index); factor != 0 && tile.sizes[d] > 1) {
        inside *= tile.sizes[d];
        step = std::abs(factor);
      }
    for (const Dimension& d : reduced)
      if (const int64_t factor = at.factor(d.index); factor != 0 && *d.extent > 1) {
        window *= *d.extent;
        dilation = std::abs(factor);
      }
    const bool overlaps = step > 0 && dilation > 0 && step % dilation == 0 && step / dilation <= window;
    return overlaps ? (inside - 1) * (step / dilation) + window : inside * window;
  }

  // How many runs of memory a tile reads: a row of pixels is one, and so are several whole rows.
  int64_t runs_of(const Access& access, const Tile& tile) const
  {
    int64_t runs = 1;
    bool is_whole = true;
    for (const size_t d : access.along) {
      runs *= is_whole ? 1 : tile.sizes[d];
      is_whole = is_whole && box[d].extent == tile.sizes[d];
    }
    return runs;
  }

  int64_t elements(const Access& access, const Tile& tile) const
  {
    int64_t count = access.in_lanes ? tile.blocks : 1;
    for (const Affine& at : access.at)
      count *= places(at, tile);
    return count;
  }

  bool is_window(const Access& access) const
  {
    return std::any_of(access.at.begin(), access.at.end(), [&](const Affine& at) {
      auto is_used = [&](const Dimension& d) { return at.uses(d.index); };
      return std::any_of(box.begin(), box.end(), is_used) && std::any_of(reduced.begin(), reduced.end(), is_used);
    });
  }

  // Whether the whole window is written out, each element of its overlap read once: see emit_nest_unroll.cpp.
  bool can_be_written_out(const Tile& tile, const Lanes& lanes) const
  {
    if (reductions != 1 || !is_sum || has_tap || group > 1 || lanes.index < 0 || lanes.are_reduced)
      return false;
    const int64_t accs = accumulators(tile);
    int64_t count = accs;
    for (const Dimension& d : reduced) {
      if (!d.extent || d.fixed || is_trimmed(d.index, tile) || block_of(d.index, lanes.index) % *d.extent != 0)
        return false;
      count *= *d.extent;
      if (count > most_of_window)
        return false;
    }
    int64_t shared = 0, others = 0;
    bool has_window = false;
    for (const Access& access : accesses)
      if (access.in_reduction) {
        has_window = has_window || is_window(access);
        if (access.checked || access.lane > Lane::contiguous)
          return false;
        const int64_t size = elements(access, tile);
        shared = std::max(shared, size);
        others += size;
      }
    others -= shared;
    return has_window && count > accs && shared * 3 <= count * 2 && accs + others + 2 <= target.vector_registers;
  }

  bool fits(const Tile& tile) const
  {
    int64_t accs = accumulators(tile) * (has_tap ? 2 : 1);
    if (reductions == 0) // some values of each vector are alive at once
      return accs == 1 || (accs <= 4 && accs * steps <= target.vector_registers);
    int64_t kept = target.vector_registers;
    int64_t products = 0;
    for (const Access& access : accesses)
      if (access.in_reduction) {
        kept = std::min(kept, distinct(access, tile));
        products++;
      }
    if (products < 2)
      kept = 1;
    return accs == 1 || accs + kept + 1 < target.vector_registers;
  }

  double steps_of(int lanes, int64_t width, int64_t batch) const
  {
    double steps = 1;
    for (size_t r = 0; r < reduced.size(); r++) {
      const Dimension& d = reduced[r];
      double extent = d.extent ? static_cast<double>(*d.extent) : static_cast<double>(batch);
      if (d.index != lanes && !inside.empty())
        extent *= inside[r];
      steps *= d.index == lanes ? std::ceil(extent / width) : d.index == dot ? extent / group : extent;
    }
    return steps;
  }

  // Of the time that the widest vectors take: less where those go through a narrower unit in several parts.
  double share_of(int64_t width) const
  {
    const int64_t bytes = std::max(width * lane_bytes, target.unit_bytes);
    return std::min(1.0, static_cast<double>(bytes) / static_cast<double>(target.vector_bytes));
  }

  // Tiles of 40 channels in blocks of 16: where each of their vectors lies is computed for each of them.
  static bool begins_inside_block(const Access& access, int64_t size)
  {
    constexpr int64_t usual = 16; // of a layout that is to be chosen
    int64_t block = access.free ? usual : 0;
    for (const Axis& axis : access.buffer->layout.axes)
      if (axis.modulo > 0 && axis.divide == 1)
        block = std::max(block, axis.modulo);
    return access.in_lanes && block > 0 && size > block && size % block != 0;
  }

  double cost_of(const Tile& tile, double steps, int64_t width, bool reduces_lanes) const
  {
    const double accs = static_cast<double>(accumulators(tile)), taps = is_written_out ? steps : 1;
    const double share = share_of(width), latency = group > 1 ? 6 : is_sum ? 4 : 2;
    double loads = 0, issued = 0, far = 0, vectors = 0, ends = 0;
    int64_t runs = 1, factors = 0;
    if (cut && cut->images < 0) // all but the first part read the sums, all but the last write them
      ends += accs * (load_cost[0] + store_cost[0]) * static_cast<double>(cut->parts - 1);
    for (const Access& access : accesses) {
      const bool overlaps = is_written_out && access.in_reduction;
      double count = static_cast<double>(overlaps ? elements(access, tile) : distinct(access, tile));
      if (access.in_reduction) {
        // Where a block has several vectors, a tile of whole blocks knows in which of them each one begins.
        const bool is_cut =
            access.lane == Lane::split && tile.blocks * width % access.buffer->layout.axes.back().modulo != 0;
        double cost = load_cost[static_cast<int>(is_cut ? Lane::gathered : access.lane)] * (access.checked ? 2 : 1) *
                      (access.lane == Lane::broadcast ? 1 : share);
        if (group > 1 && access.lane == Lane::broadcast) // an instruction of its own
          cost = 0.8;
        if (access.lane == Lane::contiguous && begins_inside_block(access, tile.blocks * width))
          cost += 0.5;
        issued += count * cost;
        // A panel larger than the first cache comes from the second.
        const auto bytes = static_cast<double>(width * group * bytes_of(access.buffer->type.dtype));
        const double panel = count * bytes * steps / taps;
        if (access.lane == Lane::contiguous && !(cut && cut->is_near) &&
            panel > static_cast<double>(target.l1_bytes) / 2) {
          cost = std::max(cost, bytes / l2_rate);
          if (panel > static_cast<double>(target.l1_bytes) && !has_batch(access.buffer->type.shape) &&
              !is_stream(access))
            far += count * bytes / std::max(l2_rate, l2_rate_of_vectors * static_cast<double>(target.vector_bytes));
        }
        loads += count * cost;
        factors++;
        if (access.lane == Lane::broadcast)
          runs = std::max(runs, runs_of(access, tile));
        vectors += access.lane == Lane::contiguous && is_window(access) ? count * cost : 0;
      } else if (access.is_store) {
        ends += accs * store_cost[static_cast<int>(access.lane)];
      } else {
        ends += count * load_cost[static_cast<int>(access.lane)];
      }
    }
    const double work = accs * 0.5 * operations * taps * share;
    double step = std::max({work, loads, latency * taps, (accs * operations * taps * share + loads) / 5});
    // What comes from the second cache is late where it is much of what that can give.
    step += std::max(0.0, far - 0.4 * step);
    // Loads, and sums that wait for themselves, hold up the products where they leave no slack.
    if (factors > 1)
      step += (std::max(0.0, issued - 0.75 * step) + std::max(0.0, latency * taps - 0.75 * step)) / 16;
    // The lines of a picture that come from the second cache, and go there, want the first one to themselves.
    step += std::max(0.0, vectors - work / 2) / 2;
    // Each run of them begins anew, as far as the hardware looks ahead.
    step += 0.05 * static_cast<double>(runs - 1);
    if (reduces_lanes)
      ends += accs * 6;
    ends = (ends + accs * outer_operations * 0.5) * share;
    return steps / taps * (step + 0.3) + std::max(ends, 1.0) + (is_written_out ? 4 : reductions ? 12 : 2);
  }

  // Of the whole box: full tiles and tails, per image.
  double total(Tile& tile, const Lanes& lanes) const
  {
    double sum = 0;
    for (int64_t batch : batches) {
      const double steps = reductions ? steps_of(lanes.index, lanes.width, batch) : 0;
      sum += total_over(0, 1, tile, lanes, steps, batch) / static_cast<double>(batch);
    }
    return sum;
  }

  // `tile` is as before when it returns.
  double total_over(size_t d, double times, Tile& tile, const Lanes& lanes, double steps, int64_t batch) const
  {
    if (d == box.size())
      return times * cost_of(tile, steps, lanes.width, lanes.are_reduced);
    const bool has_lanes = box[d].index == lanes.index;
    int64_t extent = box[d].extent ? *box[d].extent : box[d].fixed ? 8 : batch;
    if (has_lanes)
      extent = ceil_div(extent, lanes.width);
    int64_t& size = has_lanes ? tile.blocks : tile.sizes[d];
    const int64_t full = size, tail = extent % full;
    double sum = 0;
    if (extent / full > 0)
      sum += total_over(d + 1, times * static_cast<double>(extent / full), tile, lanes, steps, batch);
    if (tail > 0 && (has_lanes || box[d].extent)) {
      size = tail;
      sum += total_over(d + 1, times, tile, lanes, steps, batch);
    } else if (tail > 0) { // of a batch: in halves
      int64_t rest = tail;
      for (size = full / 2; rest > 0; rest %= size, size = std::max<int64_t>(size / 2, 1))
        if (rest >= size)
          sum += total_over(d + 1, times * static_cast<double>(rest / size), tile, lanes, steps, batch);
    }
    size = full;
    return sum;
  }

  // Groups of neighbours lie in the lanes: all operands are the same for all of them, or lie in a row.
  bool makes_dots(const Lanes& lanes)
  {
    if (dot < 0 || lanes.index < 0 || lanes.are_reduced || lanes.width < full_width)
      return false;
    group = dot_group;
    return std::all_of(accesses.begin(), accesses.end(), [&](const Access& access) {
      return !access.in_reduction || lane_of(access, lanes.index, lanes.width) <= Lane::contiguous;
    });
  }

  void consider(const Lanes& lanes)
  {
    if (!makes_dots(lanes))
      group = 1;
    for (Access& access : accesses) {
      access.in_lanes = lanes.index >= 0 && uses(access, lanes.index);
      access.lane = lane_of(access, lanes.index, lanes.width);
    }
    Tile tile;
    tile.sizes.assign(box.size(), 1);
    enumerate(0, tile, lanes);
  }

  void enumerate(size_t d, Tile& tile, const Lanes& lanes)
  {
    if (d == box.size()) {
      price(tile, lanes);
      return;
    }
    const bool has_lanes = box[d].index == lanes.index, can_tile = !box[d].fixed && reductions > 0;
    const int64_t most = has_lanes       ? ceil_div(*box[d].extent, lanes.width)
                         : !can_tile     ? 1
                         : box[d].extent ? *box[d].extent
                                         : most_images;
    int64_t& size = has_lanes ? tile.blocks : tile.sizes[d];
    for (size = 1; size <= most && fits(tile); size++)
      enumerate(d + 1, tile, lanes);
    size = 1;
  }

  void price(Tile& tile, const Lanes& lanes)
  {
    inside.assign(sliders.empty() ? 0 : reduced.size(), 1);
    for (const Slider& s : sliders)
      if (box[s.box].index != lanes.index)
        inside[s.reduced] = std::min(inside[s.reduced], steps_inside(s, tile.sizes[s.box]) /
                                                            static_cast<double>(*reduced[s.reduced].extent));
    for (const bool all : {false, true}) {
      is_written_out = all;
      if (!all || can_be_written_out(tile, lanes))
        rate(tile, lanes);
    }
    is_written_out = false;
  }

  void rate(Tile& tile, const Lanes& lanes)
  {
    const std::optional<Cut> parts = cut_of(tile, lanes);
    cut.reset();
    if (!parts || !parts->is_needed)
      rate_as_cut(tile, lanes);
    cut = parts;
    if (parts)
      rate_as_cut(tile, lanes);
  }

  void rate_as_cut(Tile& tile, const Lanes& lanes)
  {
    const double cycles = total(tile, lanes);
    if (keeps_rated && (result.cycles == 0 || cycles < result.cycles * most_kept))
      rated.push_back({schedule_of(tile, lanes.index, lanes.width), cycles, {}});
    if (result.cycles == 0 || cycles < result.cycles * 0.9999) {
      result.cycles = cycles;
      result.schedule = schedule_of(tile, lanes.index, lanes.width);
    }
  }

  StageSchedule schedule_of(const Tile& tile, int lanes, int64_t width) const
  {
    StageSchedule schedule;
    for (size_t d = 0; d < box.size(); d++) {
      int64_t size = tile.sizes[d];
      if (box[d].index == lanes)
        size = std::min(tile.blocks * width, *box[d].extent);
      schedule.tile.push_back({box[d].name, size});
    }
    if (lanes >= 0) {
      schedule.lanes = nest.indices[lanes].name;
      schedule.width = width;
      order_tiles(schedule, lanes);
    }
    order_reduction(schedule, tile, lanes, width);
    if (cut)
      schedule.cut.push_back({reduced[cut->reduced].name, cut->size});
    if (cut && cut->images >= 0)
      schedule.cut.push_back({box[static_cast<size_t>(cut->images)].name, cut->group});
    return schedule;
  }

  struct Cut {
    size_t reduced;
    int64_t size, parts;
    int images = -1; // in the box: goes in groups, all of which read a part's weights
    int64_t group = 1;
    bool is_near = true;    // a part is in the first cache when it is read again
    bool is_needed = false; // or all weights would come from beyond the second one, which has no price
  };

  // All weights of a tile are read again for each tile of the picture behind them, or of the images. Where they are many,
  // in parts: one of them, and the sums so far, find room in the first cache, and are little beside what would come from
  // farther away.
  std::optional<Cut> cut_of(const Tile& tile, const Lanes& lanes) const
  {
    if (reductions != 1 || !is_sum || has_tap || is_written_out || lanes.index < 0 || lanes.are_reduced ||
        !stage.shared.empty())
      return std::nullopt;
    const int64_t panel = panel_of(tile, lanes);
    if (panel <= target.l1_bytes)
      return std::nullopt;
    Cut found{0, 0, 1};
    int64_t sums = lane_bytes, tiles = 1;
    for (size_t d = 0; d < box.size(); d++) {
      if (box[d].index == lanes.index) {
        sums *= tile.blocks * lanes.width;
      } else if (box[d].fixed) {
        return std::nullopt;
      } else if (!box[d].extent || is_apart(box[d])) {
        sums *= tile.sizes[d];
        found.images = box[d].extent ? found.images : static_cast<int>(d);
      } else {
        sums *= *box[d].extent;
        tiles *= ceil_div(*box[d].extent, tile.sizes[d]);
      }
    }
    constexpr int64_t fewest_tiles = 3;
    if (tiles == 1 && found.images >= 0 && panel > target.l2_bytes / 2) {
      const int64_t size = tile.sizes[static_cast<size_t>(found.images)];
      found.group = ceil_div(images_in_group, size) * size;
      sums *= found.group / size;
    } else {
      found.images = -1;
      if (tiles < fewest_tiles)
        return std::nullopt;
    }
    StageSchedule order;
    order_reduction(order, tile, lanes.index, lanes.width);
    for (size_t r = 0; r < reduced.size(); r++)
      if (!is_trimmed(reduced[r].index, tile) && *reduced[r].extent > *reduced[found.reduced].extent)
        found.reduced = r;
    const int64_t extent = *reduced[found.reduced].extent, step = order.reduce[found.reduced].size;
    if (is_trimmed(reduced[found.reduced].index, tile))
      return std::nullopt;
    for (int64_t size = step; size < extent; size += step)
      if (extent % size == 0 && (found.size == 0 || panel / extent * size <= target.l1_bytes / 4))
        found.size = size;
    const int64_t taken = sums + panel / extent * found.size;
    found.is_needed = panel > target.l2_bytes / 2;
    found.is_near = taken <= target.l1_bytes / 4 * 3 && found.images < 0; // one image alone reads nothing again
    if (found.size == 0 || taken > panel / 4 || !(found.is_near || (found.is_needed && taken <= target.l2_bytes / 8)))
      return std::nullopt;
    found.parts = extent / found.size;
    return found;
  }

  // Bytes of the weights that a tile reads, where all tiles of the picture behind it read the same; else 0.
  int64_t panel_of(const Tile& tile, const Lanes& lanes) const
  {
    int64_t steps = 1;
    for (const Dimension& d : reduced) {
      if (!d.extent || d.fixed)
        return 0;
      steps *= *d.extent;
    }
    int64_t bytes = 0;
    for (const Access& access : accesses)
      if (access.in_reduction && access.in_lanes && access.lane == Lane::contiguous &&
          std::none_of(box.begin(), box.end(), [&](const Dimension& d) {
            return d.index != lanes.index && !is_apart(d) && uses(access, d.index);
          }))
        bytes = std::max(bytes, tile.blocks * lanes.width * steps * bytes_of(access.buffer->type.dtype));
    return bytes;
  }

  // An index that all factors have (a position of winograd's tiles, a group): two of its values share nothing.
  bool is_apart(const Dimension& d) const
  {
    int factors = 0;
    bool all = d.extent && !d.fixed;
    for (const Access& access : accesses)
      if (access.in_reduction) {
        factors++;
        all = all && uses(access, d.index);
      }
    return all && factors > 1;
  }

  // Indices that keep all factors apart go first. Lanes along channels: their tile goes behind the images, before rows
  // and columns, so that its weights stay near; before the images where all of them together would leave the second
  // cache for each image.
  void order_tiles(StageSchedule& schedule, int lanes) const
  {
    const int along = std::any_of(box.begin(), box.end(), [&](const Dimension& d) { return d.index == lanes; })
                          ? lanes
                          : rows_of_stream();
    std::vector<StageSchedule::Step> first, rest;
    for (size_t d = 0; d < box.size(); d++)
      (box[d].index != lanes && is_apart(box[d]) ? first : rest).push_back(schedule.tile[d]);
    schedule.tile = first;
    schedule.tile.insert(schedule.tile.end(), rest.begin(), rest.end());
    auto at = std::find_if(schedule.tile.begin(), schedule.tile.end(),
                           [&](const auto& step) { return along >= 0 && step.index == nest.indices[along].name; });
    if (at == schedule.tile.end())
      return;
    int64_t stationary = 0;
    bool spatial = false;
    for (const Access& access : accesses) {
      if (!access.in_reduction || !uses(access, along))
        continue;
      bool moves = std::any_of(box.begin(), box.end(),
                               [&](const Dimension& d) { return d.index != along && uses(access, d.index); });
      if (moves)
        spatial = true;
      else
        stationary += bytes_of_buffer(*access.buffer);
    }
    if (spatial || stationary == 0)
      return;
    size_t to = first.size();
    if (stationary <= target.l2_bytes / 2)
      for (const Dimension& d : box)
        to += !d.extent && !d.fixed && d.name == schedule.tile[to].index;
    StageSchedule::Step step = *at;
    if (static_cast<size_t>(at - schedule.tile.begin()) < to)
      return;
    schedule.tile.erase(at);
    schedule.tile.insert(schedule.tile.begin() + static_cast<std::ptrdiff_t>(to), step);
  }

  // A window's index that slides over a tiled one: h + i with 7 rows in the tile. Written out, neighbouring steps share
  // loads, all of which would be kept alive.
  bool slides(int index, const Tile& tile) const
  {
    for (const Access& access : accesses)
      for (const Affine& at : access.at)
        if (access.in_reduction && at.uses(index))
          for (size_t d = 0; d < box.size(); d++)
            if (tile.sizes[d] > 1 && at.uses(box[d].index))
              return true;
    return false;
  }

  // A loop that stops at the picture's end cannot be written out.
  bool is_trimmed(int index, const Tile& tile) const
  {
    return std::any_of(sliders.begin(), sliders.end(), [&](const Slider& s) {
      return reduced[s.reduced].index == index &&
             steps_inside(s, tile.sizes[s.box]) < static_cast<double>(*reduced[s.reduced].extent);
    });
  }

  // How many steps of the index, from an aligned one on, stay within one block of every operand; 0: any number.
  // A vector that is split anyway may begin anywhere.
  int64_t block_of(int index, int lanes) const
  {
    int64_t block = 0;
    for (const Access& access : accesses)
      for (const Axis& axis : access.buffer->layout.axes) {
        if (!access.in_reduction || axis.modulo == 0 || !access.at[axis.dim].uses(index) ||
            (lanes >= 0 && access.at[axis.dim].uses(lanes)))
          continue;
        // Of a block that is cut again the outermost part counts.
        const auto& axes = access.buffer->layout.axes;
        if (std::none_of(axes.begin(), axes.end(), [&](const Axis& other) {
              return other.dim == axis.dim && other.modulo > 0 && other.divide > axis.divide;
            }))
          block = std::gcd(block, axis.divide * axis.modulo);
      }
    return block;
  }

  int chosen_lanes() const
  {
    for (const std::vector<Dimension>* dimensions : {&box, &reduced})
      for (const Dimension& d : *dimensions)
        if (d.name == result.schedule.lanes)
          return d.index;
    return -1;
  }

  // Sums take a while: most of them long enough to bring the lines for the results near, which have left the first cache.
  // From memory they come later than a few products are made: those lines are asked for ahead.
  bool is_result(const Access& access) const
  {
    const Buffer& to = *access.buffer;
    const int lanes = chosen_lanes();
    return reductions == 1 && access.is_store && (to.role == BufferRole::out || to.role == BufferRole::inout) &&
           std::any_of(box.begin(), box.end(), [&](const Dimension& d) { return d.index == lanes; }) &&
           lane_of(access, lanes, result.schedule.width) == Lane::contiguous;
  }

  bool is_asked_for_ahead(const Access& access) const
  {
    constexpr int64_t latency = 400; // cycles
    int64_t products = 1;            // vectors of them, of which a core makes one a cycle
    for (const StageSchedule::Step& step : result.schedule.tile)
      products *= step.size;
    for (const Dimension& d : reduced)
      products *= d.extent.value_or(1);
    return bytes_of_buffer(*access.buffer) > target.l2_bytes / 2 &&
           products / std::max<int64_t>(result.schedule.width, 1) < latency;
  }

  bool should_prefetch() const
  {
    return std::any_of(accesses.begin(), accesses.end(), [&](const Access& access) {
      return is_result(access) && !is_asked_for_ahead(access) && bytes_of_buffer(*access.buffer) > target.l1_bytes;
    });
  }

  static int64_t bytes_of_buffer(const Buffer& buffer)
  {
    return stored_elements(buffer.layout, buffer.type.shape) * bytes_of(buffer.type.dtype);
  }

  // Weights are asked for a tile before they are multiplied: a network has more of them than a cache keeps from one call
  // to the next. Those that leave the second cache before they are read again, and have no such tile, are asked for as
  // they go on; channels of a picture, in a tile of which each block is a few lines far from the last, a block before, or
  // a tile before where they come from farther than the second cache.
  void find_streams()
  {
    const int lanes = chosen_lanes();
    for (const Buffer& buffer : nest.buffers) {
      const int64_t bytes = bytes_of_buffer(buffer);
      if (buffer.role != BufferRole::in)
        continue;
      for (const Access& access : accesses) {
        if (access.buffer != &buffer || !access.in_reduction)
          continue;
        const Lane lane = lane_of(access, lanes, result.schedule.width);
        const bool is_batch = has_batch(buffer.type.shape);
        if (!is_batch && lane == Lane::contiguous) {
          const int64_t tile = next_tile(access, lanes);
          if (tile > 0 && tile < bytes && bytes > target.l1_bytes / 2) {
            take_turns(access, lanes, ask(buffer, tile));
          } else if (bytes > target.l2_bytes) {
            ask(buffer, std::max(is_stream(access) ? run_ahead : stream_ahead, rows_of_tile(access)));
          } else {
            continue;
          }
          break;
        }
        if (!is_batch || lane != Lane::broadcast || bytes <= target.l1_bytes)
          continue;
        const int64_t pixels = bytes > target.l2_bytes / 2 ? next_pixels(access) : 0;
        if (const int64_t next = pixels > 0 ? pixels : next_block(access); next > 0) {
          ask(buffer, next);
          break;
        }
      }
    }
    for (const Access& access : accesses)
      if (is_result(access) && is_asked_for_ahead(access)) {
        ask(*access.buffer, run_ahead);
        break;
      }
  }

  Ahead& ask(const Buffer& buffer, int64_t bytes)
  {
    result.streams.push_back({static_cast<int>(&buffer - nest.buffers.data()), {bytes, "", 1}});
    return result.streams.back().second;
  }

  // Bytes of an operand's rows that a tile reads side by side, where those are short: a page ahead of the first one is in
  // the second one, which is read as well.
  int64_t rows_of_tile(const Access& access) const
  {
    constexpr int64_t most = 64 << 10;
    int64_t bytes = 0;
    for (const Dimension& d : box)
      if (d.name != result.schedule.lanes && size_in_tile(d.name) > 1)
        bytes = std::max(bytes, bytes_to_next(access, d));
    return bytes <= most ? bytes : 0;
  }

  int64_t size_in_tile(const std::string& index) const
  {
    for (const StageSchedule::Step& step : result.schedule.tile)
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

  // Bytes from a tile's weights to those of the next one along the lanes (or of the next part of a sum that is cut), where
  // the tile's own are used again and both find room in the second cache beside the pictures; else 0.
  int64_t next_tile(const Access& access, int lanes) const
  {
    const int64_t size = size_in_tile(result.schedule.lanes);
    bool is_shared = false;
    for (const Dimension& d : box) {
      if (d.index == lanes || is_apart(d)) // whose next value comes behind the last of the lanes
        continue;
      if (uses(access, d.index))
        return 0;
      is_shared = is_shared || (d.extent && *d.extent > 1);
    }
    if (!is_shared || size == 0)
      return 0;
    int64_t bytes = bytes_along(access, lanes, size);
    for (const StageSchedule::Step& part : result.schedule.cut)
      for (const Dimension& d : reduced)
        if (d.name == part.index)
          bytes = bytes_along(access, d.index, part.size);
    return bytes <= target.l2_bytes / 4 ? bytes : 0;
  }

  // In memory, over so many steps of an index; 0 where they are not whole blocks.
  static int64_t bytes_along(const Access& access, int index, int64_t steps)
  {
    const std::vector<int64_t> strides = axis_strides(access.buffer->layout, access.buffer->type.shape);
    int64_t bytes = 0;
    for (size_t a = 0; a < strides.size(); a++) {
      const Axis& axis = access.buffer->layout.axes[a];
      if (access.at[axis.dim].factor(index) != 1)
        continue;
      if (steps % std::max(axis.divide, axis.modulo) != 0)
        return 0;
      if (axis.modulo == 0)
        bytes += strides[a] * (steps / axis.divide) * bytes_of(access.buffer->type.dtype);
    }
    return bytes;
  }

  // A tile's weights are read again for each tile of the picture that follows. Asked for all at once, the next ones would
  // come while the first of these runs, which has to wait for memory, and all others would ask in vain.
  void take_turns(const Access& access, int lanes, Ahead& ahead) const
  {
    constexpr int64_t line = 64;
    // Kernels of several stages have no integer register to spare, and most read the same weights for further rows.
    if (!stage.shared.empty())
      return;
    int64_t bytes = bytes_of(access.buffer->type.dtype) * group; // of weights that lie in a row, in a step
    for (const StageSchedule::Step& step : result.schedule.reduce)
      bytes *= std::max<int64_t>(step.size / group, 1);
    bool is_inside = false;
    int64_t most = 1, block = 1;
    for (const Axis& axis : access.buffer->layout.axes)
      if (lanes >= 0 && access.at[axis.dim].factor(lanes) == 1 && axis.modulo > 0)
        block = axis.modulo * axis.divide;
    for (const StageSchedule::Step& step : result.schedule.tile) {
      if (step.index == result.schedule.lanes) {
        is_inside = true;
        bytes *= std::min(step.size, block);
        continue;
      }
      const auto d = std::find_if(box.begin(), box.end(), [&](const Dimension& of) { return of.name == step.index; });
      const int64_t count = d->extent ? ceil_div(*d->extent, step.size) : 1;
      if (!is_inside || uses(access, d->index) || count <= most)
        continue;
      most = count;
      ahead.loop = step.index;
    }
    while (ahead.turns * 2 <= most && bytes % (ahead.turns * 2 * line) == 0)
      ahead.turns *= 2;
    if (ahead.turns == 1)
      ahead.loop.clear();
  }

  // Bytes from what one tile reads of a picture to what the next one does; else 0. A window's tiles overlap, and read each
  // line for every tap.
  int64_t next_pixels(const Access& access) const
  {
    if (is_window(access))
      return 0;
    int64_t least = 0;
    for (const Dimension& d : box)
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
    for (const StageSchedule::Step& step : result.schedule.reduce) {
      auto d = std::find_if(reduced.begin(), reduced.end(), [&](const Dimension& d) { return d.name == step.index; });
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

  // No two outputs of an image share an element: a dense layer's weights.
  bool is_stream(const Access& access) const
  {
    return access.in_reduction && !has_batch(access.buffer->type.shape) && access.buffer->role != BufferRole::local &&
           std::all_of(box.begin(), box.end(),
                       [&](const Dimension& d) { return !d.extent || *d.extent == 1 || uses(access, d.index); });
  }

  // The outermost index of the box that such an operand has, or -1.
  int rows_of_stream() const
  {
    for (const Access& access : accesses)
      if (is_stream(access))
        for (const Dimension& d : box)
          if (d.extent && *d.extent > 1)
            return d.index;
    return -1;
  }

  // A stream is read once: as it lies, or each line of it would come from far away several times. The index with which
  // it goes on, or -1.
  int innermost_of_stream(int lanes) const
  {
    int innermost = -1;
    int64_t least = 0;
    for (const Access& access : accesses) {
      if (!is_stream(access))
        continue;
      for (const Dimension& d : reduced) {
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
  // not slide.
  void order_reduction(StageSchedule& schedule, const Tile& tile, int lanes, int64_t width) const
  {
    if (reductions != 1)
      return;
    int64_t accs = accumulators(tile);
    int chosen = group > 1 ? dot : innermost_of_stream(lanes);
    for (const bool trimmed : {false, true}) {
      if (chosen >= 0)
        break;
      for (const Dimension& d : reduced) {
        if (d.index == lanes || !d.extent || d.fixed || *d.extent < 2 || slides(d.index, tile) ||
            is_trimmed(d.index, tile) != trimmed)
          continue;
        bool contiguous = false, blocked = false;
        for (const Access& access : accesses)
          if (access.in_reduction && uses(access, d.index)) {
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
    int64_t limit = std::max<int64_t>(1, most_statements / std::max<int64_t>(accs, 1));
    for (const Dimension& d : reduced) {
      StageSchedule::Step step{d.name, 1};
      if (is_written_out) {
        step.size = *d.extent;
      } else if (d.index == lanes) {
        step.size = std::min(width, *d.extent);
      } else if (d.index == chosen) {
        const int64_t block = block_of(d.index, lanes);
        for (int64_t size = std::min<int64_t>({*d.extent, most_written_out, limit}); size >= 1; size--)
          if (*d.extent % size == 0 && block % size == 0 && (group == 1 || size % group == 0)) {
            step.size = size;
            break;
          }
      }
      schedule.reduce.push_back(step);
    }
  }

  const Nest& nest;
  const StageLoops& stage;
  const Target& target;
  std::vector<Dimension> box, reduced;
  std::vector<Access> accesses;
  std::vector<Slider> sliders;
  std::vector<double> inside;       // of the tile in question: for each reduced index the share of its steps
  int reductions = 0, steps = 0;    // steps: values between a point's reads and its stores
  int dot = -1;                     // a reduced index, `dot_group` steps of which may be one instruction;
  int64_t dot_group = 1, group = 1; // group: with the lanes in question
  bool has_tap = false, is_sum = true;
  double operations = 0, outer_operations = 0;
  bool is_written_out = false; // of the schedule in question: all steps of its reduction
  std::optional<Cut> cut;      // likewise
  int64_t lane_bytes = 4, full_width = 1;
  Plan result;
  bool keeps_rated = false; // all that may be asked for, not the best alone
  std::vector<Plan> rated;
};

} // namespace

Plan plan_stage(const Nest& nest, const StageLoops& stage, const Target& target, const std::vector<bool>& free_layout)
{
  return Planner(nest, stage, target, free_layout).best();
}

std::vector<Plan> plan_alternatives(const Nest& nest, const StageLoops& stage, const Target& target, double within,
                                    size_t most)
{
  return Planner(nest, stage, target, {}).alternatives(within, most);
}

std::vector<std::pair<int, Ahead>> streams_of(const Nest& nest, const StageLoops& stage, const Target& target,
                                              const StageSchedule& schedule)
{
  return Planner(nest, stage, target, {}).streams(schedule);
}

} // namespace cnnc
