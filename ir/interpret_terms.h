// A term as a list of steps, each of which treats up to `lanes` neighbouring points of the innermost loop at once.
//
//   exp(x[n,c] - m[n])    =>    0: read x   1: read m   2: sub 0 1   3: exp 2
//
// Floats are computed as doubles, integers as 64 bits wide and wrapped to their type.
#pragma once

#include "ir/expr.h"

namespace cnnc {

struct Numbers {
  DType type = DType::f32;
  std::vector<double> reals; // the one or the other
  std::vector<int64_t> integers;
};

// Numbers that are affine in the loops: offsets into tensors, index values, subscripts. `now` is their value at the
// innermost loop's first point, `step` how far they go from one point to the next.
struct Walkers {
  std::vector<int64_t> now, step;
};

class TermSteps {
public:
  static constexpr int lanes = 128;

  union Lane {
    double real;
    int64_t integer;
  };

  // `walker` numbers an affine value; `offset` that of a read in its tensor, `numbers` are its tensor's.
  struct Context {
    std::function<int(const Affine&)> walker;
    std::function<int(const Expr&)> offset;
    std::function<const Numbers*(int tensor)> numbers;
    std::function<std::vector<int64_t>(const Expr&)> extents; // of a read's tensor
  };
  TermSteps(const Expr& e, const Context&);

  // The points first .. first + count - 1 of the innermost loop; count is at most `lanes`.
  const Lane* run(const Walkers&, int64_t first, int count);

private:
  struct Step {
    Fn fn;
    DType type; // of the result
    DType of;   // of the arguments
    int args[3] = {};
    int walker = 0;
    const Numbers* from = nullptr;
    std::vector<int> pairs = {}; // inside: subscripts and their ends; of a checked read too
  };
  std::vector<Step> steps;
  std::vector<std::vector<Lane>> values; // of each step

  int add(const Expr&, const Context&);
  void run(const Step&, std::vector<Lane>& to, const Walkers&, int64_t first, int count);
};

} // namespace cnnc
