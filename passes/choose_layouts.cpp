// Where each tensor's elements lie: channels in blocks for the lanes, borders of zeros for windows that reach outside,
// weights in the order in which their kernel walks them.
//
//   %c : f32[n,64,56,56]   =>   %c : f32[n,64,56,56] as {0, 1/16, 2+1+1, 3+1+1, 1%16}
//   @w : f32[64,64,3,3]    =>   @w : f32[64,64,3,3] as {0/16, 1/16, 2, 3, 1%16, 0%16}
//   @d : f32[1000,2048]    =>   @d : f32[1000,2048] as {0/48, 1/16, 1%16, 0%48}
//
// - A value's channels are in blocks of 16, whatever the vector width, if the last block is full or the lanes behind its
//   end are at most a third of the channels: 24 take the room of 32. The caller's tensors stay row-major.
// - A border is as wide as the widest reader wants, where what is read there is multiplied; a caller's tensor is
//   copied.
// - A parameter, or a value prepared from some, follows the kernel that reads it first (of the first function that does;
//   in every network that is the forward one). A later reader that loses more by it than a copy costs gets a copy.
//   Of large weights that are read once an image, what a tile reads is one run of memory, where the machine reads that
//   fastest and nobody trains them.
//   Gradients and moments follow their parameter, and what a prepared value becomes follows it.
//
// Needs:  kernels chosen.
// Leaves: a layout on every value but parameters that this function does not touch; only copies of parameters and inputs
//         are new ops.
#include "passes/collapse.h"
#include "passes/kernels.h"
#include "passes/lower.h"
#include "passes/stage_loops.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace cnnc {

namespace {

constexpr int64_t block = 16;

bool is_callers(const Graph& graph, int value)
{
  return graph.values[value].kind == ValueKind::input ||
         std::find(graph.outputs.begin(), graph.outputs.end(), value) != graph.outputs.end();
}

// It is written in the place of a prepared value.
bool becomes_prepared(const Graph& graph, int value)
{
  return std::any_of(graph.updates.begin(), graph.updates.end(), [&](const StateUpdate& update) {
    return update.value == value && graph.values[update.target].kind == ValueKind::prepared;
  });
}

// Nobody reads the lanes behind the last channel: they cost memory, but not arithmetic.
bool is_in_blocks(int64_t channels)
{
  const int64_t stored = ceil_div(channels, block) * block;
  return channels > 0 && 3 * stored <= 4 * channels;
}

// Channels in blocks, innermost; the dimensions of `first` behind the images, with an odd number of cache lines from one
// element to the next, so that those of one place fall into different sets of a cache.
Layout blocked(const TensorType& type, const std::vector<int>& first)
{
  Layout layout = planar(type.shape.size());
  layout.axes[1].divide = block;
  for (size_t k = 2, to = 1; k < layout.axes.size(); k++)
    if (std::find(first.begin(), first.end(), layout.axes[k].dim) != first.end())
      std::rotate(layout.axes.begin() + static_cast<std::ptrdiff_t>(to++),
                  layout.axes.begin() + static_cast<std::ptrdiff_t>(k),
                  layout.axes.begin() + static_cast<std::ptrdiff_t>(k + 1));
  layout.axes.push_back({1, 1, block, 0, 0, 0});
  set_apart(layout, type);
  return layout;
}

// Dimensions that keep all factors of a sum apart: the positions of winograd's tiles in
//   m[n,o,h,w,a,b] += v[n,c,h,w,a,b] * u[o,c,a,b]
// Nothing is shared between two of them, so each has its elements together. By value.
std::map<int, std::vector<int>> apart_dimensions(const Graph& graph)
{
  std::map<int, std::vector<int>> result;
  for (const Kernel& kernel : graph.kernels) {
    const StagedKernel staged = stages_of(graph, kernel);
    for (const Stage& stage : staged.stages) {
      if (stage.update != Update::sum || stage.reductions.size() != 1 || stage.scatters)
        continue;
      std::vector<std::pair<int, const std::vector<Affine>*>> elements{{stage.target, &stage.at}};
      for_each(*stage.reductions[0].value, [&](const Expr& e) {
        if (e.fn == Fn::read)
          elements.push_back({e.tensor, &e.at});
      });
      if (elements.size() < 3)
        continue;
      auto dim_of = [](const std::vector<Affine>& at, int index) {
        for (size_t d = 0; d < at.size(); d++)
          if (at[d].bare() == index)
            return static_cast<int>(d);
        return -1;
      };
      for (size_t b = 0; b < stage.box.size(); b++) {
        const int index = static_cast<int>(b);
        if (stage.box[b].extent.batch || !std::all_of(elements.begin(), elements.end(), [&](const auto& element) {
              return dim_of(*element.second, index) >= 0;
            }))
          continue;
        for (const auto& [tensor, at] : elements)
          if (const int d = dim_of(*at, index); d >= 2 && staged.tensors[tensor].value >= 0)
            result[staged.tensors[tensor].value].push_back(d);
      }
    }
  }
  return result;
}

// How far reads of each value reach outside, where a zero there does no harm.
class Borders {
public:
  explicit Borders(Graph& graph) : graph(graph), before(graph.values.size()), after(graph.values.size()) {}

