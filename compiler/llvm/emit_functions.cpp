// Every step in the order of the kernels; every operand with its place.
#include "compiler/llvm/emit_functions.h"

#include "compiler/analysis.h"
#include "passes/image_by_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace cnnc {

namespace {

// Roughly how many vectors a nest computes for a batch of n: every store once an iteration, lanes as one. An index
// stands for the middle of its range.
class Work {
public:
  Work(const Nest& nest, double n) : middle(nest.indices.size()), n(n), total(of(nest.body)) {}

  double of(const std::vector<Node>& nodes)
  {
    double sum = 0;
    for (const Node& node : nodes)
      sum += std::visit([&](const auto& is) { return of(is); }, node.is);
    return sum;
  }

private:
  double of(const Store&) { return 1; }
  double of(const ZeroBorder&) { return 8; }
  double of(const Prefetch&) { return 0; }
  double of(const If& branch) { return std::max(of(branch.then_body), of(branch.else_body)); }
  double of(const Loop& loop)
  {
    double begin = -HUGE_VAL, end = HUGE_VAL;
    for (const Affine& bound : loop.begin)
      begin = std::max(begin, value(bound));
    for (const Affine& bound : loop.end)
      end = std::min(end, value(bound));
    middle[static_cast<size_t>(loop.index)] = (begin + end) / 2;
    const double inside = of(loop.body);
    return loop.kind == LoopKind::lanes
               ? inside
               : inside * std::max(0., std::ceil((end - begin) / static_cast<double>(loop.step)));
  }
  double value(const Affine& affine) const
  {
    double sum = static_cast<double>(affine.constant);
    for (const Affine::Term& term : affine.terms)
      sum +=
          static_cast<double>(term.factor) * (term.index == batch_index ? n : middle[static_cast<size_t>(term.index)]);
    return sum;
  }

  std::vector<double> middle;
  double n;

public:
  const double total;
};

Layout layout_of(const Value& value)
{
  return value.layout ? *value.layout : planar(value.type.shape.size());
}

int64_t stored_bytes(const Value& value) // of one image, where it has a batch
{
  return stored_elements(layout_of(value), value.type.shape) * bytes_of(value.type.dtype);
}

// Those of a part's neighbours are none of its.
int64_t touched_bytes(Value value)
{
  value.layout = layout_of(value);
  for (Axis& axis : value.layout->axes)
    axis.extra = 0;
  return stored_bytes(value);
}

class Function {
public:
  Function(Tables& t, const Program& program, const Interface& interface, const Graph& graph, cnn_mode mode,
           const ConstantPool& pool)
      : t(t),
        program(program),
        interface(interface),
        mode(mode),
        graph(graph),
        pool(pool),
        inputs(values_of(graph, ValueKind::input))
  {
  }

  llvm::Constant* emit(const std::vector<std::vector<EmittedRegion>>& regions)
  {
    for (const Kernel& kernel : graph.kernels)
      if (kernel.nest < 0 || static_cast<size_t>(kernel.nest) >= regions.size())
        throw InternalError(fmt::format("kernel '{}' of '{}' has no nest", kernel.name, graph.name));
    const std::vector<Run> runs = runs_of(graph);
    auto next_run = runs.begin();
    for (size_t k = 0; k < graph.kernels.size(); ++k) {
      const Kernel& kernel = graph.kernels[k];
      if (next_run != runs.end() && static_cast<int>(k) == next_run->first)
        run_steps = steps_of(*next_run++, regions);
      run(kernel, regions[static_cast<size_t>(kernel.nest)]);
      ends.push_back(steps.size());
    }
    for (size_t i = 0; i < graph.outputs.size(); ++i)
      copy_output(i);
    for (const StateUpdate& update : graph.updates) {
      copy_update(update);
      ends.push_back(steps.size());
    }
    if (steps.empty())
      throw InternalError(fmt::format("'{}' does nothing", graph.name));
    return t.record({t.array(steps), t.i64(static_cast<int64_t>(steps.size()))});
  }

