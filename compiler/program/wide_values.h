// Which values of an int8 network get 16 bits.
#pragma once

#include <cstddef>
#include <vector>

namespace cnnc {

// A value that contractions multiply.
struct NarrowValue {
  double error; // of the outputs where it alone has 8 bits, and its weights: squared, relative to the outputs
  double time;  // that those contractions take, in any unit
};

// The numbers of those that are to have more bits. Errors of several add up, as they are independent. So the ones whose
// error is largest for their time, while one is at least three times as much of the error that is left as it is of the
// time, until the others together err by 1.5 % (L2), and no more than a seventh of the time.
std::vector<size_t> wide_values(const std::vector<NarrowValue>&);

} // namespace cnnc
