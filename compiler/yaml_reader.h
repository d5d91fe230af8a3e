// net.yaml => Network (network.h). The keys:
//
//   name: lenet5
//   input: {image: [1, 28, 28]}                      name: extents of one image; the long form: yaml_input.h
//   ops: {swish: {inputs: [x], formula: "..."}}      the user's own; also outputs; gradients are derived
//   define: {block: {parameters: {...}, layers: [...]}}        yaml_blocks.h
//   layers:
//     - relu                                         an op or a block, or one key, the op, with attributes and
//     - conv2d: {filters: 6, kernel: 5, name: c1, from: image, repeat: 2, when: true, freeze: true, learning_rate: 0.1,
//                weights: {weight: [[[[...]]]], bias: [...]}}
//   output: [c1, relu]                               default: the last layer
//   without: [c1]                                    layers that are taken out
//   weights: lenet5.safetensors                      first values of all parameters
//   train: {data: fashion-mnist, loss: cross_entropy, optimizer: {sgd: {learning_rate: 0.05}}, batch: 64, epochs: 5,
//           seed: 1, schedule: cosine}        or constant, or {step: {epochs: 10, factor: 0.1}}
//
// Ops and their attributes come from the op table alone. Throws Error at line and column.
#pragma once

#include "compiler/network.h"

namespace cnnc {

// `without`: layers that are taken out beside those that the file names.
Network read_yaml(const std::shared_ptr<const Source>&, const std::vector<std::string>& without = {});

} // namespace cnnc