  // The numbers of the steps to run when this parameter has changed: what follows from it, and what these read that
  // nothing keeps. Kernels, then updates, stand in the order in which they run.
  std::vector<int64_t> steps_after(const std::string& parameter) const
  {
    const size_t count = graph.kernels.size();
    std::vector<bool> changed(graph.values.size()), runs(count + graph.updates.size());
    if (const int v = graph.find(parameter); v >= 0)
      changed[static_cast<size_t>(v)] = true;
    const auto for_each_operand = [&](size_t unit, const auto& visit) {
      if (unit >= count)
        visit(graph.updates[unit - count].value);
      else
        for (const int op : graph.kernels[unit].ops)
          for (const int input : graph.ops[static_cast<size_t>(op)].inputs)
            if (input >= 0)
              visit(input);
    };
    for (size_t unit = 0; unit < runs.size(); ++unit) {
      for_each_operand(unit, [&](int v) { runs[unit] = runs[unit] || changed[static_cast<size_t>(v)]; });
      if (unit < count && runs[unit])
        for (const int op : graph.kernels[unit].ops)
          for (const int output : graph.ops[static_cast<size_t>(op)].outputs)
            changed[static_cast<size_t>(output)] = true;
    }
    for (size_t unit = runs.size(); unit-- > 0;)
      if (runs[unit])
        for_each_operand(unit, [&](int v) {
          if (value(v).kind == ValueKind::result && value(v).region != Region::parameter)
            runs[static_cast<size_t>(graph.ops[static_cast<size_t>(value(v).op)].kernel)] = true;
        });
    std::vector<int64_t> numbers;
    for (size_t unit = 0, step = 0; unit < runs.size(); ++unit)
      for (; step < ends[unit]; ++step)
        if (runs[unit])
          numbers.push_back(static_cast<int64_t>(step));
    return numbers;
  }

private:
  const Value& value(int v) const { return graph.values.at(static_cast<size_t>(v)); }

  int64_t steps_of(const Run& of, const std::vector<std::vector<EmittedRegion>>& regions) const
  {
    size_t count = 0;
    for (int k = of.first; k <= of.last; ++k)
      count += regions[static_cast<size_t>(graph.kernels[static_cast<size_t>(k)].nest)].size();
    return static_cast<int64_t>(count);
  }

  [[noreturn]] void fail(const Value& value, const std::string& what) const
  {
    throw InternalError(fmt::format("'{}' of '{}' {}", value.name, graph.name, what));
  }

  llvm::Constant* place(int where, int64_t index, int64_t offset, int64_t part = 0, int64_t image_bytes = 0)
  {
    return t.record({t.i32(where), t.i32(index), t.i64(offset), t.i64(part), t.i64(image_bytes)});
  }

  // From one image to the next; 0: there are none.
  static int64_t image_bytes(const Value& value) { return has_batch(value.type.shape) ? stored_bytes(value) : 0; }

  llvm::Constant* output_place(size_t i)
  {
    if (mode == CNN_FORWARD)
      return place(CNN_PLACE_OUTPUT, static_cast<int64_t>(i), 0, 0, image_bytes(value(graph.outputs[i])));
    if (i == 0)
      return place(CNN_PLACE_LOSS, 0, 0);
    const Value& gradient = value(graph.outputs[i]);
    for (const Interface::TensorInfo& parameter : interface.parameters) {
      if (gradient.name != parameter.name + ".gradient")
        continue;
      const int v = graph.find(parameter.name);
      if (v < 0 || gradient.type != value(v).type || layout_of(gradient) != layout_of(value(v)))
        fail(gradient, "lies differently from its parameter");
      return place(CNN_PLACE_GRADIENT, 0, parameter.offset - CNN_HEADER_BYTES);
    }
    fail(gradient, "is neither the loss nor the gradient of a parameter");
  }

  // The caller's memory that a result goes to: that of the first output which it is.
  llvm::Constant* operand(int v)
  {
    const Value& operand = value(v);
    if (operand.kind == ValueKind::input) {
      const auto at = std::find(inputs.begin(), inputs.end(), v);
      return place(CNN_PLACE_INPUT, at - inputs.begin(), 0, 0, image_bytes(operand));
    }
    const Value& home = operand.whole >= 0 ? value(operand.whole) : operand;
    if (operand.whole >= 0 && home.region != Region::image && home.region != Region::run)
      fail(operand, "is a part of what has no place in memory");
    const int64_t part = operand.whole >= 0 ? elements_before(graph, operand) * bytes_of(operand.type.dtype) : 0;
    switch (home.region) {
    case Region::fixed: return place(CNN_PLACE_FIXED, 0, operand.offset);
    case Region::image: return place(CNN_PLACE_IMAGE, 0, home.offset, part, image_bytes(operand));
    case Region::run: return place(CNN_PLACE_RUN, 0, home.offset, part);
    case Region::parameter: return place(CNN_PLACE_PARAMETER, 0, operand.offset);
    case Region::state: return place(CNN_PLACE_STATE, 0, operand.offset);
    case Region::constant: return place(CNN_PLACE_CONSTANT, 0, pool.offset_of(operand));
    case Region::none: break;
    }
    const auto at = std::find(graph.outputs.begin(), graph.outputs.end(), v);
    if (at == graph.outputs.end())
      fail(operand, "has no place in memory");
    return output_place(static_cast<size_t>(at - graph.outputs.begin()));
  }

