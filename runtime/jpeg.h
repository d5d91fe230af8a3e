// JPEG to pixels. Apart from image.cpp: libjpeg leaves by long jumps, over which no destructor may lie.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cnnc {

struct Pixels {
  int64_t height = 0, width = 0, channels = 1; // 1 or 3
  std::vector<uint8_t> bytes;                  // height * width * channels, channels innermost
};

// Throws Error unless there are between 1 and pixel_limit pixels.
void check_size(const Pixels&, const std::string& name);

// Without `bytes` where the size is refused: nothing is allocated before it is checked. Throws Error.
Pixels decode_jpeg(std::string_view bytes, const std::string& name);

} // namespace cnnc
