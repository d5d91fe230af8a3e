// Counter-based random numbers: the same (key, counter) gives the same number, on every machine and in every thread.
//
// Squares, four rounds (Widynski, "Squares: A Fast Counter-Based RNG", arXiv 2004.06278, section 2): x = counter * key,
// y = x, z = y + key; three times x = rotate32(x*x + y or z), the last one shifted. The key of a seed has irregular bits
// and an odd last one: it comes from seed_key().
#pragma once

#include <cstdint>

namespace cnnc {

constexpr uint64_t seed_key(uint64_t seed)
{
  // splitmix64's finaliser (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014)
  uint64_t z = seed + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (z ^ (z >> 31)) | 1;
}

constexpr uint32_t random_bits(uint64_t key, uint64_t counter)
{
  uint64_t x = counter * key, y = x, z = y + key;
  x = x * x + y;
  x = (x >> 32) | (x << 32);
  x = x * x + z;
  x = (x >> 32) | (x << 32);
  x = x * x + y;
  x = (x >> 32) | (x << 32);
  return static_cast<uint32_t>((x * x + z) >> 32);
}

// [0, 1), 24 bits: exact in f32.
constexpr double random_unit(uint64_t key, uint64_t counter)
{
  return (random_bits(key, counter) >> 8) * 0x1p-24;
}

} // namespace cnnc
