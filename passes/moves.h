// Ops that compute nothing: runs of a tensor's channels that come to stand elsewhere.
//
//   concat   y[n, off + c, h, w] = x[n,c,h,w]        off: the channels of the operands before
//   split    y[n,c,h,w] = x[n, begin + c, h, w]
#pragma once

#include "ir/graph.h"

namespace cnnc {

// Elements from, from + 1, ... of the operand's dimension 1 become to, to + 1, ... of the result's, `size` of them.
struct Move {
  int operand; // value
  int64_t from, to, size;
};

// Behind each other along the result, all of which they fill; none where the op is anything else. The first dimension
// is the batch.
std::vector<Move> moves_of(const Graph&, const Op&);

// Everything that the op moves lies there already: see Value::whole.
bool is_in_place(const Graph&, const Op&);

// The value whose memory this one lies in: itself, if that is its own.
int whole_of(const Graph&, int value);
// Why the value, which has a layout, cannot lie at `at` of the other's dimension 1, whatever their borders; or nothing.
std::string why_apart(const Graph&, int value, int whole, int64_t at);
// The layouts of `parts` and their whole, with the widest border that one of them wants.
void lay_parts(Graph&, int whole, const std::vector<int>& parts);

} // namespace cnnc
