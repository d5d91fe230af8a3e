// Arithmetic in a network file, over the parameters of a block.
//
//   {filters: 4*channels, stride: stride, padding: kernel//2}    with channels = 64, stride = 2, kernel = 3
//     =>  {filters: 256, stride: 2, padding: 1}
//
// + - * /, // (rounded down), %, comparisons, and, or, not, parentheses. Whole numbers stay whole: a / is one where it
// leaves no rest. A scalar is an expression where it names a parameter, or is arithmetic on numbers alone ("1/255");
// what stands in quotes never is. A parameter that stands alone may be anything: a word, a list.
#pragma once

#include "compiler/yaml_document.h"

#include <map>

namespace cnnc {

// Values have been evaluated: nothing in them is looked up again.
using Parameters = std::map<std::string, YamlPtr, std::less<>>;

// The node with every expression in it replaced by its value, at its own place. Nodes without one are shared, not
// copied. Throws Error in the scalar: an unknown parameter, a syntax error, division by zero, overflow.
YamlPtr evaluated(const YamlPtr&, const Parameters&);

} // namespace cnnc
