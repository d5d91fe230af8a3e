// What convolutions and pools say of their windows: kernel_shape, strides, dilations, pads and auto_pad as numbers.
#pragma once

#include "compiler/onnx/node.h"

namespace cnnc {

struct OnnxWindow {
  std::vector<int64_t> kernel, stride, dilation;
  std::vector<int64_t> padding; // before each dimension, then behind each
  std::string auto_pad;         // NOTSET, VALID, SAME_UPPER, SAME_LOWER
  bool ceil_mode = false;       // of the attribute; where auto_pad says the size it says nothing

  // `weight`: of a convolution, whose last dimensions are the kernel; empty: kernel_shape must be given. `resolve`:
  // SAME_... becomes padding by the rule of a window that reads (not of one that writes, a transposed convolution's).
  OnnxWindow(const OnnxCall&, const Shape& weight, bool resolve = true);

  std::string row(const std::string& stem) const; // "conv" => "conv2d"
};

} // namespace cnnc
