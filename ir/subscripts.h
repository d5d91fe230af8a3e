// What the subscripts of a statement reach: whether they can leave a tensor, meet twice, or miss an element.
//
//   y[2*h + i]   h < 3, i < 2    one to one and complete on y[6], not complete on y[7]
//   y[2*h + i]   h < 3, i < 3    not one to one: h = 0, i = 2 meets h = 1, i = 0
//   x[h + i - 1] h < 4, i < 3    may fall outside of x[4]
#pragma once

#include "ir/formula.h"

namespace cnnc {

// In every dimension, proved as is_inside of one (ir/formula.h).
bool is_inside(const std::vector<Affine>& at, const Shape& shape, const std::vector<Index>& indices);

// Different values of the subscript's indices give different subscripts: sorted by factor they are the digits of a
// number.
bool is_one_to_one(const Affine& at, const std::vector<Index>& indices);
// No two points of the left side's indices meet at one element.
bool is_one_to_one(const Statement&);
// One to one, inside, and every element is met: y[n,4*g + o] with o < 4.
bool meets_all(const Statement&, const Shape& target);
// Likewise, and no index is reduced.
bool is_complete(const Statement&, const Shape& target);

// No point of one left side is a point of the other: parts of a concatenation, or every other element.
//   y[i], y[4 + j]   i < 4          y[2*i], y[2*j + 1]          y[8*i + a], y[8*j + 4 + b]   a < 4, b < 4
bool never_meet(const Statement&, const Statement&);

// The number of the winning term, for a max or min: reduced indices as digits, the last fastest. Nothing where the
// batch is one of them, but not the first.
std::optional<Affine> tap_position(const Statement&);

// Indices numbered by their first occurrence in the text, those that occur nowhere last; so the text reads back equal.
// Not for statements with a tap: the order of reduction is their meaning.
void order_indices(Statement&);

// Statements whose results no output needs are removed, and tensors that nothing touches. Inputs come first, then
// outputs, then locals. Returns the old number of each remaining tensor.
std::vector<int> remove_dead(Formula&);

// A local that is assigned once, to a term of at most one read and one function, is computed where it is read:
//   t[i] = x[2*i] / 9;  y[i] += t[i + 1]   =>   y[i] += x[2*i + 2] / 9
void inline_locals(Formula&);

} // namespace cnnc
