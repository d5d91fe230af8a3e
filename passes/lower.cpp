// One loop nest for each kernel.
//
//   kernel k0 {                    for n in 0..N, o in 0..16, h in 0..10, w in 0..10 {
//     %c = conv2d %x, @w, @b         %c[] = @b[o]
//     %r = relu %c             =>    for c in 0..6, i in 0..5, j in 0..5 {
//   }                                  %c[] += %x[n,c,h + i,w + j] * @w[o,c,i,j]
//                                    }
//                                    %r[n,o,h,w] = select(%c[] < 0, 0, %c[])
//                                  }
//
// Needs:  every op in a kernel.
// Leaves: every kernel has a nest; equal kernels share one; no loop is parallel or a vector. Values that live inside
//         one point are `registers`, values of one shared iteration are `local`, all others are arguments.
#include "passes/lower.h"

#include "ir/graph_text.h"
#include "passes/moves.h"
#include "passes/trim.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace cnnc {

namespace {

// The values that one index of a box takes in a shared iteration: lo, lo + 1, ..., below lo + extent.
struct Span {
  Affine lo;
  Dim extent;
  bool clipped = false; // may reach past [0, full): the loop is cut to it
  int64_t full = 0;
};

class KernelLowerer {
public:
  KernelLowerer(Graph& graph, int number) : graph(graph), kernel(graph.kernels[number]) {}

  Nest run()
  {
    staged = stages_of(graph, kernel);
    nest.location = staged.location;
    for (int op : kernel.ops)
      nest.last_line = std::max(nest.last_line, graph.ops[op].location.line);
    group();
    find_zero_outside();
    find_in_place();
    make_buffers();
    zero_borders();
    for (const Group& g : groups)
      emit(g);
    return std::move(nest);
  }

private:
  // Consecutive stages under one set of shared loops.
  struct Group {
    int begin, end;
    bool over_images;
  };
  struct Shared {
    int index;
    int64_t step;
  };

  const Stage& stage(int s) const { return staged.stages[s]; }

  static bool has_images(const Stage& s)
  {
    return std::any_of(s.box.begin(), s.box.end(), [](const Index& i) { return i.extent.batch; });
  }

  static bool reduces_images(const Stage& s)
  {
    for (const Stage::Reduction& reduction : s.reductions)
      for (const Index& index : reduction.indices)
        if (index.extent.batch)
          return true;
    return false;
  }

  void group()
  {
    int count = static_cast<int>(staged.stages.size());
    for (int s = 0; s < count; s++) {
      bool images = has_images(stage(s)) && !reduces_images(stage(s)) && !stage(s).scatters;
      bool neutral = !has_images(stage(s)) && !reduces_images(stage(s)) && makes_only_locals(stage(s));
      // In front of all images it runs once, and the loops behind it stay free to be tasks.
      if (neutral && s + 1 < count && has_images(stage(s + 1)) && has_images_before(s))
        images = true;
      if (!groups.empty() && groups.back().over_images == images && images && count_alike(groups.back(), stage(s)))
        groups.back().end = s + 1;
      else
        groups.push_back({s, s + 1, images});
    }
  }

  // One shared loop counts images, or so many times as many: not both.
  bool count_alike(const Group& group, const Stage& next) const
  {
    for (int s = group.begin; s < group.end; s++)
      for (const Index& a : stage(s).box)
        for (const Index& b : next.box)
          if (a.extent.batch && b.extent.batch && a.extent != b.extent)
            return false;
    return true;
  }

  bool has_images_before(int end) const
  {
    return std::any_of(staged.stages.begin(), staged.stages.begin() + end, has_images);
  }

  bool makes_only_locals(const Stage& s) const
  {
    return std::none_of(s.makes.begin(), s.makes.end(), [&](int t) { return staged.tensors[t].stored; });
  }

