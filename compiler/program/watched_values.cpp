#include "compiler/program/watched_values.h"

#include "passes/channel_codes.h"

#include <algorithm>

namespace cnnc {

namespace {

// Those of dimension 1, each with its numbers in all images.
void add_channels(std::vector<QuantizationRange>& channels, const Tensor& tensor)
{
  const int64_t images = tensor.dims.empty() ? 1 : tensor.dims[0], count = tensor.dims.size() > 1 ? tensor.dims[1] : 1,
                size = tensor.size() / std::max<int64_t>(images * count, 1);
  channels.resize(static_cast<size_t>(count));
  for (int64_t image = 0; image < images; ++image)
    for (int64_t c = 0; c < count; ++c)
      channels[static_cast<size_t>(c)].add(tensor.data<float>() + (image * count + c) * size, size);
}

size_t place_of(Graph& graph, int value)
{
  const auto found = std::find(graph.outputs.begin(), graph.outputs.end(), value);
  const auto place = static_cast<size_t>(found - graph.outputs.begin());
  if (found == graph.outputs.end())
    graph.outputs.push_back(value);
  return place;
}

// Only results of ops can be outputs.
int as_result(Graph& graph, int number)
{
  const Value& value = graph.values[static_cast<size_t>(number)];
  const int op = graph.add_op(*find_op("identity"), value.name + ".watched", {number}, {}, value.location);
  return graph.ops[static_cast<size_t>(op)].outputs[0];
}

} // namespace

std::vector<WatchedValue> watch(Graph& graph, const std::vector<ToCalibrate>& values)
{
  std::vector<WatchedValue> watched;
  for (const ToCalibrate& of_value : values) {
    int value = graph.find(of_value.name);
    if (graph.values[static_cast<size_t>(value)].kind != ValueKind::result)
      value = as_result(graph, value);
    WatchedValue made{of_value, place_of(graph, value), {}};
    for (const ToCalibrate::Weight& weight : of_value.weights)
      made.weights.push_back(place_of(graph, as_result(graph, graph.find(weight.name))));
    watched.push_back(std::move(made));
  }
  return watched;
}

void find_weights_to_round(std::vector<WatchedValue>& watched, const Graph& graph, const NamedTensors& weights)
{
  std::map<std::string, int> readers;
  for (const WatchedValue& of_value : watched)
    for (const ToCalibrate::Weight& weight : of_value.value.weights)
      ++readers[weight.name];
  for (WatchedValue& of_value : watched)
    for (size_t w = 0; w < of_value.value.weights.size(); ++w) {
      const ToCalibrate::Weight& weight = of_value.value.weights[w];
      const int number = graph.find(weight.name);
      if (number < 0 || readers[weight.name] > 1)
        continue;
      const Value& value = graph.values[static_cast<size_t>(number)];
      if (value.kind == ValueKind::parameter && (value.data || weights.contains(weight.name)) &&
          value.type.shape[weight.input].size <= most_channels_together)
        of_value.to_round.push_back(w);
    }
}

void look_at(std::vector<WatchedValue>& watched, const std::vector<Tensor>& outputs)
{
  for (WatchedValue& of_value : watched) {
    const Tensor& value = outputs[of_value.place];
    add_channels(of_value.channels, value);
    if (!of_value.to_round.empty())
      of_value.moments.add(value);
  }
}

std::vector<ChannelWeights> weights_of(const WatchedValue& watched, const std::vector<Tensor>& outputs)
{
  std::vector<ChannelWeights> weights;
  for (size_t w = 0; w < watched.weights.size(); ++w)
    weights.push_back({outputs[watched.weights[w]], watched.value.weights[w].output, watched.value.weights[w].input});
  return weights;
}

NamedTensors rounded_weights(const std::vector<WatchedValue>& watched, const std::vector<Tensor>& outputs,
                             const std::map<std::string, LowPrecision::Ranges>& ranges)
{
  NamedTensors rounded;
  for (const WatchedValue& of_value : watched) {
    const auto found = ranges.find(of_value.value.name);
    if (found == ranges.end())
      continue;
    std::vector<double> scales;
    for (const LowPrecision::Range& range : found->second)
      scales.push_back(code_of(range.low, range.high).scale);
    for (size_t w : of_value.to_round) {
      const ToCalibrate::Weight& weight = of_value.value.weights[w];
      rounded[weight.name] =
          round_weights(outputs[of_value.weights[w]], weight.output, weight.input, scales, of_value.moments);
    }
  }
  return rounded;
}

} // namespace cnnc