  void run()
  {
    for (const Kernel& kernel : graph.kernels) {
      StagedKernel staged = stages_of(graph, kernel);
      for (const Stage& stage : staged.stages) {
        for (const Stage::Reduction& reduction : stage.reductions) {
          std::vector<Index> indices = stage.box;
          indices.insert(indices.end(), reduction.indices.begin(), reduction.indices.end());
          look(*reduction.value, staged, indices, stage.update == Update::sum);
        }
        for (const Stage::Write& write : stage.writes)
          look(*write.value, staged, stage.box, false);
      }
    }
    for (size_t v = 0; v < before.size(); v++)
      if (!before[v].empty())
        set(static_cast<int>(v));
  }

private:
  // Through products only: there a zero makes the term vanish. A read that is checked is zero outside anywhere.
  void look(const Expr& e, const StagedKernel& staged, const std::vector<Index>& indices, bool vanishes)
  {
    for (const ExprPtr& arg : e.args)
      look(*arg, staged, indices, vanishes && (e.fn == Fn::mul || e.fn == Fn::neg || e.fn == Fn::cast));
    if (e.fn != Fn::read || !(vanishes || e.checked) || staged.tensors[e.tensor].value < 0)
      return;
    int value = staged.tensors[e.tensor].value;
    const Shape& shape = graph.values[value].type.shape;
    std::vector<int64_t> lo(shape.size()), hi(shape.size());
    bool outside = false;
    for (size_t d = 0; d < shape.size(); d++) {
      if (shape[d].batch)
        continue;
      Interval reach = range(e.at[d], [&](int i) {
        return i < 0 || indices[i].extent.batch ? Interval{0, 0} : Interval{0, indices[i].extent.size - 1};
      });
      lo[d] = std::max<int64_t>(0, -reach.lo);
      hi[d] = std::max<int64_t>(0, reach.hi - (shape[d].size - 1));
      outside = outside || lo[d] > 0 || hi[d] > 0;
    }
    if (!outside)
      return;
    before[value].resize(shape.size());
    after[value].resize(shape.size());
    for (size_t d = 0; d < shape.size(); d++) {
      before[value][d] = std::max(before[value][d], lo[d]);
      after[value][d] = std::max(after[value][d], hi[d]);
    }
  }

  void set(int value)
  {
    Value& v = graph.values[value];
    if ((v.kind != ValueKind::result && v.kind != ValueKind::input) || becomes_prepared(graph, value))
      return;
    Layout layout = v.layout.value_or(planar(v.type.shape.size()));
    for (Axis& axis : layout.axes) {
      int64_t lo = before[value][axis.dim], hi = after[value][axis.dim];
      if (lo == 0 && hi == 0)
        continue;
      // A border wider than the tensor itself costs more than asking at each read.
      if (axis.divide > 1 || axis.modulo > 0 || lo + hi > 2 * v.type.shape[axis.dim].size + 8)
        return;
      axis.before = lo;
      axis.after = hi;
    }
    if (!is_callers(graph, value)) {
      v.layout = layout;
      return;
    }
    copies.push_back({value, layout});
  }

