// IEEE 754 binary16 to f32, exactly.
#pragma once

#include <bit>
#include <cstdint>

namespace cnnc {

constexpr float half_to_float(uint16_t half)
{
  uint32_t sign = uint32_t{half & 0x8000u} << 16;
  uint32_t exponent = (half >> 10) & 31u;
  uint32_t fraction = half & 1023u;
  if (exponent == 31)
    return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent != 0)
    return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  float tiny = static_cast<float>(fraction) * 0x1p-24f; // subnormal: fraction * 2^-24
  return sign ? -tiny : tiny;
}

} // namespace cnnc
