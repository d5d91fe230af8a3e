// A bound formula as the attributes of a `formula` op: what derived and rewritten formulas become in the graph.
#pragma once

#include "ir/op.h"

namespace cnnc {

// inputs = ["dy[N,x1]:f32", ...], outputs = ["dx[N,28,28]:f32"], text = the statements. Operands are the formula's
// inputs, in order. Throws InternalError where an output has the batch and no input has: nobody would know it then.
Attributes attributes_of(const Formula&);

} // namespace cnnc