  const Group& group_of(int s) const
  {
    return *std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.begin <= s && s < g.end; });
  }

  // Tensors that readers leave where a zero does no harm, and nowhere else.
  void find_zero_outside()
  {
    zero_outside.assign(staged.tensors.size(), false);
    std::vector<bool> is_harmful(staged.tensors.size(), false);
    auto look = [&](const Expr& value, const std::vector<Index>& indices, bool is_sum) {
      std::set<const Expr*> factors;
      if (is_sum)
        for_each_factor(value, [&](const Expr& read) { factors.insert(&read); });
      for_each(value, [&](const Expr& e) {
        if (e.fn == Fn::read && may_leave(e, indices))
          (e.checked || factors.count(&e) ? zero_outside : is_harmful)[e.tensor] = true;
      });
    };
    for (const Stage& s : staged.stages) {
      if (s.start)
        look(*s.start, s.box, false);
      for (const Stage::Reduction& reduction : s.reductions) {
        std::vector<Index> indices = s.box;
        indices.insert(indices.end(), reduction.indices.begin(), reduction.indices.end());
        look(*reduction.value, indices, s.update == Update::sum);
      }
      for (const Stage::Write& write : s.writes)
        look(*write.value, s.box, false);
    }
    for (size_t t = 0; t < staged.tensors.size(); t++)
      zero_outside[t] = zero_outside[t] && !is_harmful[t];
  }

  bool may_leave(const Expr& e, const std::vector<Index>& indices) const
  {
    const Shape& shape = staged.tensors[e.tensor].type.shape;
    for (size_t d = 0; d < shape.size(); d++)
      if (const Interval reach = range_of(e.at[d], indices, shape[d]); reach.lo < 0 || reach.hi >= shape[d].size)
        return true;
    return false;
  }

  // An update that reads its parameter point for point, in the stage that makes the new value, writes in its place; so
  // does a result that was given its operand's memory.
  void find_in_place()
  {
    for (const StateUpdate& update : graph.updates) {
      int made = -1, old = -1;
      for (size_t t = 0; t < staged.tensors.size(); t++) {
        if (staged.tensors[t].value == update.value)
          made = static_cast<int>(t);
        if (staged.tensors[t].value == update.target)
          old = static_cast<int>(t);
      }
      if (made < 0 || old < 0 || staged.tensors[made].stage < 0)
        continue;
      bool ok = kernel.ops.size() > 0 && is_read_last(update.target) && !is_read(update.value) &&
                can_write_in_place(staged, made, old);
      for (int output : graph.outputs)
        ok = ok && output != update.value;
      if (ok)
        in_place[made] = old;
    }
    for (size_t made = 0; made < staged.tensors.size(); made++)
      for (size_t old = 0; staged.tensors[made].stage >= 0 && old < staged.tensors.size(); old++)
        if (staged.tensors[old].stage < 0 && lie_alike(staged.tensors[made].value, staged.tensors[old].value)) {
          if (!can_write_in_place(staged, static_cast<int>(made), static_cast<int>(old)))
            throw InternalError("'" + staged.tensors[made].name + "' cannot take the place of its operand");
          in_place[static_cast<int>(made)] = static_cast<int>(old);
        }
  }

  bool lie_alike(int a, int b) const
  {
    return a >= 0 && b >= 0 && whole_of(graph, a) == whole_of(graph, b) &&
           graph.values[a].whole_at == graph.values[b].whole_at && graph.values[a].type == graph.values[b].type;
  }

  // In all of the graph.
  bool is_read(int value) const { return last_user(value) >= 0; }
  // By no op behind this kernel.
  bool is_read_last(int value) const { return last_user(value) <= kernel.ops.back(); }

  int last_user(int value) const
  {
    for (size_t o = graph.ops.size(); o-- > 0;)
      if (std::find(graph.ops[o].inputs.begin(), graph.ops[o].inputs.end(), value) != graph.ops[o].inputs.end())
        return static_cast<int>(o);
    return -1;
  }

  bool is_read_outside(int tensor, int own_stage) const
  {
    for (size_t s = 0; s < staged.stages.size(); s++) {
      bool found = false;
      for_each_value(staged.stages[s],
                     [&](const Expr& e) { found = found || (e.fn == Fn::read && e.tensor == tensor); });
      if (found && static_cast<int>(s) != own_stage)
        return true;
    }
    return false;
  }

  void make_buffers()
  {
    size_t count = staged.tensors.size();
    buffer.assign(count, -1);
    region.resize(count);
    // Arguments in the order in which the tensors appear, results behind operands.
    for (bool results : {false, true})
      for (size_t t = 0; t < count; t++) {
        StageTensor& tensor = staged.tensors[t];
        int made_in = tensor.stage;
        if ((made_in >= 0) != results || in_place.count(static_cast<int>(t)))
          continue;
        BufferRole role = BufferRole::in;
        if (results) {
          bool read_later = is_read_outside(static_cast<int>(t), made_in);
          if (!tensor.stored && !read_later && !stage(made_in).scatters)
            continue; // lives in registers
          if (!tensor.stored && can_be_local(static_cast<int>(t), made_in))
            continue; // made with its region
          if (tensor.value < 0) {
            Value value;
            value.name = tensor.name;
            value.kind = ValueKind::temporary;
            value.type = tensor.type;
            value.location = staged.location;
            tensor.value = graph.add_value(std::move(value));
          }
          tensor.stored = true;
          role = read_later || stage(made_in).scatters ? BufferRole::inout : BufferRole::out;
        }
        for (auto [made, old] : in_place)
          if (old == static_cast<int>(t))
            role = BufferRole::inout;
        const Value& value = graph.values[tensor.value];
        buffer[t] = nest.add_buffer({sigil(value.kind) + value.name, role, value.type,
                                     value.layout.value_or(planar(value.type.shape.size())), 0});
        kernel.arguments.push_back(tensor.value);
      }
    for (auto [made, old] : in_place)
      buffer[made] = buffer[old];
  }

  static bool writes_to(const Stage& s, int tensor)
  {
    return s.target == tensor || s.tap == tensor ||
           std::any_of(s.writes.begin(), s.writes.end(), [&](const auto& write) { return write.tensor == tensor; });
  }

  // Its readers and all that make parts of it are in one group, and the group runs image by image or the tensor has no
  // images.
  bool can_be_local(int tensor, int made_in) const
  {
    const Group& home = group_of(made_in);
    if (!home.over_images)
      return false;
    for (int s = 0; s < static_cast<int>(staged.stages.size()); s++) {
      bool found = writes_to(stage(s), tensor);
      for_each_value(stage(s), [&](const Expr& e) { found = found || (e.fn == Fn::read && e.tensor == tensor); });
      if (found && (s < home.begin || s >= home.end))
        return false;
    }
    return true;
  }

  // What made the operand has zeroed its border.
  bool is_old(int b) const
  {
    return std::any_of(in_place.begin(), in_place.end(), [&](const auto& pair) { return buffer[pair.second] == b; });
  }

  void zero_borders()
  {
    for (size_t b = 0; b < nest.buffers.size(); b++) {
      const Buffer& out = nest.buffers[b];
      if (out.role == BufferRole::in || !has_border(out.layout) || is_old(static_cast<int>(b)))
        continue;
      ZeroBorder zero{static_cast<int>(b), {}};
      if (!has_batch(out.type.shape)) {
        nest.body.push_back({zero});
        continue;
      }
      int n = nest.add_index("n");
      zero.at.push_back(Affine::of(n));
      nest.body.push_back(
          {Loop{n, {0}, {Affine::of(batch_index, out.type.shape[0].size)}, 1, LoopKind::serial, {{zero}}}});
    }
  }

  void emit(const Group& g)
  {
    spans.clear();
    std::vector<Loop> shared_loops;
    if (g.end - g.begin > 1)
      share(g, shared_loops);
    std::vector<Node> body;
    for (size_t t = 0; t < staged.tensors.size(); t++)
      if (staged.tensors[t].stage >= g.begin && staged.tensors[t].stage < g.end && is_filled(static_cast<int>(t)))
        fill_outside(static_cast<int>(t), body);
    for (int s = g.begin; s < g.end; s++)
      for (Node& node : emit_stage(s))
        body.push_back(std::move(node));
    for (size_t i = shared_loops.size(); i-- > 0;) {
      shared_loops[i].body = std::move(body);
      body.clear();
      body.push_back({std::move(shared_loops[i])});
    }
    for (Node& node : body)
      nest.body.push_back(std::move(node));
  }

  // The group's shared loops, and from the last stage backwards what each stage has to make in one iteration.
  void share(const Group& g, std::vector<Loop>& loops)
  {
    int n = -1;
    Dim images{1, false};
    for (int s = g.begin; s < g.end; s++)
      for (const Index& index : stage(s).box)
        if (index.extent.batch)
          images = index.extent;
    if (images.batch) {
      n = nest.add_index("n");
      loops.push_back({n, {0}, {Affine::of(batch_index, images.size)}, 1, LoopKind::serial, {}});
    }
    const Stage& last = stage(g.end - 1);
    std::map<int, Shared> tiles; // box index of the last stage
    auto pairs = kernel.schedule.find("share");
    if (pairs != kernel.schedule.end()) {
      const auto& list = std::get<std::vector<int64_t>>(pairs->second);
      const std::vector<Affine>& at = last.writes.empty() ? last.at : last.writes.back().at;
      for (size_t i = 0; i + 1 < list.size(); i += 2) {
        // The dimension counts elements, its index perhaps tiles of them: y[4*h + 1].
        const bool is_known = list[i] < static_cast<int64_t>(at.size()) && at[list[i]].terms.size() == 1;
        const int index = is_known ? at[list[i]].terms[0].index : -1;
        const int64_t factor = is_known ? at[list[i]].terms[0].factor : 1, step = list[i + 1] / factor;
        if (index < 0 || factor < 1 || step * factor != list[i + 1] || last.box[index].extent.batch ||
            last.box[index].extent.size % step != 0)
          throw InternalError("a shared loop that does not divide its dimension");
        int loop = nest.add_index(last.box[index].name);
        loops.push_back({loop, {0}, {last.box[index].extent.size}, step, LoopKind::serial, {}});
        tiles[index] = {loop, step};
        shared_range[loop] = {0, last.box[index].extent.size - step};
      }
    }
    std::vector<bool> needed(staged.tensors.size(), false);
    for (int s = g.end - 1; s >= g.begin; s--) {
      std::vector<Span> box;
      for (size_t b = 0; b < stage(s).box.size(); b++) {
        const Dim& extent = stage(s).box[b].extent;
        Span span{0, extent, false, extent.size};
        if (extent.batch)
          span = {Affine::of(n), {1, false}, false, 1};
        else if (s == g.end - 1 && tiles.count(static_cast<int>(b)))
          span = {Affine::of(tiles[b].index), {tiles[b].step, false}, false, extent.size};
        else if (s != g.end - 1)
          span = wanted(s, static_cast<int>(b), needed);
        box.push_back(span);
      }
      spans[s] = box;
      widen_regions(s, needed);
      for_each_value(stage(s), [&](const Expr& e) {
        if (e.fn == Fn::read && staged.tensors[e.tensor].stage >= g.begin && staged.tensors[e.tensor].stage < s)
          need(s, e, needed);
      });
    }
    for (int t = 0; t < static_cast<int>(staged.tensors.size()); t++)
      if (needed[t] && buffer[t] < 0)
        make_local(t);
  }

  // A stage that makes all of a dimension, since another of its tensors is needed there, writes all of each tensor's.
  void widen_regions(int s, const std::vector<bool>& needed)
  {
    const Stage& maker = stage(s);
    for (const int tensor : maker.makes) {
      if (!needed[tensor])
        continue;
      const std::vector<Affine>& at = made_at(maker, tensor);
      const Shape& shape = staged.tensors[tensor].type.shape;
      for (size_t d = 0; d < at.size(); d++)
        for (size_t b = 0; b < maker.box.size(); b++) {
          const Dim& extent = maker.box[b].extent;
          const Span& span = spans[s][b];
          if (!shape[d].batch && at[d].uses(static_cast<int>(b)) && !extent.batch && span.extent == extent &&
              span.lo == Affine(0) && !covers(region[tensor][d], shape[d]))
            region[tensor][d] = {0, shape[d], false, shape[d].size};
        }
    }
  }

  static bool is_whole(const Span& span) { return span.lo == Affine(0) && span.extent == Dim{span.full, false}; }

  static bool covers(const Span& span, const Dim& full)
  {
    return span.lo.is_constant() && span.lo.constant <= 0 && span.lo.constant + span.extent.size >= full.size;
  }

  // The box index's span in stage s: what later stages need of the tensors that it makes.
  Span wanted(int s, int index, const std::vector<bool>& needed) const
  {
    const Stage& maker = stage(s);
    int64_t full = maker.box[index].extent.size;
    Span whole{0, {full, false}, false, full};
    std::optional<Span> found;
    for (int tensor : maker.makes) {
      if (staged.tensors[tensor].stored)
        return whole;
      if (!needed[tensor])
        continue;
      const std::vector<Affine>& at = made_at(maker, tensor);
      for (size_t d = 0; d < at.size(); d++) {
        if (!at[d].uses(index))
          continue;
        if (at[d].bare() != index)
          return whole;
        Span span = region[tensor][d];
        if (found && !(found->lo == span.lo && found->extent == span.extent))
          return whole;
        found = span;
      }
    }
    if (!found)
      return whole;
    found->full = full;
    Interval lo = range(found->lo, [&](int i) { return range_of_shared(i); });
    found->clipped = lo.lo < 0 || lo.hi + found->extent.size > full;
    if (covers(*found, {full, false}))
      return whole;
    return *found;
  }

  Interval range_of_shared(int index) const
  {
    auto found = shared_range.find(index);
    return found == shared_range.end() ? Interval{0, element_limit} : found->second;
  }

  static const std::vector<Affine>& made_at(const Stage& s, int tensor)
  {
    for (const Stage::Write& write : s.writes)
      if (write.tensor == tensor)
        return write.at;
    return s.at;
  }

  // A read of stage s widens the region of the tensor that it reads.
  void need(int s, const Expr& e, std::vector<bool>& needed)
  {
    const StageTensor& tensor = staged.tensors[e.tensor];
    std::vector<Span> reach;
    for (size_t d = 0; d < e.at.size(); d++) {
      const Dim& full = tensor.type.shape[d];
      Affine lo = e.at[d].constant;
      int64_t extent = 1;
      bool images = false;
      for (const Affine::Term& term : e.at[d].terms) {
        if (term.index < static_cast<int>(stage(s).box.size())) {
          const Span& span = spans[s][term.index];
          images = images || stage(s).box[term.index].extent.batch;
          lo += span.lo * term.factor;
          extent += std::abs(term.factor) * (span.extent.size - 1);
          if (term.factor < 0)
            lo += term.factor * (span.extent.size - 1);
        } else {
          int64_t size = reduced_extent(stage(s), e, term.index);
          extent += std::abs(term.factor) * (size - 1);
          if (term.factor < 0)
            lo += term.factor * (size - 1);
        }
      }
      if (!images && !full.batch && extent >= full.size && lo.is_constant())
        reach.push_back(whole_of_dimension(full, lo.constant, extent, zero_outside[e.tensor]));
      else
        reach.push_back({lo, {extent, false}, false, full.size});
    }
    if (!needed[e.tensor]) {
      region[e.tensor] = reach;
      needed[e.tensor] = true;
      return;
    }
    for (size_t d = 0; d < reach.size(); d++) {
      Span &had = region[e.tensor][d], &more = reach[d];
      Affine apart = more.lo - had.lo;
      if (!apart.is_constant()) {
        had = {0, tensor.type.shape[d], false, tensor.type.shape[d].size};
        continue;
      }
      int64_t begin = std::min<int64_t>(0, apart.constant);
      int64_t end = std::max(had.extent.size, apart.constant + more.extent.size);
      had.lo += begin;
      had.extent.size = end - begin;
    }
  }

  // All of it, and what lies around it where that is zero.
  static Span whole_of_dimension(const Dim& full, int64_t lo, int64_t extent, bool with_outside)
  {
    if (!with_outside)
      return {0, full, false, full.size};
    const int64_t begin = std::min<int64_t>(0, lo), end = std::max(full.size, lo + extent);
    return {begin, {end - begin, false}, false, full.size};
  }

  int64_t reduced_extent(const Stage& s, const Expr& e, int index) const
  {
    for (const Stage::Reduction& reduction : s.reductions) {
      bool here = false;
      for_each(*reduction.value, [&](const Expr& x) { here = here || &x == &e; });
      if (here)
        return reduction.indices[index - s.box.size()].extent.size;
    }
    throw InternalError("a reduced index outside of its reduction");
  }

  void make_local(int t)
  {
    Buffer local;
    local.name = "%" + staged.tensors[t].name;
    local.role = BufferRole::local;
    local.type.dtype = staged.tensors[t].type.dtype;
    for (const Span& span : region[t])
      local.type.shape.push_back(span.extent);
    local.layout = local_layout(staged.tensors[t], local.type.shape);
    buffer[t] = nest.add_buffer(local);
  }

  // A local lies as the value would: channel blocks stay, borders are not needed.
  Layout local_layout(const StageTensor& tensor, const Shape& shape) const
  {
    if (tensor.value < 0 || !graph.values[tensor.value].layout)
      return planar(shape.size());
    Layout layout = *graph.values[tensor.value].layout;
    for (Axis& axis : layout.axes) {
      axis.before = axis.after = axis.extra = 0;
      if (axis.divide > 1 && shape[axis.dim].size % axis.divide != 0)
        return planar(shape.size());
    }
    set_apart(layout, {tensor.type.dtype, shape});
    return layout;
  }

  // Its memory has what readers find outside of the tensor, too.
  bool is_filled(int t) const
  {
    return zero_outside[t] && buffer[t] >= 0 && nest.buffers[buffer[t]].role == BufferRole::local;
  }

  // Zeros where a local's region reaches past the tensor.
  void fill_outside(int t, std::vector<Node>& body)
  {
    for (size_t d = 0; d < region[t].size(); d++) {
      const Span& span = region[t][d];
      if (staged.tensors[t].type.shape[d].batch || is_whole(span))
        continue;
      const Affine before = Affine(0) - span.lo, inside = before + span.full;
      auto of_shared = [&](int i) { return range_of_shared(i); };
      if (const int64_t most = range(before, of_shared).hi; most > 0)
        body.push_back(fill(t, d, {0}, ends(before, most, span.extent.size)));
      if (const Interval first = range(inside, of_shared); first.lo < span.extent.size)
        body.push_back(fill(t, d, first.lo < 0 ? std::vector<Affine>{0, inside} : std::vector<Affine>{inside},
                            {span.extent.size}));
    }
  }

  static std::vector<Affine> ends(const Affine& end, int64_t most, int64_t extent)
  {
    return most > extent ? std::vector<Affine>{extent, end} : std::vector<Affine>{end};
  }

  // One stage: all of the local, of dimension d what is between `begin` and `end`.
  Node fill(int t, size_t d, const std::vector<Affine>& begin, const std::vector<Affine>& end)
  {
    Store zero{buffer[t], -1, {}, Update::assign, constant(0, staged.tensors[t].type.dtype), {}};
    std::vector<Loop> loops;
    for (size_t k = 0; k < region[t].size(); k++) {
      const int64_t extent = region[t][k].extent.size;
      if (k != d && extent == 1) {
        zero.at.push_back(0);
        continue;
      }
      const int index = nest.add_index(k == d ? "outside" : "along");
      zero.at.push_back(Affine::of(index));
      loops.push_back({index,
                       k == d ? begin : std::vector<Affine>{0},
                       k == d ? end : std::vector<Affine>{extent},
                       1,
                       LoopKind::serial,
                       {}});
    }
    Node node{std::move(zero)};
    for (size_t i = loops.size(); i-- > 0;) {
      loops[i].body.push_back(std::move(node));
      node = Node{std::move(loops[i])};
    }
    return node;
  }

  // ---- one stage ----

  struct Scope {
    struct Scalar {
      int tensor;
      std::vector<Affine> at; // over the stage's box
      int buffer;             // registers of rank 0
    };
    std::vector<Affine> coordinates; // of the stage's indices, over the nest's
    std::vector<Scalar> scalars;

    int find(int tensor, const std::vector<Affine>& at) const // -1
    {
      for (const Scalar& scalar : scalars)
        if (scalar.tensor == tensor && scalar.at == at)
          return scalar.buffer;
      return -1;
    }
  };

  std::vector<Node> emit_stage(int s)
  {
    const Stage& stg = stage(s);
    Scope scope;
    std::vector<Loop> loops;
    for (size_t b = 0; b < stg.box.size(); b++) {
      const Index& index = stg.box[b];
      auto span = spans.find(s);
      if (span == spans.end()) {
        int i = nest.add_index(index.name);
        Affine end = index.extent.batch ? Affine::of(batch_index, index.extent.size) : Affine(index.extent.size);
        loops.push_back({i, {0}, {end}, 1, LoopKind::serial, {}});
        scope.coordinates.push_back(Affine::of(i));
        continue;
      }
      const Span& in = span->second[b];
      if (in.extent.size == 1 && !in.clipped) {
        scope.coordinates.push_back(in.lo);
        continue;
      }
      int i = nest.add_index(index.name);
      if (in.clipped) {
        loops.push_back({i, {in.lo, 0}, {in.lo + in.extent.size, in.full}, 1, LoopKind::serial, {}});
        scope.coordinates.push_back(Affine::of(i));
      } else {
        loops.push_back({i, {0}, {in.extent.size}, 1, LoopKind::serial, {}});
        scope.coordinates.push_back(in.lo + Affine::of(i));
      }
    }
    if (loops.empty()) // every stage is one node
      loops.push_back({nest.add_index("point"), {0}, {1}, 1, LoopKind::serial, {}});
    std::vector<Node> body = stg.scatters ? emit_scatter(s, scope) : emit_point(s, scope);
    for (size_t i = loops.size(); i-- > 0;) {
      loops[i].body = std::move(body);
      body.clear();
      body.push_back({std::move(loops[i])});
    }
    return body;
  }

  std::vector<Node> emit_point(int s, Scope& scope)
  {
    const Stage& stg = stage(s);
    std::vector<Node> body;
    if (stg.target >= 0) {
      int acc = scalar(stg.target, stg.at, scope);
      int tap = stg.tap >= 0 ? scalar(stg.tap, stg.at, scope) : -1;
      body.push_back({Store{acc, -1, {}, Update::assign, value(s, stg.start, scope, Update::assign, -1), {}}});
      if (tap >= 0)
        body.push_back({Store{tap, -1, {}, Update::assign, constant(0, staged.tensors[stg.tap].type.dtype), {}}});
      for (const Stage::Reduction& reduction : stg.reductions)
        body.push_back(reduce(s, reduction, scope, acc, tap, {}));
      keep(s, stg.target, stg.at, scope, body);
      if (tap >= 0)
        keep(s, stg.tap, stg.at, scope, body);
    }
    for (size_t w = 0; w < stg.writes.size(); w++) {
      const Stage::Write& write = stg.writes[w];
      ExprPtr v = value(s, write.value, scope, Update::assign, scope.find(write.tensor, write.at));
      auto is_rewritten = [&](const Stage::Write& later) {
        return later.tensor == write.tensor && later.at == write.at;
      };
      bool rewritten = std::any_of(stg.writes.begin() + w + 1, stg.writes.end(), is_rewritten);
      bool again = rewritten || std::any_of(stg.writes.begin() + w + 1, stg.writes.end(), [&](const auto& later) {
                     return reads_at(*later.value, write.tensor, write.at);
                   });
      if (again || buffer[write.tensor] < 0) {
        body.push_back({Store{scalar(write.tensor, write.at, scope), -1, {}, Update::assign, v, {}}});
        if (!rewritten)
          keep(s, write.tensor, write.at, scope, body);
      } else {
        body.push_back(where_inside(
            s, write.tensor, write.at, scope,
            {Store{buffer[write.tensor], -1, subscripts(write.tensor, write.at, scope), Update::assign, v, {}}}));
      }
    }
    return body;
  }

  Node reduce(int s, const Stage::Reduction& reduction, Scope& scope, int target, int tap, std::vector<Affine> at)
  {
    const Stage& stg = stage(s);
    size_t box = scope.coordinates.size();
    std::vector<Loop> loops;
    Affine number;
    for (const Index& index : reduction.indices) {
      int i = nest.add_index(index.name);
      Affine end = index.extent.batch ? Affine::of(batch_index, index.extent.size) : Affine(index.extent.size);
      loops.push_back({i, {0}, {end}, 1, LoopKind::serial, {}});
      scope.coordinates.push_back(Affine::of(i));
      number = number * index.extent.size + Affine::of(i);
    }
    Store store{target, tap, std::move(at), stg.update, value(s, reduction.value, scope, stg.update, -1, &reduction),
                {}};
    if (tap >= 0)
      store.tap_value = number;
    scope.coordinates.resize(box);
    Node node{std::move(store)};
    for (size_t i = loops.size(); i-- > 0;) {
      loops[i].body.push_back(std::move(node));
      node = Node{std::move(loops[i])};
    }
    return node;
  }

  std::vector<Node> emit_scatter(int s, Scope& scope)
  {
    const Stage& stg = stage(s);
    std::vector<Node> body;
    for (const Stage::Reduction& reduction : stg.reductions)
      body.push_back(
          where_inside(s, stg.target, stg.at, scope,
                       reduce(s, reduction, scope, buffer[stg.target], -1, subscripts(stg.target, stg.at, scope))));
    return body;
  }

  // The register's value into memory, if the tensor has any.
  void keep(int s, int tensor, const std::vector<Affine>& at, Scope& scope, std::vector<Node>& body)
  {
    if (buffer[tensor] < 0)
      return;
    body.push_back(where_inside(s, tensor, at, scope,
                                {Store{buffer[tensor],
                                       -1,
                                       subscripts(tensor, at, scope),
                                       Update::assign,
                                       read(scope.find(tensor, at), staged.tensors[tensor].type.dtype, {}),
                                       {}}}));
  }

  // A store whose subscripts may leave the tensor happens inside of it only.
  Node where_inside(int s, int tensor, const std::vector<Affine>& at, const Scope& scope, Node node) const
  {
    const std::vector<Index>& box = stage(s).box;
    for (size_t d = 0; d < at.size(); d++) {
      const Dim& extent = staged.tensors[tensor].type.shape[d];
      if (is_inside(at[d], extent, box))
        continue;
      const Affine a = at_coordinates(at[d], scope);
      const Affine end = extent.batch ? Affine::of(batch_index, extent.size) : Affine(extent.size);
      for (const Affine& condition : {a, end - a - 1}) {
        If check{condition, {}, {}};
        check.then_body.push_back(std::move(node));
        node = Node{std::move(check)};
      }
    }
    return node;
  }

  static bool reads_at(const Expr& value, int tensor, const std::vector<Affine>& at)
  {
    bool found = false;
    for_each(value, [&](const Expr& e) { found = found || (e.fn == Fn::read && e.tensor == tensor && e.at == at); });
    return found;
  }

  int scalar(int tensor, const std::vector<Affine>& at, Scope& scope)
  {
    if (const int found = scope.find(tensor, at); found >= 0)
      return found;
    Buffer registers;
    registers.name = "%" + staged.tensors[tensor].name;
    registers.role = BufferRole::registers;
    registers.type.dtype = staged.tensors[tensor].type.dtype;
    scope.scalars.push_back({tensor, at, nest.add_buffer(registers)});
    return scope.scalars.back().buffer;
  }

  Affine at_coordinates(const Affine& a, const Scope& scope) const
  {
    Affine result = a.constant;
    for (const Affine::Term& term : a.terms)
      result += term.index < 0 ? Affine::of(term.index, term.factor) : scope.coordinates[term.index] * term.factor;
    return result;
  }

  std::vector<Affine> subscripts(int tensor, const std::vector<Affine>& at, const Scope& scope) const
  {
    std::vector<Affine> result;
    bool local = nest.buffers[buffer[tensor]].role == BufferRole::local;
    for (size_t d = 0; d < at.size(); d++) {
      Affine a = at_coordinates(at[d], scope);
      result.push_back(local ? a - region[tensor][d].lo : a);
    }
    return result;
  }

  // The expression over the nest's indices and buffers. Terms with a read outside of its tensor are skipped: what
  // stands in for them is the update's identity, or for a store what was there.
  ExprPtr value(int s, const ExprPtr& e, Scope& scope, Update update, int old, // registers with what was there, or -1
                const Stage::Reduction* reduction = nullptr)
  {
    std::vector<Index> indices = stage(s).box;
    if (reduction)
      indices.insert(indices.end(), reduction->indices.begin(), reduction->indices.end());
    std::vector<Affine> guard;
    ExprPtr result = rewrite(s, e, scope, indices, update == Update::sum, guard);
    if (guard.empty())
      return result;
    ExprPtr otherwise = constant(identity(update), result->type);
    if (old >= 0)
      otherwise = read(old, result->type, {});
    return call(Fn::select, {inside(guard), result, otherwise});
  }

  // `vanishes`: the term is zero where this subexpression is.
  ExprPtr rewrite(int s, const ExprPtr& e, Scope& scope, const std::vector<Index>& indices, bool vanishes,
                  std::vector<Affine>& guard)
  {
    auto again = [&](size_t i, bool v) { return rewrite(s, e->args[i], scope, indices, v, guard); };
    switch (e->fn) {
    case Fn::constant: return e;
    case Fn::index: return index_value(at_coordinates(e->at[0], scope));
    case Fn::inside: {
      std::vector<Affine> at;
      for (const Affine& a : e->at)
        at.push_back(at_coordinates(a, scope));
      return inside(at);
    }
    case Fn::read: return rewrite_read(*e, scope, indices, vanishes, guard);
    case Fn::cast: return cast(e->type, again(0, vanishes));
    case Fn::mul: {
      ExprPtr a = again(0, vanishes), b = again(1, vanishes);
      return call(Fn::mul, {a, b});
    }
    case Fn::neg: return call(Fn::neg, {again(0, vanishes)});
    default: {
      std::vector<ExprPtr> args;
      for (size_t i = 0; i < e->args.size(); i++)
        args.push_back(again(i, (e->fn == Fn::div && i == 0 && vanishes)));
      return call(e->fn, args);
    }
    }
  }

  ExprPtr rewrite_read(const Expr& e, Scope& scope, const std::vector<Index>& indices, bool vanishes,
                       std::vector<Affine>& guard)
  {
    if (const int registers = scope.find(e.tensor, e.at); registers >= 0)
      return read(registers, e.type, {});
    const StageTensor& tensor = staged.tensors[e.tensor];
    if (buffer[e.tensor] < 0)
      throw InternalError("'" + tensor.name + "' is read before it is made");
    const Buffer& from = nest.buffers[buffer[e.tensor]];
    bool checked = false;
    std::vector<Affine> own_guard; // of a checked read: zero outside
    for (size_t d = 0; d < e.at.size(); d++) {
      const Dim& extent = tensor.type.shape[d];
      Interval reach = range_of(e.at[d], indices, extent);
      int64_t last = extent.size - 1;
      if (reach.lo >= 0 && reach.hi <= last)
        continue;
      bool in_border = from.role != BufferRole::local && -reach.lo <= border_before(from.layout, d) &&
                       reach.hi - last <= border_after(from.layout, d) && (vanishes || e.checked);
      if (in_border)
        continue;
      // A local has what its readers reach, zeros outside too, unless that is all of the tensor.
      if (is_filled(e.tensor) && !is_whole(region[e.tensor][d]))
        continue;
      if (from.role != BufferRole::local || region[e.tensor][d].extent == extent)
        checked = true;
      if (from.role == BufferRole::local || (!vanishes && !e.checked)) {
        std::vector<Affine>& to = e.checked ? own_guard : guard;
        to.push_back(at_coordinates(e.at[d], scope));
        to.push_back(extent.batch ? Affine::of(batch_index, extent.size) : Affine(extent.size));
      }
    }
    ExprPtr element = read(buffer[e.tensor], e.type, subscripts(e.tensor, e.at, scope), checked);
    return own_guard.empty() ? element : call(Fn::select, {inside(own_guard), element, constant(0, e.type)});
  }

  // Of a subscript; one image of the batch counts as the extent's 0 ... size - 1.
  static Interval range_of(const Affine& a, const std::vector<Index>& indices, const Dim& extent)
  {
    int bare = a.bare();
    if (bare >= 0 && indices[bare].extent == extent)
      return {0, extent.size - 1};
    return range(a, [&](int i) {
      if (i < 0 || indices[i].extent.batch)
        return Interval{-element_limit, element_limit};
      return Interval{0, indices[i].extent.size - 1};
    });
  }

  Graph& graph;
  Kernel& kernel;
  StagedKernel staged;
  Nest nest;
  std::vector<Group> groups;
  std::map<int, int> in_place; // tensor made -> tensor replaced
  std::vector<int> buffer;     // of a tensor; -1: none (registers, or not yet)
  std::vector<std::vector<Span>> region;
  std::vector<bool> zero_outside; // by tensor
  std::map<int, std::vector<Span>> spans;
  std::map<int, Interval> shared_range;
};

