#include "passes/plan_facts.h"
#include "passes/trim.h"

#include <algorithm>
#include <numeric>

namespace cnnc {

namespace {

Dimension dimension(const Nest& nest, const Loop& loop)
{
  std::optional<int64_t> count = trip_count(loop);
  bool batch = !count && loop.begin.size() == 1 && loop.end.size() == 1 && loop.end[0].uses(batch_index);
  bool offset = loop.begin.size() != 1 || !(loop.begin[0] == Affine(0));
  return {loop.index, nest.indices[loop.index].name, count, offset || (!count && !batch)};
}

// An FMA is one operation, a transcendental function some twenty.
double count_operations(const Expr& e)
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

class Finder {
public:
  Finder(const Nest& nest, const StageLoops& stage, const Target& target, const std::vector<bool>& free_layout)
      : nest(nest),
        stage(stage),
        free_layout(free_layout),
        facts{nest, target}
  {
  }

  StageFacts run()
  {
    facts.has_shared_loops = !stage.shared.empty();
    for (const Loop* loop : stage.box)
      facts.box.push_back(dimension(nest, *loop));
    for (const Node& node : *stage.point)
      visit(node);
    facts.runs_vector_by_vector = runs_vector_by_vector(*stage.point, nest);
    for (Dimension& d : facts.box)
      d.is_apart = is_apart(d);
    for (Access& access : facts.accesses) {
      access.along = along(access);
      access.is_window = is_window(access);
      access.is_stream = is_stream(access);
    }
    if (facts.reductions == 1 && facts.is_sum) {
      find_sliders();
      find_dot();
    }
    int64_t bytes = 1;
    for (const Access& access : facts.accesses)
      if (is_float(access.buffer->type.dtype) || access.buffer->type.dtype == DType::i64)
        bytes = std::max(bytes, bytes_of(access.buffer->type.dtype));
    facts.lane_bytes = std::max<int64_t>(bytes, 4);
    facts.full_width = std::max<int64_t>(1, facts.target.lanes(facts.lane_bytes));
    return std::move(facts);
  }

private:
  void visit(const Node& node)
  {
    if (std::holds_alternative<Loop>(node.is)) {
      ReductionLoops reduction = reduction_of(node);
      if (facts.reductions++ == 0)
        for (const Loop* loop : reduction.loops)
          facts.reduced.push_back(dimension(nest, *loop));
      if (reduction.store) {
        collect(*reduction.store->value, true);
        facts.operations += count_operations(*reduction.store->value);
        facts.has_tap = facts.has_tap || reduction.store->tap >= 0;
        facts.is_sum = reduction.store->update == Update::sum;
      }
    } else if (const Store* store = point_store(node)) {
      collect(*store->value, false);
      const Buffer& to = nest.buffers[store->target];
      facts.values += to.role == BufferRole::registers;
      if (to.role != BufferRole::registers)
        facts.accesses.push_back({&to, store->at, is_free(store->target), true, false, false});
      facts.outer_operations += count_operations(*store->value) + 0.5;
    }
  }

  void collect(const Expr& e, bool in_reduction)
  {
    for_each(e, [&](const Expr& x) {
      if (x.fn == Fn::read && nest.buffers[x.tensor].role != BufferRole::registers)
        facts.accesses.push_back({&nest.buffers[x.tensor], x.at, is_free(x.tensor), false, in_reduction, x.checked});
    });
  }

  bool is_free(int buffer) const { return buffer < static_cast<int>(free_layout.size()) && free_layout[buffer]; }

  bool is_apart(const Dimension& d) const
  {
    int factors = 0;
    bool all = d.extent && !d.fixed;
    for (const Access& access : facts.accesses)
      if (access.in_reduction) {
        factors++;
        all = all && access.uses(d.index);
      }
    return all && factors > 1;
  }

  std::vector<size_t> along(const Access& access) const
  {
    std::vector<size_t> along;
    for (size_t d = 0; d < facts.box.size(); d++)
      if (access.uses(facts.box[d].index))
        along.push_back(d);
    const auto stride = [&](size_t d) {
      return memory_stride(*access.buffer, access.at, facts.box[d].index).value_or(0);
    };
    std::stable_sort(along.begin(), along.end(), [&](size_t d, size_t e) { return stride(d) < stride(e); });
    return along;
  }

  bool is_window(const Access& access) const
  {
    return std::any_of(access.at.begin(), access.at.end(), [&](const Affine& at) {
      auto is_used = [&](const Dimension& d) { return at.uses(d.index); };
      return std::any_of(facts.box.begin(), facts.box.end(), is_used) &&
             std::any_of(facts.reduced.begin(), facts.reduced.end(), is_used);
    });
  }

