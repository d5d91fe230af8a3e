// Integer arithmetic on numbers that a user may have written: nothing wraps around.
#pragma once

#include "ir/affine.h"

#include <optional>

namespace cnnc {

inline std::optional<int64_t> checked_add(int64_t a, int64_t b)
{
  int64_t r;
  return __builtin_add_overflow(a, b, &r) ? std::nullopt : std::optional(r);
}
inline std::optional<int64_t> checked_sub(int64_t a, int64_t b)
{
  int64_t r;
  return __builtin_sub_overflow(a, b, &r) ? std::nullopt : std::optional(r);
}
inline std::optional<int64_t> checked_mul(int64_t a, int64_t b)
{
  int64_t r;
  return __builtin_mul_overflow(a, b, &r) ? std::nullopt : std::optional(r);
}

std::optional<Affine> checked_add(const Affine& a, const Affine& b);
std::optional<Affine> checked_sub(const Affine& a, const Affine& b);
std::optional<Affine> checked_mul(const Affine& a, int64_t b);
// The values of `a` while index i runs over 0 .. extent(i) - 1; nothing where that overflows. Extents are at least 1.
std::optional<Interval> checked_range(const Affine& a, const std::function<int64_t(int)>& extent);

} // namespace cnnc
