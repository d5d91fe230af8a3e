// The oracle: formulas and nests, executed as they stand, in double precision, without any pass. Slow and obvious, but
// with strides computed before the loops: some 200 M multiply-adds a second.
#pragma once

#include "ir/program.h"

#include <map>

namespace cnnc {

// One op: `inputs` in the order of the formula's inputs. Returns the outputs, and locals where asked for. The tensors'
// dims fix n; `batch` stands for it where none of them does. With `doubles`, results keep double precision (dtype f64),
// else they are rounded to the declared types after every statement.
std::vector<Tensor> interpret(const Formula&, const std::vector<const Tensor*>& inputs, bool doubles = false,
                              int64_t batch = 1);

// A whole graph. `values` has inputs, and parameters and states by name; returns every value by name. After the call,
// updates have been applied to the copies returned under the targets' names.
using NamedTensors = std::map<std::string, Tensor, std::less<>>;
NamedTensors interpret(const Graph&, const NamedTensors& values, int64_t batch, bool doubles = false);

// A nest on its buffers: `arguments` in order, stored in the *logical* order (layouts are ignored but for borders and
// pads, which read as zero). Out and inout arguments are written.
void interpret(const Nest&, const std::vector<Tensor*>& arguments, int64_t batch, bool doubles = false);

} // namespace cnnc
