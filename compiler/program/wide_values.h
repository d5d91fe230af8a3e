// Which values of an int8 network get 16 bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cnnc {

// A value that contractions multiply.
struct NarrowValue {
  double error; // of the outputs where it alone has 8 bits, and its weights: squared, relative to the outputs
  int64_t multiplications; // of those contractions
};

// The numbers of those that are to have more bits. Errors of several add up, as they are independent; a product of 16
// bits takes the time of two. So the ones whose error is largest for their multiplications, until the others together err
// by no more than 1.5 % (L2), as long as all of them are no more than an eighth of the multiplications.
std::vector<size_t> wide_values(const std::vector<NarrowValue>&);

} // namespace cnnc
