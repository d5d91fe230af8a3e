// net.yaml => Network (network.h). The keys:
//
//   name: lenet5
//   input: {image: [1, 28, 28]}                      name: extents of one image
//   ops: {swish: {inputs: [x], formula: "..."}}      the user's own; also outputs, gradient
//   layers:
//     - relu                                         an op, or one key, the op, with attributes and
//     - conv2d: {filters: 6, kernel: 5, name: c1, from: image, freeze: true, learning_rate: 0.1,
//                weights: {weight: [[[[...]]]], bias: [...]}}
//   train: {data: fashion-mnist, loss: cross_entropy, optimizer: {sgd: {learning_rate: 0.05}}, batch: 64, epochs: 5,
//           seed: 1, schedule: cosine}        or constant, or {step: {epochs: 10, factor: 0.1}}
//
// Ops and their attributes come from the op table alone. Throws Error at line and column.
#pragma once

#include "compiler/network.h"

namespace cnnc {

Network read_yaml(const std::shared_ptr<const Source>&);

} // namespace cnnc