  bool is_stream(const Access& access) const
  {
    return access.in_reduction && !has_batch(access.buffer->type.shape) && access.buffer->role != BufferRole::local &&
           std::all_of(facts.box.begin(), facts.box.end(),
                       [&](const Dimension& d) { return !d.extent || *d.extent == 1 || access.uses(d.index); });
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
    const std::vector<Dimension>&box = facts.box, &reduced = facts.reduced;
    for (size_t b = 0; b < box.size(); b++)
      for (size_t r = 0; r < reduced.size(); r++) {
        const int64_t sign = at.factor(reduced[r].index), factor = at.factor(box[b].index);
        if (factor == 0 || (sign != 1 && sign != -1) || !box[b].extent || box[b].fixed || !reduced[r].extent)
          continue;
        const Slider slider{b, r, factor, at.constant, sign, extent.size};
        if (facts.steps_inside(slider, 1) < static_cast<double>(*reduced[r].extent))
          facts.sliders.push_back(slider);
      }
  }

  // The reduced index whose neighbours one instruction multiplies and adds.
  void find_dot()
  {
    for (const Node& node : *stage.point) {
      const Store* store = std::holds_alternative<Loop>(node.is) ? reduction_of(node).store : nullptr;
      std::optional<DotProduct> product = store ? dot_product(*store->value, nest, facts.target) : std::nullopt;
      if (!product)
        continue;
      facts.dot_group = product->group;
      for (const Dimension& d : facts.reduced)
        if (facts.dot < 0 && d.extent && !d.fixed && *d.extent % facts.dot_group == 0 &&
            std::all_of(product->factors.begin(), product->factors.end(), [&](const Expr* read) {
              return is_free(read->tensor) // whose layout has blocks of 16
                         ? *d.extent % 16 == 0 && std::any_of(read->at.begin(), read->at.end(),
                                                              [&](const Affine& at) { return at.factor(d.index) == 1; })
                         : are_neighbours(nest.buffers[read->tensor], read->at, d.index, facts.dot_group,
                                          [](int) { return 1; });
            }))
          facts.dot = d.index;
    }
  }

  const Nest& nest;
  const StageLoops& stage;
  const std::vector<bool>& free_layout;
  StageFacts facts;
};

// Channels c + i - 2: a vector of them begins inside of a block. Written out, i is a number, and so is where.
bool is_split(const StageFacts& stage, const Affine& at, const Axis& axis, int lanes)
{
  bool is_split = at.constant % axis.modulo != 0;
  for (const Affine::Term& term : at.terms) {
    const bool is_reduced = std::any_of(stage.reduced.begin(), stage.reduced.end(), [&](const Dimension& d) {
      return d.index == term.index && d.extent && *d.extent <= most_written_out;
    });
    if (term.index == lanes ? term.factor != 1 : term.factor % axis.modulo != 0 && !is_reduced)
      return false;
    is_split = is_split || (is_reduced && term.index != lanes);
  }
  return is_split;
}

} // namespace

StageFacts find_facts(const Nest& nest, const StageLoops& stage, const Target& target,
                      const std::vector<bool>& free_layout)
{
  return Finder(nest, stage, target, free_layout).run();
}

bool Access::uses(int index) const
{
  return std::any_of(at.begin(), at.end(), [&](const Affine& subscript) { return subscript.uses(index); });
}

Lane StageFacts::lane_of(const Access& access, int lanes, int64_t width, int64_t group) const
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
      if (target.masks_loads(bytes_of(access.buffer->type.dtype)) && is_split(*this, access.at[axis.dim], axis, lanes))
        return &axis == &access.buffer->layout.axes.back() ? Lane::split : Lane::gathered;
    }
  std::optional<int64_t> stride = memory_stride(*access.buffer, access.at, lanes);
  if (!stride)
    return Lane::gathered;
  if (!access.uses(lanes))
    return Lane::broadcast;
  return *stride == 1 || (access.in_reduction && *stride == group) ? Lane::contiguous
         : *stride > 1 && *stride <= 4                             ? Lane::strided
                                                                   : Lane::gathered;
}

int64_t StageFacts::block_of(int index, int lanes) const
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

double StageFacts::steps_inside(const Slider& s, int64_t size) const
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

int64_t bytes_of_buffer(const Buffer& buffer)
{
  return stored_elements(buffer.layout, buffer.type.shape) * bytes_of(buffer.type.dtype);
}

} // namespace cnnc
