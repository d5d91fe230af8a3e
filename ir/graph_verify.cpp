// What holds between any two passes, in this order:
// - every value has a name of its own, a type that fits into memory, a layout that fits the type, an aligned place;
// - a part's memory lies within its whole's, which is a result and no part;
// - constants carry data of their type, or its name in the side file;
// - each result is the output of exactly one op, which says so too;
// - operands are inputs, parameters, states, prepared values, constants or results of earlier ops;
// - attributes are complete and within their bounds, result types as the formulas say;
// - a kernel's ops stand together, kernels in their order, and both sides agree on who is whose; its nest's arguments
//   exist;
// - outputs and updates exist, updates have equal types and each target once, losses are scalars.
#include "ir/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <unordered_set>

namespace cnnc {

namespace {

struct Verifier {
  const Graph& graph;

  [[noreturn]] void fail(const std::string& what) const
  {
    throw InternalError(fmt::format("net @{}: {}", graph.name, what));
  }

  bool is_value(int number) const { return number >= 0 && static_cast<size_t>(number) < graph.values.size(); }
  const Value& value(int number) const
  {
    if (!is_value(number))
      fail(fmt::format("there is no value number {}", number));
    return graph.values[static_cast<size_t>(number)];
  }

  void check_value(size_t number) const
  {
    const Value& v = graph.values[number];
    auto wrong = [&](std::string_view what) { fail(fmt::format("'{}' ({}) {}", v.name, to_string(v.type), what)); };
    try {
      elements(v.type.shape);
      if (v.layout)
        verify(*v.layout, v.type.shape);
    } catch (const std::exception& error) {
      wrong(error.what());
    }
    for (size_t d = 1; d < v.type.shape.size(); ++d)
      if (v.type.shape[d].batch)
        wrong("has the batch behind its first dimension");
    if (v.offset < 0 || v.offset % 64 != 0)
      wrong(fmt::format("lies at {}, no multiple of 64", v.offset));
    if (v.whole >= 0) {
      value(v.whole);
      if (std::string why = why_no_part(graph, v); !why.empty())
        wrong(fmt::format("is no part of '{}': {}", value(v.whole).name, why));
    }
    if (v.data) {
      std::vector<int64_t> dims;
      for (const Dim& dim : v.type.shape)
        dims.push_back(dim.size);
      if (has_batch(v.type.shape) || v.data->dims != dims || v.data->dtype != v.type.dtype)
        wrong("has data of another type");
    }
    if (v.kind == ValueKind::constant && !v.data && v.data_name.empty())
      wrong("is a constant without data");
    bool has_op = v.op >= 0 && static_cast<size_t>(v.op) < graph.ops.size();
    if (v.kind != ValueKind::result && v.op >= 0)
      wrong("is no result and has an op");
    if (v.kind == ValueKind::result) {
      const std::vector<int>* outputs = has_op ? &graph.ops[static_cast<size_t>(v.op)].outputs : nullptr;
      if (!outputs || v.output < 0 || static_cast<size_t>(v.output) >= outputs->size() ||
          (*outputs)[static_cast<size_t>(v.output)] != static_cast<int>(number))
        wrong(fmt::format("is not output {} of op {}", v.output, v.op));
    }
  }

  void check_op(size_t number) const
  {
    const Op& op = graph.ops[number];
    if (!op.def)
      fail(fmt::format("op {} has no row", number));
    auto wrong = [&](std::string_view what) {
      fail(fmt::format("{} {} '{}' (op {}): {}", to_string(op.location), op.def->name, op.name, number, what));
    };
    for (int input : op.inputs)
      if (input != -1) {
        const Value& v = value(input);
        if (v.kind == ValueKind::result && v.op >= static_cast<int>(number))
          wrong(fmt::format("reads '{}', which is made later", v.name));
        if (v.kind == ValueKind::temporary)
          wrong(fmt::format("reads the temporary '{}', which no op makes", v.name));
      }
    for (size_t k = 0; k < op.outputs.size(); ++k) {
      const Value& v = value(op.outputs[k]);
      if (v.kind != ValueKind::result || v.op != static_cast<int>(number) || v.output != static_cast<int>(k))
        wrong(fmt::format("its output '{}' belongs to op {}", v.name, v.op));
    }
    try {
      if (check_attributes(*op.def, op.attributes, false, op.location) != op.attributes)
        wrong("its attributes are incomplete");
      Formula formula = formula_of(graph, op);
      verify(formula);
      size_t k = 0;
      for (const FormulaTensor& tensor : formula.tensors)
        if (tensor.role == Role::output) {
          if (k >= op.outputs.size() || value(op.outputs[k]).type != tensor.type)
            wrong(fmt::format("result {} is {}", k, to_string(tensor.type)));
          ++k;
        }
      if (k != op.outputs.size())
        wrong(fmt::format("{} results, the formula has {}", op.outputs.size(), k));
    } catch (const Error& error) {
      wrong(error.what());
    }
  }