  Graph& graph;
  std::vector<std::vector<int64_t>> before, after;

public:
  std::vector<std::pair<int, Layout>> copies; // of the caller's tensors, for readers that reach outside
};

// No two results of an image share an element: a dense layer's weights.
bool is_read_once(const std::vector<Affine>& at, const StageLoops& stage)
{
  return std::all_of(stage.box.begin(), stage.box.end(), [&](const Loop* loop) {
    const std::optional<int64_t> count = trip_count(*loop);
    return !count || *count == 1 ||
           std::any_of(at.begin(), at.end(), [&](const Affine& a) { return a.uses(loop->index); });
  });
}

// A parameter's layout for the kernel whose stages are planned here: in the order in which its loops walk, the lanes
// innermost, inside of them the index that the reduction writes out. In panels what a tile reads is one run of memory.
// `group` neighbours of that index lie beside each other: one instruction multiplies and adds them.
std::optional<Layout> layout_for(const std::vector<Affine>& at, const Shape& shape, const StageSchedule& schedule,
                                 const Nest& nest, int64_t group, bool in_panels)
{
  auto dim_of = [&](const std::string& name) {
    for (size_t d = 0; d < at.size(); d++)
      for (const Affine::Term& term : at[d].terms)
        if (term.index >= 0 && term.factor == 1 && nest.indices[term.index].name == name)
          return static_cast<int>(d);
    return -1;
  };
  int lane = schedule.lanes.empty() ? -1 : dim_of(schedule.lanes);
  if (lane < 0)
    return std::nullopt;
  Layout layout;
  int inner = -1;
  for (const StageSchedule::Step& step : schedule.reduce)
    if (int d = dim_of(step.index); step.size == block && d >= 0 && d != lane && shape[d].size % block == 0)
      inner = d;
  int panel = -1;
  int64_t rows = block; // of the lanes' dimension; or of the panel's, where lanes are reduced
  for (const StageSchedule::Step& step : schedule.tile)
    if (int d = dim_of(step.index);
        in_panels && d >= 0 && step.size > 1 && step.size < shape[d].size && (d != lane || step.size % block == 0)) {
      panel = d;
      rows = step.size;
    }
  std::vector<int> order;
  auto add = [&](int d) {
    if (d >= 0 && std::find(order.begin(), order.end(), d) == order.end())
      order.push_back(d);
  };
  for (const std::vector<StageSchedule::Step>* steps : {&schedule.tile, &schedule.reduce})
    for (const StageSchedule::Step& step : *steps)
      add(dim_of(step.index));
  for (size_t d = 0; d < shape.size(); d++)
    add(static_cast<int>(d));
  for (const int d : order)
    layout.axes.push_back({d, d == panel ? rows : d == lane || d == inner ? block : 1, 0, 0, 0, 0});
  if (inner >= 0)
    layout.axes.push_back({inner, group, block / group, 0, 0, 0});
  if (panel >= 0 && panel != lane)
    layout.axes.push_back({panel, 1, rows, 0, 0, 0});
  layout.axes.push_back({lane, 1, panel == lane ? rows : block, 0, 0, 0});
  if (inner >= 0 && group > 1)
    layout.axes.push_back({inner, 1, group, 0, 0, 0});
  return layout;
}

class Parameters {
public:
  Parameters(Graph& graph, const Target& target, Remarks& remarks, bool has_panels)
      : graph(graph),
        target(target),
        remarks(remarks),
        has_panels(has_panels)
  {
  }

  void run()
  {
    for (size_t k = 0; k < graph.kernels.size(); k++)
      k += look(k);
  }

private:
  static bool is_stored(const Value& v) { return v.kind == ValueKind::parameter || v.kind == ValueKind::prepared; }

  bool is_free(int value) const
  {
    const Value& v = graph.values[value];
    return is_stored(v) && !v.layout && v.type.shape.size() >= 2;
  }

