#include "compiler/program/rounding_switch.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>

namespace cnnc {

namespace {

enum Row : uint8_t { inverse, zero, scale, rows };

Attributes rounding_of(const Shape& shape)
{
  std::string extents = "N", dims = "N", at = "n", ranges = "n < N";
  for (size_t d = 1; d < shape.size(); ++d) {
    extents += fmt::format(",x_{}", d);
    dims += fmt::format(",{}", shape[d].size);
    at += fmt::format(",i{}", d);
    ranges += fmt::format(", i{} < {}", d, shape[d].size);
  }
  const std::string channel = shape.size() > 1 ? "i1" : "0";
  const auto code = [&](Row row) { return fmt::format("code[{},{}]", static_cast<int>(row), channel); };
  return {{"inputs", std::vector<std::string>{fmt::format("x[{}]:f32", extents), "code[R,C]:f32"}},
          {"outputs", std::vector<std::string>{fmt::format("y[{}]:f32", dims)}},
          {"text", fmt::format("y[{0}] = select(0 < {1}, (cast(f32, cast(u8, round(x[{0}] * {1} + {2}))) - {2}) * {3}, "
                               "x[{0}]) where {4}",
                               at, code(inverse), code(zero), code(scale), ranges)}};
}

} // namespace

std::string code_name(const std::string& value)
{
  return value + ".code";
}

Tensor code_of(const LowPrecision::Ranges& ranges)
{
  const auto count = static_cast<int64_t>(ranges.size());
  Tensor code(DType::f32, {rows, count});
  for (int64_t c = 0; c < count; ++c) {
    const LowPrecision::Range& range = ranges[static_cast<size_t>(c)];
    const double step = (range.high - range.low) / 255;
    if (!(step > 0))
      continue; // nothing but zeros
    code.set(inverse * count + c, 1 / step);
    code.set(zero * count + c, std::clamp(std::nearbyint(-range.low / step), 0.0, 255.0));
    code.set(scale * count + c, step);
  }
  return code;
}

void add_rounding_switches(Graph& graph, const std::vector<std::string>& values)
{
  std::map<int, int> rounded;          // value -> what stands for it
  std::map<int, std::vector<Op>> made; // behind this op, or -1
  const size_t count = graph.ops.size();
  for (const std::string& name : values) {
    const int number = graph.find(name);
    const Value value = graph.values[static_cast<size_t>(number)];
    Value code;
    code.name = code_name(name);
    code.kind = ValueKind::input;
    code.type = {DType::f32, {Dim{rows}, Dim{value.type.shape.size() > 1 ? value.type.shape[1].size : 1}}};
    code.location = value.location;
    const int input = graph.add_value(std::move(code));
    const int op = graph.add_op(*find_op("formula"), name + ".rounded", {number, input}, rounding_of(value.type.shape),
                                value.location);
    rounded[number] = graph.ops[static_cast<size_t>(op)].outputs[0];
    made[value.kind == ValueKind::result ? value.op : -1].push_back(graph.ops[static_cast<size_t>(op)]);
  }
  std::vector<Op> ops = made[-1];
  for (size_t o = 0; o < count; ++o) {
    Op& op = graph.ops[o];
    for (int& input : op.inputs)
      if (const auto found = rounded.find(input); found != rounded.end())
        input = found->second;
    ops.push_back(std::move(op));
    const std::vector<Op>& behind = made[static_cast<int>(o)];
    ops.insert(ops.end(), behind.begin(), behind.end());
  }
  graph.ops = std::move(ops);
  compact(graph);
}

} // namespace cnnc