  // What a step costs beside one image, and for each.
  struct Cost {
    double fixed = 0, per_image = 0;
  };

  void step(llvm::Constant* region, const std::vector<llvm::Constant*>& operands, int line, int64_t tasks,
            int64_t tasks_per_image, Cost work, Cost operations, Cost bytes, const std::string& name)
  {
    if (operands.size() > 4096)
      throw InternalError(fmt::format("kernel '{}' has {} operands", name, operands.size()));
    steps.push_back(t.record({region, t.array(operands), t.i32(static_cast<int64_t>(operands.size())), t.i32(line),
                              t.i64(tasks), t.i64(tasks_per_image), t.i64(std::exchange(run_steps, 0)),
                              t.f64(work.fixed), t.f64(work.per_image), t.f64(operations.fixed),
                              t.f64(operations.per_image), t.f64(bytes.fixed), t.f64(bytes.per_image), t.text(name)}));
  }

  void run(const Kernel& kernel, const std::vector<EmittedRegion>& regions)
  {
    const Nest& nest = program.nests[static_cast<size_t>(kernel.nest)];
    size_t wanted = 0;
    for (const Buffer& buffer : nest.buffers)
      wanted += buffer.role == BufferRole::in || buffer.role == BufferRole::out || buffer.role == BufferRole::inout;
    if (wanted != kernel.arguments.size())
      throw InternalError(fmt::format("kernel '{}' of '{}' has {} arguments, its nest @{} wants {}", kernel.name,
                                      graph.name, kernel.arguments.size(), nest.name, wanted));
    std::vector<llvm::Constant*> operands;
    for (int v : kernel.arguments)
      operands.push_back(operand(v));
    const double one = Work(nest, 1).total, two = Work(nest, 2).total;
    const int line = kernel.ops.empty() ? 0 : graph.ops.at(static_cast<size_t>(kernel.ops[0])).location.line;
    Cost operations, bytes;
    for (int op : kernel.ops)
      operations.per_image +=
          2 * static_cast<double>(multiply_adds(formula_of(graph, graph.ops[static_cast<size_t>(op)])));
    for (int v : kernel.arguments)
      (has_batch(value(v).type.shape) ? bytes.per_image : bytes.fixed) += static_cast<double>(touched_bytes(value(v)));
    for (const EmittedRegion& region : regions) {
      if (!region.tasks.without(batch_index).is_constant())
        throw InternalError(fmt::format("the tasks of @{} depend on more than the batch", nest.name));
      // A kernel's loops are steps of their own: the last one, which computes its result, has the costs of all.
      const bool is_last = &region == &regions.back();
      step(region.function, operands, line, region.tasks.constant, region.tasks.factor(batch_index),
           {2 * one - two, two - one}, is_last ? operations : Cost(), is_last ? bytes : Cost(), layers_of(kernel));
    }
  }

  // "conv1, relu1": what a reader of a profile looks for in the file.
  std::string layers_of(const Kernel& kernel) const
  {
    std::string text;
    for (const int op : kernel.ops) {
      const std::string& name = value(graph.ops[static_cast<size_t>(op)].outputs.at(0)).name;
      text += (text.empty() ? "" : ", ") + name;
    }
    return text;
  }

  // Both lie alike, which the caller has seen to.
  void copy(llvm::Constant* to, int from)
  {
    const Value& v = value(from);
    const int64_t bytes = stored_bytes(v);
    const bool batch = has_batch(v.type.shape);
    const double moved = 2 * static_cast<double>(bytes);
    step(t.null(), {to, operand(from)}, v.location.line, batch ? 0 : bytes, batch ? bytes : 0, {}, {},
         batch ? Cost{0, moved} : Cost{moved, 0}, v.name + " (copy)");
  }

