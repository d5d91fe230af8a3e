// Small gray pictures as text, to be looked at in a terminal.
#pragma once

#include "ir/tensor.h"

#include <string>
#include <vector>

namespace cnnc {

// Lines of `columns` characters. A character covers one pixel across and two down (it is twice as high as wide); the
// picture is resized where it has another width. Bright pixels are drawn densely: in blocks of five shades, or in
// ASCII. `gray` is u8 [1,H,W].
std::vector<std::string> ascii_image(const Tensor& gray, int64_t columns, bool utf8);

struct Picture {
  Tensor gray;
  std::vector<std::string> caption; // lines below it, cut to its width
};
// Pictures beside each other, as many as fit into `width` characters, then the next row. Each is `columns` wide.
std::string picture_rows(const std::vector<Picture>& pictures, int64_t columns, int64_t width, bool utf8);

} // namespace cnnc