  // Returns how many kernels were put before this one.
  size_t look(size_t k)
  {
    // Lowered to look at only: what it adds to the graph is taken back, which costs less than a copy of the graph.
    const size_t values = graph.values.size();
    std::vector<int> arguments = std::move(graph.kernels[k].arguments);
    graph.kernels[k].arguments.clear();
    Nest nest = lower_kernel(graph, static_cast<int>(k));
    collapse(nest, target, remarks);
    std::swap(arguments, graph.kernels[k].arguments);
    std::vector<bool> free(arguments.size()), all_free(arguments.size());
    bool any = false, fixed = false;
    for (size_t a = 0; a < arguments.size(); a++) {
      const Value& value = graph.values[arguments[a]];
      bool parameter = is_stored(value) && value.type.shape.size() >= 2 && nest.buffers[a].role == BufferRole::in;
      free[a] = parameter && is_free(arguments[a]);
      all_free[a] = parameter;
      any = any || free[a];
      fixed = fixed || (parameter && !free[a]);
    }
    graph.values.erase(graph.values.begin() + static_cast<std::ptrdiff_t>(values), graph.values.end());
    size_t inserted = 0;
    if (!any && !fixed)
      return 0;
    const std::string text = canonical_text(nest);
    size_t number = 0;
    for (StageLoops& stage : find_stages(nest)) {
      const Store* store = reduction_store(stage);
      number++;
      if (!store)
        continue;
      std::vector<std::pair<int, std::vector<Affine>>> reads;
      std::optional<DotProduct> product = dot_product(*store->value, nest, target);
      const int64_t group = product ? product->group : 1;
      for_each(*store->value, [&](const Expr& e) {
        if (e.fn == Fn::read && e.tensor < static_cast<int>(arguments.size()) && all_free[e.tensor])
          reads.push_back({e.tensor, e.at});
      });
      if (reads.empty())
        continue;
      auto plan = [&](const std::vector<bool>& layouts) {
        std::string key = fmt::format("{} {} ", number, fmt::join(layouts, "")) + text;
        auto known = plans.find(key);
        if (known == plans.end())
          known = plans.emplace(std::move(key), plan_stage(nest, stage, target, layouts)).first;
        return known->second;
      };
      Plan now = plan(free);
      bool is_fixed = std::any_of(reads.begin(), reads.end(), [&](const auto& read) { return !free[read.first]; });
      Plan ideal = is_fixed ? plan(all_free) : now;
      for (const auto& [argument, at] : reads) {
        int value = arguments[argument];
        const TensorType& type = graph.values[value].type;
        const Shape& shape = type.shape;
        const bool in_panels =
            has_panels && is_read_once(at, stage) && elements(shape) * bytes_of(type.dtype) > target.l2_bytes;
        if (free[argument]) {
          graph.values[value].layout =
              layout_for(at, shape, now.schedule, nest, group, in_panels).value_or(planar(shape.size()));
          continue;
        }
        double copy = static_cast<double>(elements(shape)) * (1 + 1.0 / 32);
        std::optional<Layout> wanted = layout_for(at, shape, ideal.schedule, nest, group, in_panels);
        if (!wanted || *wanted == *graph.values[value].layout || ideal.cycles + copy > 0.95 * now.cycles)
          continue;
        int name = graph.kernels[k + inserted].ops.front();
        std::vector<int> ops = graph.kernels[k + inserted].ops;
        remarks.add(graph.ops[name].location,
                    fmt::format("{} reads a copy of {} as {}: its lanes lie along another dimension",
                                graph.ops[name].name, graph.values[value].name, to_string(*wanted)));
        insert_copy(graph, value, *wanted, k + inserted,
                    [&](int op) { return graph.ops[op].kernel == static_cast<int>(k + inserted) + 1; });
        inserted++;
      }
    }
    return inserted;
  }

  static const Store* reduction_store(const StageLoops& stage)
  {
    for (const Node& node : *stage.point)
      if (std::holds_alternative<Loop>(node.is))
        return reduction_of(node).store;
    return nullptr;
  }

