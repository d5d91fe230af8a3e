// A nest as machine code, on buffers that end (or begin) at a page nobody may touch, beside the interpreter.
#pragma once

#include "ir/nest.h"
#include "ir/tensor.h"
#include "passes/target.h"

#include <string>
#include <vector>

namespace cnnc::test {

struct RunResult {
  std::vector<Tensor> tensors;        // the arguments in logical order, after the call
  std::vector<bool> borders_are_zero; // of each: all that no element owns
};

// Logical tensors in, logical tensors out. `at_end`: buffers end at the guard page, else they begin behind one. Tasks are
// given in ranges of `chunk`.
RunResult run_compiled(const Nest& nest, const Target& target, const std::vector<Tensor>& arguments, int64_t batch,
                       bool at_end, int64_t chunk);

Nest parse(const std::string& text);
// As its `schedule` says: all passes on nests behind that one have run.
Nest scheduled(const std::string& text, const Target& target);
// Random arguments for a nest: floats in [-2, 2), integers below 8; `out` ones hold NaN or 77.
std::vector<Tensor> random_arguments(const Nest& nest, int64_t batch, uint64_t seed);
// The largest difference between machine code and interpreter, relative to 1 + |value|; infinity where NaNs differ.
double worst_difference(const std::string& text, const Target& target, int64_t batch = 2, uint64_t seed = 1);

} // namespace cnnc::test
