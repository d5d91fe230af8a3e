// Rounding of single values to 8 bits, in a network that is compiled once.
//
//   %y = conv2d %x, ...   =>   input %x.code: f32[3,C]            1 / scale, zero and scale of each channel
//                              %x.rounded = formula %x, %x.code   what 8 bits make of it; %x itself where 1 / scale is 0
//                              %y = conv2d %x.rounded, ...
#pragma once

#include "ir/graph.h"
#include "ir/tensor.h"

#include <string>
#include <vector>

namespace cnnc {

// For each of these values, which have the batch first. Numbers of values change.
void add_rounding_switches(Graph&, const std::vector<std::string>& values);

// The name of a value's code, and what is given for it: rounding to these ranges.
std::string code_name(const std::string& value);
Tensor code_of(const LowPrecision::Ranges&);

} // namespace cnnc
