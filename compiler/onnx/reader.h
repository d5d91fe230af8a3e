// model.onnx => Network.
//
// Shapes must be known when a network is compiled: what the file computes them from is computed here. The batch is the
// exception: first dimensions that are a name, or 1 in every input, are read as the run-time number n. Where that
// cannot be (a shape that is fixed further down, an op that mixes images) the number of the file is taken.
//
// Convolutions take in the batch norms, factors and summands behind them.
#pragma once

#include "compiler/network.h"
#include "ir/interpret.h"

namespace cnnc {

struct OnnxOptions {
  // What the caller knows of inputs: one that decides a shape takes its value from here, and is no input any more.
  NamedTensors values = {};
  bool run_time_batch = true; // where the file allows it
};

// Throws Error: exit code 3 where it cannot be read; 1 with the node, its op and the opset for what is not supported.
Network read_onnx(const std::string& path, const OnnxOptions& = {});

} // namespace cnnc
