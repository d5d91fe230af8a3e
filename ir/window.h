// What convolutions and pools share: a window that slides over the last one, two or three dimensions of x.
//
//   size = (H + pad_top + pad_bottom - dilation_h*(KH - 1) - 1)/stride_h + 1
//
// Of x[N,C,W], x[N,C,H,W], x[N,C,D,H,W] the directions are w; h, w; d, h, w. In texts the taps along them are k, i, j.
#pragma once

#include "ir/op.h"

namespace cnnc {

struct Window {
  size_t rank = 2;
  bool has_weight =
      false;              // the kernel's extents are those of a weight, KD, KH, KW; else the attribute's, kernel_d, ...
  bool is_dilated = true; // the row has the attribute dilation
  bool rounds_up = false; // the row has the attribute ceil_mode

  // Of direction d, counted from the outermost.
  std::string extent(size_t d) const;
  std::string kernel(size_t d) const;
  std::string output(size_t d) const;

  // Pieces of texts for all directions, each after a comma: ",H,W", ",KH,KW", ",kernel_h,kernel_w", ",h,w", ",i,j".
  std::string extents() const;
  std::string kernels() const;
  std::string layer_kernels() const;
  std::string outputs() const;
  std::string indices() const;
  std::string taps() const;
  std::string places() const; // ", h*stride_h + i*dilation_h - pad_top, ..."
  // "h < ..., w < ...", "i < kernel_h, j < kernel_w"; `taps` for a window whose kernel has one of no name.
  std::string index_ranges() const;
  std::string tap_ranges() const;

  // `first`, and the window fits into the padded input.
  std::vector<CheckDef> fits(std::vector<CheckDef> first = {}) const;
  // ... and no window stands outside of the input: it would have no largest value, and no mean.
  std::vector<CheckDef> fits_and_touches() const;
  // The stride meets the end, or the last rows and columns are never looked at.
  std::vector<CheckDef> reaches_end() const;

  AttributeDef kernel_attribute(std::string doc) const;
  AttributeDef stride_attribute(AttributeValue default_value) const;
  AttributeDef padding_attribute(std::string doc) const;
  AttributeDef dilation_attribute() const;
  AttributeDef ceil_mode_attribute() const;
  // One number a direction, "stem_h", "stem_w".
  AttributeDef sizes_attribute(const std::string& stem, std::string doc) const;
};

AttributeDef groups_attribute();
AttributeDef bias_attribute(std::string doc);

} // namespace cnnc
