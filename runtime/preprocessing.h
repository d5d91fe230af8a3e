// A picture as a network wants it: what the network's file says under `input:`.
//
//   picture ─▶ shorter side to `resize` ─▶ the middle, of the network's size ─▶ channels in `order`
//           ─▶ (pixel * scale - mean) / std ─▶ f32 [C,H,W]
#pragma once

#include "ir/tensor.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cnnc {

enum class ChannelOrder : uint8_t { rgb, bgr, gray };
std::string_view to_string(ChannelOrder);

struct Preprocessing {
  // Pixels of the shorter side, proportions kept; 0: the whole picture is brought to the network's rows and columns,
  // whatever its proportions.
  int64_t resize = 0;
  // Rows and columns that are cut out of the middle: those of the network's input, 0 where nothing is cut.
  int64_t crop_rows = 0, crop_columns = 0;
  ChannelOrder order = ChannelOrder::rgb; // gray where the input has one channel
  double scale = 1.0 / 255;               // a pixel is between 0 and 255 before it
  std::vector<double> mean = {0};         // one, or one a channel in the network's order; after `scale`
  std::vector<double> std = {1};          // likewise

  friend bool operator==(const Preprocessing&, const Preprocessing&) = default;
};

// Where the file says nothing of an input [C,H,W] (without the batch): 0 ... 1, gray for one channel.
Preprocessing default_preprocessing(const std::vector<int64_t>& dims);

// Can pictures be read into [C,H,W]: one channel (gray) or three?
bool takes_pictures(const std::vector<int64_t>& dims);

// The bytes of a picture as the network's size and order have them: u8 [C,H,W] of 1 or 3 channels (rgb) to u8 `dims`.
Tensor fit_picture(const Tensor& picture, const Preprocessing&, const std::vector<int64_t>& dims);

// u8 [C,H,W] of 1 or 3 channels (rgb) to f32 `dims`. Throws Error where `dims` are no picture's.
Tensor preprocess(const Tensor& picture, const Preprocessing&, const std::vector<int64_t>& dims);

} // namespace cnnc
