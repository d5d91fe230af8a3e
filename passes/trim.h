// A window's loop stops where the picture does.
//
//   for i in 0..5 { %acc[] += %x[n,c,h + i - 2] * @w[i] }   =>   for i in max(0, 2 - h)..min(5, 30 - h) { ... }
//
// What is left out would have been added as zero from the border: 10 % of a 3x3 convolution on 7x7, a third of the way
// back through a 5x5 one on 10x10.
#pragma once

#include "ir/nest.h"

namespace cnnc {

// One dimension of a read that the loop slides over: at = place + offset + sign * index, where `place` is affine in
// outer loops and `offset` in [least, most] tells the elements of a tile apart.
struct Slide {
  Affine place;
  int sign = 1; // or -1
  int64_t least = 0, most = 0;
  int64_t extent = 0;
};

// The loop's index with the bounds in which some element of the tile is inside. `of_index`: what outer loops take.
void trim(Loop& loop, const Slide&, const std::function<Interval(int)>& of_index);

// Reads whose zero makes the whole term zero: the factors of a product.
void for_each_factor(const Expr& value, const std::function<void(const Expr& read)>& visit);

} // namespace cnnc