  Graph& graph;
  const Target& target;
  Remarks& remarks;
  bool has_panels;
  std::map<std::string, Plan> plans; // a network repeats its kernels
};

// What an optimizer reads and writes beside a parameter lies as the parameter does.
void follow_parameters(Graph& graph)
{
  for (const Op& op : graph.ops) {
    if (!op.def->is_optimizer)
      continue;
    const Value& parameter = graph.values[op.inputs[0]];
    if (!parameter.layout)
      continue;
    auto follow = [&](int value) {
      if (value >= 0 && graph.values[value].type.shape == parameter.type.shape && !is_callers(graph, value))
        graph.values[value].layout = parameter.layout;
    };
    for (int value : op.inputs)
      follow(value);
    for (int value : op.outputs)
      follow(value);
  }
  // A gradient that is an output goes to a block of the parameters' form.
  for (int output : graph.outputs) {
    Value& gradient = graph.values[output];
    constexpr std::string_view suffix = ".gradient";
    if (!gradient.name.ends_with(suffix))
      continue;
    int of = graph.find(std::string_view(gradient.name).substr(0, gradient.name.size() - suffix.size()));
    if (of >= 0 && graph.values[of].kind == ValueKind::parameter)
      gradient.layout = graph.values[of].layout;
  }
}

std::vector<bool> touched_values(const Graph& graph)
{
  std::vector<bool> touched(graph.values.size());
  for (const Op& op : graph.ops)
    for (int value : op.inputs)
      if (value >= 0)
        touched[value] = true;
  for (const StateUpdate& update : graph.updates)
    touched[update.target] = true;
  for (int value : graph.outputs)
    touched[value] = true;
  return touched;
}

void choose_layouts(Graph& graph, const Target& target, Remarks& remarks, bool has_panels)
{
  const std::map<int, std::vector<int>> apart = apart_dimensions(graph);
  for (size_t v = 0; v < graph.values.size(); v++) {
    Value& value = graph.values[v];
    const Shape& shape = value.type.shape;
    if (value.kind == ValueKind::result && shape.size() >= 3 && shape[0].batch && !shape[1].batch &&
        is_in_blocks(shape[1].size) && !is_callers(graph, static_cast<int>(v)))
      value.layout =
          blocked(value.type, apart.count(static_cast<int>(v)) ? apart.at(static_cast<int>(v)) : std::vector<int>());
  }
  Borders borders(graph);
  borders.run();
  for (const auto& [value, layout] : borders.copies) {
    size_t first = graph.kernels.size();
    for (const Op& op : graph.ops)
      if (op.kernel >= 0 && std::find(op.inputs.begin(), op.inputs.end(), value) != op.inputs.end())
        first = std::min(first, static_cast<size_t>(op.kernel));
    // An output of the net is made before; its copy stands before its first reader too.
    if (first < graph.kernels.size())
      insert_copy(graph, value, layout, first, [](int) { return true; });
  }
  Parameters(graph, target, remarks, has_panels).run();
  follow_parameters(graph);
  const std::vector<bool> touched = touched_values(graph);
  for (size_t v = 0; v < graph.values.size(); v++) {
    Value& value = graph.values[v];
    if (!value.layout && (touched[v] || !may_be_updated(value.kind)))
      value.layout = planar(value.type.shape.size());
  }
  for (const StateUpdate& update : graph.updates)
    if (graph.values[update.target].kind == ValueKind::prepared)
      graph.values[update.value].layout = graph.values[update.target].layout;
}

bool is_trained(const Program& program)
{
  return std::any_of(program.functions.begin(), program.functions.end(), [](const Graph& graph) {
    return std::any_of(graph.ops.begin(), graph.ops.end(), [](const Op& op) { return op.def->is_optimizer; });
  });
}

} // namespace

// No panels where an optimizer goes through the weights, and gradients read them along other dimensions; nor where rows
// come faster.
void choose_layouts(Program& program, const Target& target, Remarks& remarks)
{
  const bool has_panels = !target.reads_in_rows() && !is_trained(program);
  for (Graph& graph : program.functions) {
    take_layouts(graph, program.functions);
    choose_layouts(graph, target, remarks, has_panels);
  }
  for (Graph& graph : program.functions)
    take_layouts(graph, program.functions);
}

} // namespace cnnc
