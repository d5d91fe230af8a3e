#include "ir/interpret.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::vector<int64_t> dims_at(const Shape& shape, int64_t batch)
{
  std::vector<int64_t> dims;
  for (const Dim& dim : shape)
    dims.push_back(dim.at(batch));
  return dims;
}

// What the caller gives, else the data that the graph knows.
const Tensor& given(const Graph& graph, const Value& value, const NamedTensors& values)
{
  if (auto found = values.find(value.name); found != values.end())
    return found->second;
  if (!value.data)
    throw Error(graph.location, fmt::format("there is no tensor for '{}' ({})", value.name, to_string(value.type)));
  return *value.data;
}

} // namespace

NamedTensors interpret(const Graph& graph, const NamedTensors& values, int64_t batch, bool doubles)
{
  std::vector<Tensor> tensors(graph.values.size());
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const Value& value = graph.values[v];
    if (value.kind == ValueKind::result || value.kind == ValueKind::temporary)
      continue;
    tensors[v] = given(graph, value, values);
    if (tensors[v].dims != dims_at(value.type.shape, batch))
      throw Error(graph.location,
                  fmt::format("the tensor for '{}' ({}) has other dimensions", value.name, to_string(value.type)));
    if (is_float(value.type.dtype) ? !doubles || !is_float(tensors[v].dtype) : tensors[v].dtype != value.type.dtype)
      tensors[v] = convert(tensors[v], value.type.dtype);
  }
  for (const Op& op : graph.ops) {
    Formula formula = formula_of(graph, op);
    std::vector<const Tensor*> inputs;
    for (int number : formula.input_numbers)
      inputs.push_back(&tensors[static_cast<size_t>(op.inputs[static_cast<size_t>(number)])]);
    std::vector<Tensor> outputs = interpret(formula, inputs, doubles, batch);
    for (size_t k = 0; k < op.outputs.size(); ++k)
      tensors[static_cast<size_t>(op.outputs[k])] = std::move(outputs[k]);
  }

  NamedTensors result;
  for (size_t v = 0; v < graph.values.size(); ++v)
    if (graph.values[v].kind != ValueKind::temporary)
      result[graph.values[v].name] = tensors[v];
  for (const StateUpdate& update : graph.updates)
    result[graph.values[static_cast<size_t>(update.target)].name] = tensors[static_cast<size_t>(update.value)];
  return result;
}

} // namespace cnnc