  void copy_output(size_t i)
  {
    const Value& output = value(graph.outputs[i]);
    const bool is_first =
        std::find(graph.outputs.begin(), graph.outputs.end(), graph.outputs[i]) - graph.outputs.begin() ==
        static_cast<ptrdiff_t>(i);
    if (is_first && output.kind == ValueKind::result && output.region == Region::none)
      return; // a kernel has written it
    if (mode == CNN_FORWARD && !is_planar(layout_of(output)))
      fail(output, "is an output and not planar");
    copy(output_place(i), graph.outputs[i]);
  }

  void copy_update(const StateUpdate& update)
  {
    const Value &target = value(update.target), &v = value(update.value);
    if (v.region == target.region && v.offset == target.offset && v.region != Region::none)
      return; // written in place
    if (v.type != target.type || layout_of(v) != layout_of(target))
      fail(v, fmt::format("lies differently from '{}', which it replaces", target.name));
    if (v.kind == ValueKind::parameter || v.kind == ValueKind::state)
      fail(v, fmt::format("replaces '{}' and may itself be replaced", target.name));
    copy(operand(update.target), update.value);
  }

  Tables& t;
  const Program& program;
  const Interface& interface;
  cnn_mode mode;
  const Graph& graph;
  const ConstantPool& pool;
  const std::vector<int> inputs;
  std::vector<llvm::Constant*> steps;
  int64_t run_steps = 0;    // of the run that the next step begins
  std::vector<size_t> ends; // of each kernel's steps, then of each update's
};

} // namespace

ConstantPool::ConstantPool(const std::vector<const Program*>& programs)
{
  for (const Program* program : programs)
    for (const Graph& graph : program->functions)
      add(graph);
}

void ConstantPool::add(const Graph& graph)
{
  for (int v : values_of(graph, ValueKind::constant)) {
    const Value& value = graph.values[static_cast<size_t>(v)];
    if (!value.data)
      throw InternalError(fmt::format("the constant '{}' of '{}' has no data", value.name, graph.name));
    const auto same = std::find_if(places.begin(), places.end(), [&](const Place& place) {
      return place.value->type == value.type && layout_of(*place.value) == layout_of(value) &&
             (place.value->data == value.data || place.value->data->bytes == value.data->bytes);
    });
    if (same == places.end()) {
      offsets[&value] = bytes;
      places.push_back({&value, bytes});
      bytes +=
          (stored_bytes(value) + 2 * CNN_ALIGNMENT - 1) / CNN_ALIGNMENT * CNN_ALIGNMENT; // a vector may end behind it
    } else
      offsets[&value] = same->offset;
  }
}

int64_t ConstantPool::offset_of(const Value& value) const
{
  const auto found = offsets.find(&value);
  if (found == offsets.end())
    throw InternalError(fmt::format("'{}' lies among the constants and is none", value.name));
  return found->second;
}

std::vector<std::byte> ConstantPool::pack() const
{
  std::vector<std::byte> block(static_cast<size_t>(bytes));
  for (const Place& place : places) {
    const Interface::TensorInfo info = describe_stored(*place.value);
    const cnn_tensor tensor = info.describe();
    cnn_scatter(&tensor, block.data() + place.offset, 0, place.value->data->size(), place.value->data->bytes.data());
  }
  return block;
}

llvm::Constant* emit_function(Tables& tables, const Program& program, const Interface& interface, cnn_mode mode,
                              const std::vector<std::vector<EmittedRegion>>& regions, const ConstantPool& pool)
{
  return Function(tables, program, interface, *interface.functions[mode], mode, pool).emit(regions);
}

llvm::Constant* emit_preparation(Tables& t, const Program& program, const Interface& interface,
                                 const std::vector<std::vector<EmittedRegion>>& regions, const ConstantPool& pool)
{
  if (!interface.prepare)
    return t.record({t.record({t.null(), t.i64(0)}), t.i64(0), t.i64(0), t.i64(0), t.null(), t.null()});
  Function function(t, program, interface, *interface.prepare, CNN_FORWARD, pool);
  llvm::Constant* steps = function.emit(regions);
  std::vector<llvm::Constant*> first{t.i32(0)}, numbers;
  for (const Interface::TensorInfo& parameter : interface.parameters) {
    for (const int64_t number : function.steps_after(parameter.name))
      numbers.push_back(t.i32(number));
    first.push_back(t.i32(static_cast<int64_t>(numbers.size())));
  }
  return t.record({steps, t.i64(interface.prepared_begin), t.i64(interface.scratch), t.i64(interface.local),
                   t.array(first), t.array(numbers)});
}

} // namespace cnnc
