// Pictures: PNG, JPEG, PGM and PPM to bytes [C,H,W], and back to PNG.
#pragma once

#include "ir/tensor.h"

#include <string>
#include <string_view>

namespace cnnc {

enum class Channels : uint8_t {
  as_stored, // 1 for a gray picture, else 3
  gray,      // 1: 0.299 r + 0.587 g + 0.114 b (Rec. 601, as JPEG has it)
  rgb,       // 3
};

// The most pixels that a picture may have; a file that announces more is refused before they are allocated.
constexpr int64_t pixel_limit = int64_t{1} << 26;

// u8 [C,H,W]. The first bytes tell the format. Transparent parts lie on white; 16 bits become 8; a JPEG's orientation
// tag is not obeyed. Throws Error: none of these formats, damaged, truncated, too large.
Tensor decode_image(std::string_view bytes, const std::string& name, Channels);
Tensor read_image(const std::string& path, Channels = Channels::as_stored);

// From u8 [1,H,W] or [3,H,W].
std::string to_png(const Tensor& image);
void write_png(const std::string& path, const Tensor& image);

// u8 [C,H,W] to [C,height,width]: bilinear, antialiased where it shrinks (the filter that Pillow calls BILINEAR, and
// torchvision antialias=True).
Tensor resize(const Tensor& image, int64_t height, int64_t width);

} // namespace cnnc
