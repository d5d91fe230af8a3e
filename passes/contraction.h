// Sums of products of data with parameters: what convolutions and dense layers are, and formulas may be.
//
//   out += a * b            b is made of parameters alone
//
//   y[n,o,h,w] = bias[o]
//   y[n,o,h,w] += r[n,c,h + i,w + j] * w[o,c,i,j]        whole: channel 1 of y is weight_channel 0 of w; weight_input 1
#pragma once

#include "ir/graph.h"

namespace cnnc {

struct Contraction {
  int a = -1, b = -1;   // values
  size_t statement = 0; // of the op's formula: the sum
  // Both share a reduced index that neither subscript scales, and that has a multiple of 16 values: a target with such
  // an instruction multiplies neighbours along it in one step.
  bool has_neighbours = false;
  bool is_read_once = false;    // each element of b, for each image
  bool reaches_outside = false; // terms may be left out
  // b's dimension of a's channels (dimension 1), where these are summed over, by an index that subscripts nothing else:
  // a scale of each channel can then go into the weights.
  std::optional<size_t> weight_input;
  // Nothing but a bias, a parameter, stands beside the sum, and the result shares one dimension with b.
  struct Whole {
    int bias = -1;                          // value
    size_t channel = 0, weight_channel = 0; // the shared dimension: the result's, and b's
  };
  std::optional<Whole> whole;
};

// The only sum of products in the op's formula, whose factors are f32 operands as they are, one of them a parameter of
// two dimensions or more. Nothing where there is none, or another one beside it. `is_parameter`: for each value, see
// steady_values (passes/prepared.h).
std::optional<Contraction> contraction_of(const Graph&, const Op&, const std::vector<bool>& is_parameter);

} // namespace cnnc
