// Texts of formulas that go over every dimension of a tensor, whatever its rank: x[i0,i1,i2] where i0 < N, i1 < 4.
#pragma once

#include "ir/op.h"

namespace cnnc {

using Texts = std::vector<std::string>;

Texts index_names(size_t rank, std::string_view letter = "i"); // i0, i1, i2
std::string list(const Texts&);                                // "i0,i1,i2"
std::string extent_text(const Dim&);                           // "4*N"
std::string ranges(const Texts& indices, const Shape&);        // "i0 < N, i1 < 4"; "" for a scalar
std::string where(const std::string& ranges);                  // " where " before them, where there are any
std::string extents(const Shape&);                             // "N,3,8", as a declaration has them
std::string plus(int64_t constant);                            // " + 3", " - 3", "" for 0
std::string times(std::string_view index, int64_t factor);     // "i", "3*i", "0"

// "m[n@] += x[n,c@]" => "m[n,i2,i3] += x[n,c,i2,i3]": @ stands for the subscripts behind the channel of operand 0.
std::string behind_channel(std::string_view text, const OpCall&);

// Negative axes count from the end. Throws Error for axes that are not there, and for the same one twice.
size_t axis_of(int64_t axis, size_t rank);
std::vector<size_t> axes_of(const std::vector<int64_t>& axes, size_t rank);

// y = x with the same elements in the same order. Dimensions that are split or merged are written as digits of both
// sides, [4,6] => [2,2,6]: y[a,b,c] = x[2*a + b, c]; where neither side's dimensions divide the other's ([4,6] =>
// [3,8]) the elements pass through one row. Throws Error where the batch would not remain the outermost digit.
std::string reshape_text(const OpCall&, const Shape& to);

// y[..., k, ...] = x[..., from[k], ...]: one statement for each progression of `from`, progressions of progressions
// included ([0,0,1,1,2,2] is y[2*q + r] = x[q]). Entries that are no_entry are left alone.
std::string gather_text(std::string_view to, std::string_view read, const Shape& shape, size_t axis,
                        const std::vector<int64_t>& from);

// Positions first + sum of digit * step, digit < count, whose values are start + sum of digit * value_step.
struct Progression {
  struct Digit {
    int64_t count, step, value_step;
  };
  int64_t first = 0, start = 0;
  std::vector<Digit> digits; // outermost first
};
// All entries that are not no_entry, each once. Throws Error where there are more than `progression_limit`.
constexpr size_t progression_limit = 1024;
constexpr int64_t no_entry = INT64_MIN;
std::vector<Progression> progressions(const std::vector<int64_t>& values);

} // namespace cnnc
