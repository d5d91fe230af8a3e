// Which contractions multiply narrow numbers, and which values become narrow for that.
//
//   %b = concat %a, %x                    wanted, as are %a and %x, from which it is moved
//   %c = conv2d %b, @w                    bf16; or integers, where the range of %b is known
//   %d = conv2d %c, @v {groups = 64}      as before: no channels are summed over
//   %y = formula %d, @u {text = "         bf16_weights: @u scales c, and each element of @u is read once an image
//     y[n,o] += d[n,c,h,w] * u[o,49*c + 7*h + w]"}
#pragma once

#include "passes/contraction.h"
#include "passes/pass.h"

#include <map>
#include <set>

namespace cnnc {

// What a contraction multiplies: f32, of which the parameters may be stored as bf16; bf16 both; u8 with i8.
enum class Factors : uint8_t { as_before, bf16_weights, bf16, integers };

struct NarrowChoice {
  std::vector<std::optional<Contraction>> contractions; // by op
  std::vector<Factors> factors;                         // likewise
  std::map<int, DType> wanted;                          // values of the data, and the narrow types that they get
  std::set<int> moved;                                  // ops that make a wanted value by moving wanted ones
};

// A remark says of each contraction what it multiplies, or why no integers. No op is changed.
NarrowChoice choose_narrow(const Graph&, const LowPrecision& asked, Remarks&);

} // namespace cnnc