uint64_t hash_of(std::string_view text)
{
  uint64_t hash = 0xcbf29ce484222325u; // FNV-1a
  for (unsigned char c : text)
    hash = (hash ^ c) * 0x100000001b3u;
  return hash;
}

std::string stem_of(const Graph& graph, const Kernel& kernel)
{
  std::string stem;
  for (int op : kernel.ops) {
    const Op& o = graph.ops[op];
    std::string part = o.def == &op_formula && !o.name.empty() ? o.name : o.def->name;
    for (char& c : part)
      if (!std::isalnum(static_cast<unsigned char>(c)))
        c = '_';
    if (stem.size() + part.size() > 40)
      break;
    stem += (stem.empty() ? "" : "_") + part;
  }
  return stem;
}

} // namespace

std::string canonical_text(Nest nest)
{
  nest.name = "k";
  nest.location = {};
  nest.last_line = 0;
  for (size_t b = 0; b < nest.buffers.size(); b++)
    nest.buffers[b].name = fmt::format("%b{}", b);
  return to_string(nest);
}

Nest lower_kernel(Graph& graph, int kernel)
{
  return KernelLowerer(graph, kernel).run();
}

void lower(Program& program, const Target&, Remarks&)
{
  std::map<std::string, int> known;
  for (Graph& graph : program.functions) {
    for (const Op& op : graph.ops)
      if (op.kernel < 0 && !is_in_place(graph, op))
        throw InternalError(fmt::format("'{}' of @{} has no kernel", op.name, graph.name));
    for (size_t k = 0; k < graph.kernels.size(); k++) {
      Nest nest = lower_kernel(graph, static_cast<int>(k));
      std::string text = canonical_text(nest);
      auto [at, is_new] = known.try_emplace(text, static_cast<int>(program.nests.size()));
      graph.kernels[k].nest = at->second;
      if (!is_new)
        continue;
      nest.name = fmt::format("{}_{:08x}", stem_of(graph, graph.kernels[k]), static_cast<uint32_t>(hash_of(text)));
      program.nests.push_back(std::move(nest));
    }
  }
}

} // namespace cnnc
