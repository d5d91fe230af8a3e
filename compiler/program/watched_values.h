// Values of a network, looked at while it runs: they become outputs, with the weights that they are multiplied with.
//
//   %r = relu %c                  %r = relu %c
//   %d = conv2d %r, @w     =>     %w.watched = identity @w
//   output %y                     output %y, %r, %w.watched
#pragma once

#include "compiler/program/quantization_range.h"
#include "compiler/program/weight_rounding.h"
#include "ir/interpret.h"
#include "passes/lower_precision.h"

namespace cnnc {

// What is seen is of all images so far.
struct WatchedValue {
  ToCalibrate value;
  size_t place;                                 // among the graph's outputs
  std::vector<size_t> weights;                  // likewise: of value.weights
  std::vector<size_t> to_round = {};            // some of `weights`, by their positions there
  std::vector<QuantizationRange> channels = {}; // seen; its dimension 1
  SecondMoments moments = {};                   // seen, where there are weights to round
};

// The graph gets the outputs.
std::vector<WatchedValue> watch(Graph&, const std::vector<ToCalibrate>& values);

// Finds to_round: parameters whose numbers are in the network, `weights` among them, and which meet one value only.
// `graph` is the network as it was written.
void find_weights_to_round(std::vector<WatchedValue>&, const Graph& graph, const NamedTensors& weights);

// Looks at what the graph's outputs were for one input.
void look_at(std::vector<WatchedValue>&, const std::vector<Tensor>& outputs);

// The weights behind a value, which are the same in all outputs.
std::vector<ChannelWeights> weights_of(const WatchedValue&, const std::vector<Tensor>& outputs);

// to_round of all values that have ranges, rounded (weight_rounding.h), by name; `ranges` likewise.
NamedTensors rounded_weights(const std::vector<WatchedValue>&, const std::vector<Tensor>& outputs,
                             const std::map<std::string, LowPrecision::Ranges>& ranges);

} // namespace cnnc
