// Loops over tiles around loops inside a tile; one accumulator becomes a tile of them.
//
//   for h in 0..10, w in 0..10 {                        for h in 0..10, w in 0..10 step 5 {
//     %acc[] = 0                                          for w.in in 0..5 { %acc[w.in] = 0 }
//     for c in 0..6 { %acc[] += %x[c,h,w] * @w[c] }  =>   for c in 0..6, w.in in 0..5 {
//     %y[h,w] = %acc[]                                      %acc[w.in] += %x[c,h,w + w.in] * @w[c]
//   }                                                     }
//                                                         for w.in in 0..5 { %y[h,w + w.in] = %acc[w.in] }
//                                                       }
//
// An extent that the size does not divide gets a tail of its own behind an `if`; a tail that depends on the batch runs
// in tiles of half the size, and so on. What is inside a tile keeps the index's name: `w.in`; vectors along an index
// are `o.block`, inside one `o.lanes`. With lanes along a reduced index each lane has a partial sum, and they are added
// up in the store.
//
// A sum that is cut goes part by part over the tiles behind the lanes' one, so that a part's weights stay in the first
// cache. Between the parts it lies in memory of the task's own, exactly as in the registers:
//
//   for o in 0..64 step 16 {                            for o in 0..64 step 16 {
//     for w in 0..10 step 5 {                             for c.cut in 0..512 step 128 {
//       ... %acc[w.in] = 0                                  for w in 0..10 step 5 {
//       for c in 0..512 { ... }                 =>            if -c.cut >= 0 { ... = 0 } else { ... = %sum[w + w.in] }
//       ... %y[o,w + w.in] = %acc[w.in]                       for c in c.cut..c.cut + 128 { ... }
//     }                                                       if c.cut - 384 >= 0 { %y[...] = ... } else { %sum[...] = ... }
//   }                                                 } } }
//
// Needs:  a nest in canonical form with its schedule.
// Leaves: loops inside a tile have constant bounds; accumulators are `local`.
#include "passes/stage_loops.h"
#include "passes/trim.h"

#include <algorithm>

namespace cnnc {

namespace {

class StageTiler {
public:
  StageTiler(Nest& nest, const StageLoops& stage, const StageSchedule& schedule)
      : nest(nest),
        stage(stage),
        schedule(schedule),
        point(*stage.point)
  {
    for (const Loop* loop : stage.box)
      box.push_back(*loop);
    for (Loop& loop : box)
      loop.body.clear();
  }

  std::vector<Node> run()
  {
    for (const StageSchedule::Step& step : schedule.tile) {
      auto at = std::find_if(box.begin(), box.end(),
                             [&](const Loop& loop) { return nest.indices[loop.index].name == step.index; });
      if (at == box.end())
        throw Error(nest.location, "schedule: the stage has no index '" + step.index + "'");
      order.push_back({static_cast<size_t>(at - box.begin()), step.size});
    }
    for (size_t b = 0; b < box.size(); b++)
      if (std::none_of(order.begin(), order.end(), [&](auto& o) { return o.box == b; }))
        order.push_back({b, 1});
    if (!schedule.cut.empty())
      cut();
    return tile(0);
  }

private:
  struct Order {
    size_t box;
    int64_t size;
  };
  // A loop inside the tile: `index` runs over 0 ... count - 1, in steps of `factor` of the box's index.
  struct Inner {
    int index;
    int64_t count;
    int64_t factor = 1;
    bool lanes = false;
  };

  std::string name(int index) const { return nest.indices[index].name; }

  // ---- a sum in parts ----

  // Of a sum that is cut.
  struct Parts {
    struct SumDim {
      int index;    // of the box
      bool is_tile; // one tile of it alone
    };
    const Loop* of = nullptr; // the reduction's loop
    size_t behind = 0;        // in `order`: the loops inside of that over the parts
    int64_t last = 0;         // where the last one begins
    int sums = -1;            // the buffer between them
    std::vector<SumDim> dims; // of it
    int index = -1;           // of the loop over parts, inside of it
    int images = -1;          // the box's index, where they go in groups; the loop over those
    int group = -1;
  };

  [[noreturn]] void refuse_cut(const std::string& why) const
  {
    throw Error(nest.location, "schedule: the sum cannot be cut at '" + schedule.cut[0].index + "': " + why);
  }

