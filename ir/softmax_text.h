// Texts over one axis: {all} stands for every subscript and {rest} for those beside the axis (n, c, i2, i3, ...).
#pragma once

#include "ir/op.h"

namespace cnnc {

// axis, 1 by default: the channels.
std::vector<AttributeDef> axis_attribute();
// Throws Error where there is no such axis.
MakeText along_axis(std::string text);

} // namespace cnnc