  bool is_read(int number) const
  {
    return std::any_of(graph.ops.begin(), graph.ops.end(), [&](const Op& op) {
      return std::find(op.inputs.begin(), op.inputs.end(), number) != op.inputs.end();
    });
  }

  void check_kernels() const
  {
    std::vector<std::vector<int>> ops(graph.kernels.size());
    int last = -1;
    for (size_t o = 0; o < graph.ops.size(); ++o) {
      int kernel = graph.ops[o].kernel;
      if (kernel < -1 || kernel >= static_cast<int>(graph.kernels.size()))
        fail(fmt::format("op {} is in kernel {}, which does not exist", o, kernel));
      if (kernel < 0)
        continue;
      std::vector<int>& own = ops[static_cast<size_t>(kernel)];
      if (own.empty() ? kernel != last + 1 : own.back() + 1 != static_cast<int>(o))
        fail(fmt::format("the ops of kernel '{}' do not stand together, or kernels out of order",
                         graph.kernels[static_cast<size_t>(kernel)].name));
      own.push_back(static_cast<int>(o));
      last = kernel;
    }
    std::unordered_set<std::string_view> names;
    for (size_t k = 0; k < graph.kernels.size(); ++k) {
      if (ops[k].empty() || ops[k] != graph.kernels[k].ops)
        fail(fmt::format("kernel '{}' and its ops disagree", graph.kernels[k].name));
      for (int argument : graph.kernels[k].arguments)
        value(argument);
      if (!names.insert(graph.kernels[k].name).second)
        fail(fmt::format("two kernels are named '{}'", graph.kernels[k].name));
    }
  }

  void run() const
  {
    std::unordered_set<std::string_view> names;
    for (size_t v = 0; v < graph.values.size(); ++v) {
      const std::string& name = graph.values[v].name;
      if (name.empty() || !names.insert(name).second)
        fail(fmt::format("the name '{}' is empty or stands twice", name));
      check_value(v);
    }
    for (size_t o = 0; o < graph.ops.size(); ++o)
      check_op(o);
    check_kernels();
    for (int output : graph.outputs)
      value(output);
    std::unordered_set<int> targets;
    for (const StateUpdate& update : graph.updates) {
      const Value &target = value(update.target), &from = value(update.value);
      if (!may_be_updated(target.kind))
        fail(fmt::format("'{}' is updated and is no parameter, no state and no prepared value", target.name));
      if (target.kind == ValueKind::prepared && (is_read(update.target) || from.kind != ValueKind::result))
        fail(fmt::format("'{}' is read by the function that prepares it, or prepared by no op", target.name));
      if (target.type != from.type)
        fail(fmt::format("'{}' ({}) is updated with {}", target.name, to_string(target.type), to_string(from.type)));
      if (!targets.insert(update.target).second)
        fail(fmt::format("'{}' is updated twice", target.name));
    }
    if (graph.training) {
      const Value& loss = value(graph.training->loss);
      if (!loss.type.shape.empty() || !is_float(loss.type.dtype))
        fail(fmt::format("the loss '{}' is {}, no scalar", loss.name, to_string(loss.type)));
    }
  }
};

} // namespace

void verify(const Graph& graph)
{
  Verifier{graph}.run();
}

} // namespace cnnc