  void cut()
  {
    const Store* store = nullptr;
    for (const Node& node : point)
      if (std::holds_alternative<Loop>(node.is)) {
        const ReductionLoops reduction = reduction_of(node);
        if (store || !reduction.store)
          refuse_cut("the stage has several sums");
        store = reduction.store;
        for (const Loop* loop : reduction.loops)
          if (name(loop->index) == schedule.cut[0].index)
            parts.of = loop;
      }
    if (!store || !parts.of)
      refuse_cut("the sum has no such index");
    if (store->tap >= 0 || schedule.cut[0].index == schedule.lanes)
      refuse_cut("the index is in the lanes, or a tap is kept");
    const std::optional<int64_t> count = trip_count(*parts.of);
    const int64_t size = schedule.cut[0].size;
    if (!count || !(parts.of->begin[0] == Affine(0)) || parts.of->step != 1 || *count % size != 0)
      refuse_cut("its steps cannot be divided into parts of " + std::to_string(size));
    for (const StageSchedule::Step& step : schedule.reduce)
      if (step.index == schedule.cut[0].index && size % step.size != 0)
        refuse_cut("a part is no multiple of the " + std::to_string(step.size) + " steps written out");
    parts.last = *count - size;
    find_group();
    for (size_t k = 0; k < order.size(); k++)
      if (const Loop& loop = box[order[k].box];
          name(loop.index) == schedule.lanes || (!trip_count(loop) && loop.index != parts.images))
        parts.behind = k + 1;
    for (size_t k = 0; k < parts.behind; k++)
      if (box[order[k].box].index == parts.images)
        refuse_cut("the loop over '" + schedule.cut[1].index + "' is not behind the lanes' one");
    add_sums(*store);
  }

  // cut c:128, n:16
  void find_group()
  {
    if (schedule.cut.size() == 1)
      return;
    const StageSchedule::Step& group = schedule.cut[1];
    const auto at =
        std::find_if(order.begin(), order.end(), [&](const Order& o) { return name(box[o.box].index) == group.index; });
    const Loop* loop = at == order.end() ? nullptr : &box[at->box];
    if (schedule.cut.size() > 2 || !loop || trip_count(*loop) || !(loop->end[0] == Affine::of(batch_index)))
      refuse_cut("behind it only the images' index can stand");
    if (group.size % at->size != 0)
      refuse_cut("groups of " + std::to_string(group.size) + " images are no multiple of tiles of " +
                 std::to_string(at->size));
    parts.images = loop->index;
    parts.group = nest.add_index(group.index + std::string(cut_loop));
  }

  // Where the sums of all tiles behind the cut lie between two parts; the lanes side by side.
  void add_sums(const Store& store)
  {
    Buffer sums = nest.buffers[store.target];
    sums.role = BufferRole::local;
    sums.name += ".sum";
    std::optional<Parts::SumDim> lanes;
    int64_t lanes_extent = 0;
    for (size_t k = 0; k < order.size(); k++) {
      const Loop& loop = box[order[k].box];
      const std::optional<int64_t> count = trip_count(loop);
      const bool is_tile = k < parts.behind;
      const int64_t extent = loop.index == parts.images ? schedule.cut[1].size
                             : is_tile                  ? std::min(order[k].size, count.value_or(order[k].size))
                                                        : *count;
      if (!is_tile && !(loop.begin[0] == Affine(0)))
        refuse_cut("the loop over '" + name(loop.index) + "' does not begin at 0");
      if (name(loop.index) == schedule.lanes) {
        lanes = {loop.index, is_tile};
        lanes_extent = extent;
      } else if (extent > 1) {
        parts.dims.push_back({loop.index, is_tile});
        sums.type.shape.push_back({extent, false});
      }
    }
    if (lanes) {
      parts.dims.push_back(*lanes);
      sums.type.shape.push_back({lanes_extent, false});
    }
    sums.layout = planar(sums.type.shape.size());
    parts.sums = nest.add_buffer(std::move(sums));
  }

  bool is_cut() const { return parts.index >= 0; }

  std::vector<Node> tile_part_by_part()
  {
    parts.index = nest.add_index(schedule.cut[0].index + std::string(cut_loop));
    Loop loop = *parts.of;
    loop.index = parts.index;
    loop.step = schedule.cut[0].size;
    loop.body = tile(parts.behind);
    parts.index = -1;
    if (parts.images < 0)
      return one({std::move(loop)});
    Loop groups{parts.group, {0}, {Affine::of(batch_index)}, schedule.cut[1].size, LoopKind::serial, {}};
    groups.body = one({std::move(loop)});
    return one({std::move(groups)});
  }

  // The loop over one of the box's indices; over images those of the group, where the cut has groups.
  Loop outer_loop_of(const Loop& loop) const
  {
    Loop outer = loop;
    if (is_cut() && loop.index == parts.images) {
      outer.begin = {Affine::of(parts.group)};
      outer.end.push_back(Affine::of(parts.group) + schedule.cut[1].size);
    }
    return outer;
  }

