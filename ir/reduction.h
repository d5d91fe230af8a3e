// Texts of reductions over some axes. {all} stands for the operand's subscripts, {kept} for the result's and {count}
// for the number of elements that become one:
//
//   y[{kept}] += x[{all}]        x: f32[n,3,8,8], axes = [2, 3]   =>   y[i0,i1,0,0] += x[i0,i1,i2,i3]
#pragma once

#include "ir/op.h"

namespace cnnc {

// axes (none: all but the batch) and keep_dims.
std::vector<AttributeDef> reduction_attributes();
// axis and keep_dims.
std::vector<AttributeDef> arg_reduction_attributes();

// The axes that the attributes name; the row has one of the two lists. Throws Error for axes that are not there.
std::vector<size_t> reduced_axes(const OpCall&);
// The result's shape.
Shape reduced_shape(const OpCall&);
Dim reduced_count(const OpCall&); // elements that one result is made of
// The result's subscripts, where the operand's are `all`.
std::vector<std::string> kept_subscripts(const OpCall&, const std::vector<std::string>& all);

std::string reduction_text(const OpCall&, std::string_view text);
MakeText reduction(std::string text);

} // namespace cnnc
