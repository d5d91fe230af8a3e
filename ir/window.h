// What convolutions and pools share: a window that slides over the rows and columns of x[N,C,H,W].
//
//   size = (H + pad_top + pad_bottom - dilation_h*(KH - 1) - 1)/stride_h + 1
#pragma once

#include "ir/op.h"

namespace cnnc {

struct Window {
  std::string height, width; // symbols of the kernel's extents: "KH", "KW"
  bool is_dilated = true;    // the row has the attribute dilation

  std::string output_height() const;
  std::string output_width() const;
  // `first`, and the window fits into the padded input.
  std::vector<CheckDef> fits(std::vector<CheckDef> first = {}) const;
  // ... and no window stands outside of the input: it would have no largest value, and no mean.
  std::vector<CheckDef> fits_and_touches() const;
  // The stride meets the end, or the last rows and columns are never looked at.
  std::vector<CheckDef> reaches_end() const;
};

AttributeDef kernel_attribute(std::string doc);
AttributeDef stride_attribute(AttributeValue default_value);
AttributeDef padding_attribute(std::string doc);
AttributeDef dilation_attribute();

} // namespace cnnc