  // Of the point that is made.
  std::vector<Affine> place_of_sum() const
  {
    std::vector<Affine> place;
    for (const Parts::SumDim& dim : parts.dims) {
      Affine a = boxed(Affine::of(dim.index));
      if (dim.index == parts.images)
        a -= Affine::of(parts.group);
      else if (auto base = coordinates.find(dim.index); dim.is_tile && base != coordinates.end())
        a -= base->second;
      place.push_back(a);
    }
    return place;
  }

  // `nodes` in the part where the condition holds, `others` in all others.
  static std::vector<Node> only_where(const Affine& condition, std::vector<Node> nodes, std::vector<Node> others)
  {
    return one({If{condition, std::move(nodes), std::move(others)}});
  }

  Affine is_first_part() const { return Affine::of(parts.index, -1); }
  Affine is_last_part() const { return Affine::of(parts.index) - parts.last; }

  std::vector<Node> tile(size_t k)
  {
    if (!schedule.cut.empty() && k == parts.behind && !is_cut())
      return tile_part_by_part();
    if (k == order.size())
      return runs_vector_by_vector(point, nest) ? vector_by_vector() : leaf();
    const Loop& loop = box[order[k].box];
    int64_t size = order[k].size;
    bool is_lanes = name(loop.index) == schedule.lanes;
    std::optional<int64_t> count = trip_count(loop);
    if (count && size > *count)
      size = *count;
    if (count && *count == 1) {
      coordinates[loop.index] = loop.begin[0];
      return tile(k + 1);
    }
    if (size == 1 && !is_lanes) {
      Loop outer = outer_loop_of(loop);
      outer.body = tile(k + 1);
      return one({std::move(outer)});
    }
    if (loop.begin.size() != 1 || loop.end.size() != 1 || loop.step != 1)
      throw Error(nest.location, "schedule: index '" + name(loop.index) + "' cannot be tiled");
    if (count && size == *count)
      return inside(k, loop.begin[0], size);

    Loop outer = outer_loop_of(loop);
    outer.step = size;
    Affine at = Affine::of(loop.index);
    if (count && *count % size == 0) {
      outer.body = inside(k, at, size);
      return one({std::move(outer)});
    }
    If full{loop.end[0] - at - size, inside(k, at, size), {}};
    if (count) {
      full.else_body = inside(k, at, *count % size);
    } else {
      full.else_body = rest_of_batch(k, at, size / 2);
    }
    outer.body = one({std::move(full)});
    return one({std::move(outer)});
  }

  // In tiles of half the size, of a quarter ..., at last one by one: each tile reads the weights again.
  std::vector<Node> rest_of_batch(size_t k, const Affine& from, int64_t size)
  {
    const Loop& loop = box[order[k].box];
    const int i = nest.add_index(name(loop.index));
    const Affine at = Affine::of(i);
    Loop rest{i, {from}, {loop.end[0]}, size, LoopKind::serial, {}};
    if (size > 1) {
      If full{loop.end[0] - at - size, inside(k, at, size), {}};
      full.else_body = rest_of_batch(k, at, size / 2);
      rest.body = one({std::move(full)});
    } else {
      coordinates[loop.index] = at;
      rest.body = tile(k + 1);
      coordinates.erase(loop.index);
    }
    return one({std::move(rest)});
  }

