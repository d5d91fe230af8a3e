// A network's graph as the .yaml that reads back to it, its parameters beside it.
//
//   %conv1 = conv2d %image, @conv1.weight, @conv1.bias {padding = [2, 2, 2, 2]}
//     =>   - conv2d: {name: conv1, filters: 6, kernel: 5, padding: 2}
//
// Constants become `parameter` layers. What a layer of the file says beside its op's attributes (filters, kernel,
// units, bias) follows from the shapes of its parameters: nothing in here knows an op.
#pragma once

#include "compiler/network.h"

namespace cnnc {

struct WrittenNetwork {
  std::string text;
  std::map<std::string, std::shared_ptr<const Tensor>> tensors; // by the names that the text gives them
};

// `weights`: the file that the text names for its first values; "" for none. `comment`: the first line. Throws Error
// for what a .yaml cannot say: inputs without a batch, or of another type than f32; results of an op but the first.
WrittenNetwork yaml_of(const Network&, const std::string& weights, const std::string& comment);

} // namespace cnnc