  static void append(std::vector<Node>& list, std::vector<Node> more)
  {
    list.insert(list.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }

  static std::vector<Node> one(Node node)
  {
    std::vector<Node> list;
    list.push_back(std::move(node));
    return list;
  }

  std::vector<Node> inside(size_t k, const Affine& at, int64_t size)
  {
    int index = box[order[k].box].index;
    extents[index] = size;
    coordinates[index] = at;
    std::vector<Node> body = tile(k + 1);
    extents.erase(index);
    coordinates.erase(index);
    return body;
  }

  // A loop over the tile's whole vectors, and what is left of it.
  std::vector<Node> vector_by_vector()
  {
    const auto lanes = std::find_if(extents.begin(), extents.end(),
                                    [&](const auto& extent) { return name(extent.first) == schedule.lanes; });
    if (lanes == extents.end() || lanes->second <= schedule.width)
      return leaf();
    const auto [index, extent] = *lanes;
    const Affine from = coordinates[index];
    const int64_t whole = extent / schedule.width * schedule.width;
    const int i = nest.add_index(name(index));
    Loop vectors{i, {from}, {from + whole}, schedule.width, LoopKind::serial, {}};
    auto part = [&](const Affine& at, int64_t size) {
      coordinates[index] = at;
      extents[index] = size;
      return leaf();
    };
    vectors.body = part(Affine::of(i), schedule.width);
    std::vector<Node> result = one({std::move(vectors)});
    if (whole < extent)
      append(result, part(from + whole, extent - whole));
    coordinates[index] = from;
    extents[index] = extent;
    return result;
  }

  // ---- the tile itself ----

  std::vector<Node> leaf()
  {
    // Inner loops in the box's order, those of the operand that stays in registers last, the lanes innermost.
    std::vector<Inner> inner;
    std::vector<std::vector<Inner>> pieces; // of the lanes: full vectors, then a partial one
    std::map<int, Affine> offsets;
    std::vector<Affine> piece_begin;
    int lanes_index = -1;
    for (const Loop& loop : box) {
      auto extent = extents.find(loop.index);
      if (extent == extents.end())
        continue;
      if (name(loop.index) == schedule.lanes) {
        lanes_index = loop.index;
        continue;
      }
      int i = nest.add_index(name(loop.index).append(inner_loop));
      inner.push_back({i, extent->second});
      offsets[loop.index] = Affine::of(i);
    }
    std::vector<int> kept = kept_indices();
    std::stable_partition(inner.begin(), inner.end(), [&](const Inner& i) {
      return std::none_of(kept.begin(), kept.end(), [&](int index) {
        auto offset = offsets.find(index);
        return offset != offsets.end() && offset->second.uses(i.index);
      });
    });
    bool lanes_kept = std::find(kept.begin(), kept.end(), lanes_index) != kept.end();
    int block = -1, lane = -1;
    int64_t whole = 0, rest = 0;
    if (lanes_index >= 0) {
      int64_t extent = extents[lanes_index];
      whole = extent / schedule.width;
      rest = extent % schedule.width;
      block = nest.add_index(name(lanes_index).append(block_loop));
      lane = nest.add_index(name(lanes_index).append(lanes_loop));
    }
    reduce_lane = -1;
    if (lanes_index < 0 && !schedule.lanes.empty())
      reduce_lane = nest.add_index(std::string(schedule.lanes).append(lanes_loop));

    // Scalars of the point become tiles.
    // A partial vector has registers of its own, so that nobody asks what its other lanes hold.
    std::map<int, int> of_whole, of_rest;
    for (const Node& node : point)
      if (const Store* store = std::get_if<Store>(&node.is)) {
        if (lanes_index < 0 || whole > 0)
          expand(of_whole, store->target, inner, lanes_index >= 0 ? whole : 0, schedule.width);
        if (rest > 0)
          expand(of_rest, store->target, inner, 1, rest);
      }
    registers = of_whole;

    // What `make` makes of the inner loops, once for the full vectors and once for the partial one.
    auto each_piece = [&](const std::function<std::vector<Node>(const std::vector<Inner>&)>& make) {
      std::vector<Node> made;
      auto call_with = [&](std::vector<Inner> loops, const Affine& lane_at, const Affine& block_at) {
        at.clear();
        for (const Loop& loop : box) {
          auto base = coordinates.find(loop.index);
          Affine a = base == coordinates.end() ? Affine::of(loop.index) : base->second;
          auto offset = offsets.find(loop.index);
          if (offset != offsets.end())
            a += offset->second;
          if (loop.index == lanes_index)
            a += lane_at;
          at[loop.index] = a;
        }
        register_at.clear();
        for (const Inner& i : inner)
          register_at.push_back(Affine::of(i.index));
        if (lanes_index >= 0) {
          register_at.push_back(block_at);
          register_at.push_back(Affine::of(lane));
        } else if (reduce_lane >= 0) {
          register_at.push_back(Affine::of(reduce_lane));
        }
        append(made, make(loops));
      };
      if (lanes_index < 0)
        call_with(inner, 0, 0);
      if (whole > 0) {
        std::vector<Inner> loops = inner;
        if (whole > 1)
          loops.insert(lanes_kept ? loops.end() : loops.begin(), Inner{block, whole, schedule.width});
        loops.push_back({lane, schedule.width, 1, true});
        Affine block_at = whole > 1 ? Affine::of(block) : Affine(0);
        registers = of_whole;
        call_with(loops, block_at * schedule.width + Affine::of(lane), block_at);
      }
      if (rest > 0) {
        std::vector<Inner> loops = inner;
        loops.push_back({lane, rest, 1, true});
        registers = of_rest;
        call_with(loops, Affine(whole * schedule.width) + Affine::of(lane), 0);
      }
      return made;
    };

    std::vector<Node> result;
    if (schedule.prefetches && lanes_index >= 0) {
      result = each_piece([&](const std::vector<Inner>& loops) {
        std::vector<Node> lines;
        for (const auto& [buffer, place] : places_of_results()) {
          Prefetch line{buffer, place};
          for (Affine& a : line.at)
            a = boxed(a).without(lane);
          append(lines, wrap(Node{std::move(line)}, {loops.begin(), loops.end() - 1}));
        }
        return lines;
      });
      if (is_cut())
        result = only_where(is_last_part(), std::move(result), {});
    }

    const int accumulator = reduced_register();
    ExprPtr start;
    std::vector<Node> behind; // the reduction
    bool is_behind = false;
    for (const Node& node : point) {
      if (std::holds_alternative<Loop>(node.is)) {
        append(result, reduce(node, each_piece));
        is_behind = is_cut();
        continue;
      }
      std::vector<const If*> conditions;
      const Store& store = *point_store(node, &conditions);
      bool is_start = store.target == accumulator && reduce_lane >= 0;
      if (is_start)
        start = store.value; // joined when the lanes are added up
      std::vector<Node> stores = each_piece([&](const std::vector<Inner>& loops) {
        Store s = store;
        if (is_start)
          s.value = constant(identity(reduced_update()), nest.buffers[accumulator].type.dtype);
        else
          s.value = value(store.value, accumulator, start);
        place(s);
        Node stored{std::move(s)};
        for (auto check = conditions.rbegin(); check != conditions.rend(); ++check) {
          If inside{boxed((*check)->condition), {}, {}};
          inside.then_body.push_back(std::move(stored));
          stored = Node{std::move(inside)};
        }
        return wrap(std::move(stored), with_reduce_lane(loops));
      });
      if (is_cut() && !is_behind && store.target == accumulator)
        stores = only_where(is_first_part(), std::move(stores), each_piece([&](const std::vector<Inner>& loops) {
                              return wrap(sum_from_memory(accumulator), loops);
                            }));
      append(is_behind ? behind : result, std::move(stores));
    }
    if (is_cut())
      append(result, only_where(is_last_part(), std::move(behind), each_piece([&](const std::vector<Inner>& loops) {
                                  return wrap(sum_to_memory(accumulator), loops);
                                })));
    return result;
  }

  Node sum_from_memory(int accumulator)
  {
    const DType type = nest.buffers[accumulator].type.dtype;
    Store sum{accumulator, -1, {}, Update::assign, read(parts.sums, type, place_of_sum()), {}};
    place(sum);
    return Node{std::move(sum)};
  }

  Node sum_to_memory(int accumulator)
  {
    const ExprPtr sum = value(read(accumulator, nest.buffers[accumulator].type.dtype, {}), -1, nullptr);
    return Node{Store{parts.sums, -1, place_of_sum(), Update::assign, sum, {}}};
  }

  // The indices of the operand of which a step loads least: its loads are kept while the other's come and go.
  std::vector<int> kept_indices() const
  {
    std::vector<int> kept;
    int64_t least = 0;
    for (const Node& node : point) {
      const Store* store = std::holds_alternative<Loop>(node.is) ? reduction_of(node).store : nullptr;
      if (!store)
        continue;
      for_each(*store->value, [&](const Expr& e) {
        if (e.fn != Fn::read || nest.buffers[e.tensor].role == BufferRole::registers)
          return;
        std::vector<int> used;
        int64_t loads = 1;
        for (const auto& [index, extent] : extents)
          if (std::any_of(e.at.begin(), e.at.end(), [&, i = index](const Affine& at) { return at.uses(i); })) {
            used.push_back(index);
            loads *= name(index) == schedule.lanes ? ceil_div(extent, schedule.width) : extent;
          }
        if (least == 0 || loads < least) {
          least = loads;
          kept = used;
        }
      });
    }
    return kept;
  }

  std::vector<Inner> with_reduce_lane(std::vector<Inner> loops) const
  {
    if (reduce_lane >= 0)
      loops.push_back({reduce_lane, schedule.width, 1, true});
    return loops;
  }

  int reduced_register() const
  {
    for (const Node& node : point)
      if (std::holds_alternative<Loop>(node.is))
        if (const Store* store = reduction_of(node).store)
          return store->target;
    return -1;
  }
  Update reduced_update() const
  {
    for (const Node& node : point)
      if (std::holds_alternative<Loop>(node.is))
        if (const Store* store = reduction_of(node).store)
          return store->update;
    return Update::sum;
  }

  // The scalar `buffer` as an array over the tile's loops; `blocks` vectors of `width` lanes, or no lanes of the box.
  void expand(std::map<int, int>& to, int buffer, const std::vector<Inner>& inner, int64_t blocks, int64_t width)
  {
    if (nest.buffers[buffer].role != BufferRole::registers || to.count(buffer))
      return;
    const bool has_partial_sums = reduce_lane >= 0 && buffer == reduced_register();
    if (inner.empty() && blocks == 0 && !has_partial_sums) {
      to[buffer] = buffer;
      return;
    }
    Buffer tile = nest.buffers[buffer];
    tile.role = BufferRole::local;
    for (const Inner& i : inner)
      tile.type.shape.push_back({i.count, false});
    if (blocks > 0)
      tile.type.shape.push_back({blocks, false});
    if (blocks > 0 || has_partial_sums)
      tile.type.shape.push_back({width, false});
    tile.layout = planar(tile.type.shape.size());
    to[buffer] = nest.add_buffer(tile);
  }

  // A reduction: its loops in the schedule's order around the tile's loops.
  template<class EachPiece>
  std::vector<Node> reduce(const Node& node, const EachPiece& each_piece)
  {
    ReductionLoops reduction = reduction_of(node);
    std::vector<std::pair<const Loop*, int64_t>> loops;
    for (const StageSchedule::Step& step : schedule.reduce)
      for (const Loop* loop : reduction.loops)
        if (name(loop->index) == step.index)
          loops.push_back({loop, step.size});
    for (const Loop* loop : reduction.loops)
      if (std::none_of(loops.begin(), loops.end(), [&](auto& l) { return l.first == loop; }))
        loops.push_back({loop, 1});
    std::vector<Inner> inside;
    reduced_at.clear();
    return reduce_over(*reduction.store, loops, 0, inside, each_piece);
  }

  template<class EachPiece>
  std::vector<Node> reduce_over(const Store& store, const std::vector<std::pair<const Loop*, int64_t>>& loops, size_t k,
                                std::vector<Inner>& inside, const EachPiece& each_piece)
  {
    if (k == loops.size()) {
      std::vector<Node> made = each_piece([&](const std::vector<Inner>& piece) {
        std::vector<Inner> all;
        for (const Inner& i : inside)
          if (!i.lanes)
            all.push_back(i);
        all.insert(all.end(), piece.begin(), piece.end());
        for (const Inner& i : inside)
          if (i.lanes)
            all.push_back(i);
        Store s = store;
        s.value = map_affine(s.value, [&](const Affine& a) { return moved(a); });
        s.value = value(s.value, -1, nullptr);
        s.tap_value = moved(s.tap_value);
        place(s);
        return wrap(Node{std::move(s)}, all);
      });
      if (made.size() == 2 && join(made[0], made[1]))
        made.pop_back();
      return made;
    }
    const Loop& loop = *loops[k].first;
    int64_t size = loops[k].second;
    const bool is_part = is_cut() && &loop == parts.of;
    const Affine begin = is_part ? Affine::of(parts.index) : loop.begin[0];
    const std::optional<int64_t> count = is_part ? schedule.cut[0].size : trip_count(loop);
    bool is_lanes = name(loop.index) == schedule.lanes;
    if (count && size > *count)
      size = *count;
    if (count && *count == 1 && !is_lanes) {
      reduced_at[loop.index] = begin;
      return reduce_over(store, loops, k + 1, inside, each_piece);
    }
    if (size == 1 && !is_lanes) {
      Loop outer = loop;
      if (is_part) {
        outer.begin = {begin};
        outer.end = {begin + *count};
      } else if (store.update == Update::sum) {
        trim_to_picture(outer, store);
      }
      outer.body = reduce_over(store, loops, k + 1, inside, each_piece);
      return one({std::move(outer)});
    }
    if (!count)
      throw Error(nest.location, "schedule: index '" + name(loop.index) + "' has no constant extent to cut");
    std::vector<Node> list;
    auto part = [&](const Affine& at, int64_t extent) {
      int i = is_lanes ? reduce_lane : nest.add_index(name(loop.index).append(inner_loop));
      inside.push_back({i, extent, 1, is_lanes});
      reduced_at[loop.index] = at + Affine::of(i);
      std::vector<Node> body = reduce_over(store, loops, k + 1, inside, each_piece);
      inside.pop_back();
      reduced_at.erase(loop.index);
      return body;
    };
    int64_t whole = *count / size, rest = *count % size;
    if (whole == 1) {
      list = part(begin, size);
    } else if (whole > 1) {
      Loop outer = loop;
      outer.step = size;
      outer.begin = {begin};
      outer.end = {begin + whole * size};
      outer.body = part(Affine::of(loop.index), size);
      list.push_back({std::move(outer)});
    }
    if (rest > 0)
      for (Node& node : part(begin + whole * size, rest))
        list.push_back(std::move(node));
    return list;
  }

  // Full vectors and the partial one multiply by the same loads: side by side in the loops that they share, since what
  // is loaded for one would not wait in registers for the other.
  static bool join(Node& node, Node& other)
  {
    Loop *a = std::get_if<Loop>(&node.is), *b = std::get_if<Loop>(&other.is);
    if (!a || !b || a->index != b->index || a->begin != b->begin || a->end != b->end)
      return false;
    if (a->body.size() != 1 || b->body.size() != 1 || !join(a->body[0], b->body[0]))
      for (Node& inner : b->body)
        a->body.push_back(std::move(inner));
    return true;
  }

  // Steps that meet nothing but a border are left out.
  void trim_to_picture(Loop& loop, const Store& store) const
  {
    if (!trip_count(loop) || loop.step != 1)
      return;
    for_each_factor(*store.value, [&](const Expr& read) {
      const Buffer& buffer = nest.buffers[read.tensor];
      for (size_t d = 0; d < read.at.size(); d++) {
        const Dim& extent = buffer.type.shape[d];
        const int64_t sign = read.at[d].factor(loop.index);
        if (extent.batch || (sign != 1 && sign != -1) || loop.begin.size() > 1 || loop.end.size() > 1)
          continue;
        Slide slide{read.at[d].constant, static_cast<int>(sign), 0, 0, extent.size};
        bool is_known = true;
        for (const Affine::Term& term : read.at[d].without(loop.index).terms) {
          is_known = is_known && is_outer(term.index);
          auto base = coordinates.find(term.index);
          slide.place += (base == coordinates.end() ? Affine::of(term.index) : base->second) * term.factor;
          if (auto size = extents.find(term.index); size != extents.end()) {
            const int64_t reach = (size->second - 1) * term.factor;
            slide.least += std::min<int64_t>(0, reach);
            slide.most += std::max<int64_t>(0, reach);
          }
        }
        if (is_known)
          trim(loop, slide, [&](int index) { return interval_of(index); });
      }
    });
  }

  const Loop* outer_loop(int index) const
  {
    for (const Loop& loop : box)
      if (loop.index == index)
        return &loop;
    for (const Loop* loop : stage.shared)
      if (loop->index == index)
        return loop;
    return nullptr;
  }

  bool is_outer(int index) const
  {
    const Loop* loop = outer_loop(index);
    return loop && trip_count(*loop) && loop->begin[0].is_constant();
  }

  Interval interval_of(int index) const
  {
    const Loop& loop = *outer_loop(index);
    int64_t size = 1;
    for (const Order& o : order)
      if (box[o.box].index == index)
        size = o.size;
    const int64_t last = (*trip_count(loop) - 1) / size * size;
    return {loop.begin[0].constant, loop.begin[0].constant + last * loop.step};
  }

  Affine moved(const Affine& a) const
  {
    Affine result = a;
    for (const auto& [index, to] : reduced_at)
      if (!(to.bare() == index))
        result = substitute_once(result, index, to);
    return result;
  }

  // `to` may use `index` itself (the loop over tiles keeps its name).
  static Affine substitute_once(const Affine& a, int index, const Affine& to)
  {
    int64_t factor = a.factor(index);
    return factor == 0 ? a : a.without(index) + to * factor;
  }

  Affine boxed(const Affine& a) const
  {
    Affine result = a.constant;
    for (const Affine::Term& term : a.terms) {
      auto found = at.find(term.index);
      result += found == at.end() ? Affine::of(term.index, term.factor) : found->second * term.factor;
    }
    return result;
  }

  ExprPtr value(const ExprPtr& e, int accumulator, const ExprPtr& start)
  {
    ExprPtr mapped = map_affine(e, [&](const Affine& a) { return boxed(a); });
    return transform(mapped, [&](const ExprPtr& x) -> ExprPtr {
      if (x->fn != Fn::read)
        return x;
      auto found = registers.find(x->tensor);
      if (found == registers.end())
        return x;
      ExprPtr r = read(found->second, x->type, found->second == x->tensor ? x->at : subscripts_of(x->tensor));
      if (x->tensor != accumulator || reduce_lane < 0)
        return r;
      Update update = reduced_update();
      if (update == Update::min)
        r = reversed(lane(Fn::lane_max, reversed(r)));
      else
        r = lane(update == Update::sum ? Fn::lane_sum : Fn::lane_max, r);
      Fn join = update == Update::sum ? Fn::add : update == Update::max ? Fn::max : Fn::min;
      return call(join, {value(start, -1, nullptr), r});
    });
  }

  // The smaller, the larger: a type's integers are turned around as a whole, u8 and the least number too.
  static ExprPtr reversed(const ExprPtr& e)
  {
    if (is_float(e->type))
      return call(Fn::neg, {e});
    return call(Fn::sub, {constant(e->type == DType::u8 ? 255 : -1, e->type), e});
  }

  static ExprPtr lane(Fn fn, ExprPtr of)
  {
    auto e = std::make_shared<Expr>();
    e->fn = fn;
    e->type = of->type;
    e->args = {std::move(of)};
    return e;
  }

  void place(Store& s)
  {
    auto found = registers.find(s.target);
    if (found == registers.end()) {
      for (Affine& a : s.at)
        a = boxed(a);
      return;
    }
    if (found->second == s.target)
      return;
    const int scalar = s.target;
    s.target = found->second;
    if (s.tap >= 0)
      s.tap = registers.at(s.tap);
    s.at = subscripts_of(scalar);
  }

  // Behind the reduction there is one value for all lanes: only the accumulator has a partial sum in each.
  std::vector<Affine> subscripts_of(int scalar) const
  {
    std::vector<Affine> at = register_at;
    if (reduce_lane >= 0 && scalar != reduced_register())
      at.pop_back();
    return at;
  }

  // What the point writes behind its sum, and what it reads in those places (a residual).
  std::vector<std::pair<int, std::vector<Affine>>> places_of_results() const
  {
    std::vector<std::pair<int, std::vector<Affine>>> places;
    for (const Node& node : point) {
      const Store* store = std::get_if<Store>(&node.is);
      if (!store || nest.buffers[store->target].role == BufferRole::registers)
        continue;
      auto add = [&](int buffer) {
        if (std::none_of(places.begin(), places.end(), [&](const auto& place) { return place.first == buffer; }))
          places.push_back({buffer, store->at});
      };
      for (const Node& other : point)
        if (const Store* with = std::get_if<Store>(&other.is))
          for_each(*with->value, [&](const Expr& e) {
            if (e.fn == Fn::read && e.at == store->at && nest.buffers[e.tensor].role == BufferRole::in)
              add(e.tensor);
          });
      add(store->target);
    }
    return places;
  }

  std::vector<Node> wrap(Node node, const std::vector<Inner>& loops)
  {
    for (size_t i = loops.size(); i-- > 0;) {
      // Partial sums have a meaning only as lanes; the others wait for vectorize.
      LoopKind kind = loops[i].index == reduce_lane ? LoopKind::lanes : LoopKind::serial;
      Loop loop{loops[i].index, {0}, {loops[i].count}, 1, kind, {}};
      loop.body.push_back(std::move(node));
      node = Node{std::move(loop)};
    }
    return one(std::move(node));
  }

  Nest& nest;
  const StageLoops& stage;
  const StageSchedule& schedule;
  std::vector<Node> point;
  std::vector<Loop> box;
  std::vector<Order> order;
  std::map<int, int64_t> extents;    // of indices that have a part inside the tile
  std::map<int, Affine> coordinates; // where the tile begins, by the box's index
  std::map<int, Affine> at;          // the point, by the box's index
  std::map<int, Affine> reduced_at;  // likewise for the reduction's indices
  std::map<int, int> registers;      // scalar -> tile
  std::vector<Affine> register_at;
  int reduce_lane = -1;
  Parts parts;
};

} // namespace

void tile(Nest& nest, const Target&, Remarks&)
{
  if (nest.schedule.empty())
    return;
  std::vector<StageSchedule> schedules = parse_schedules(nest.schedule, nest.location);
  std::vector<StageLoops> stages = find_stages(nest);
  if (schedules.size() != stages.size())
    throw Error(nest.location, "schedule: it has " + std::to_string(schedules.size()) + " parts, the nest has " +
                                   std::to_string(stages.size()) + " stages");
  for (size_t s = 0; s < stages.size(); s++) {
    std::vector<Node> made = StageTiler(nest, stages[s], schedules[s]).run();
    if (made.size() == 1) {
      Node node = std::move(made[0]);
      *stages[s].root = std::move(node);
      continue;
    }
    // A stage is one node: its tile fills the whole box, and stands in a loop of one iteration.
    Loop whole{nest.add_index("point"), {0}, {1}, 1, LoopKind::serial, std::move(made)};
    *stages[s].root = Node{std::move(whole)};
  }
}

} // namespace cnnc
