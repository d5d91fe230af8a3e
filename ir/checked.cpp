#include "ir/checked.h"

namespace cnnc {

namespace {

std::optional<Affine> checked_combine(Affine a, const Affine& b, int64_t sign)
{
  auto constant = sign > 0 ? checked_add(a.constant, b.constant) : checked_sub(a.constant, b.constant);
  if (!constant)
    return {};
  for (const Affine::Term& term : b.terms) {
    int64_t factor = a.factor(term.index);
    auto sum = sign > 0 ? checked_add(factor, term.factor) : checked_sub(factor, term.factor);
    if (!sum)
      return {};
    a = a.without(term.index);
    a += Affine::of(term.index, *sum);
  }
  a.constant = *constant;
  return a;
}

} // namespace

std::optional<Affine> checked_add(const Affine& a, const Affine& b)
{
  return checked_combine(a, b, 1);
}

std::optional<Affine> checked_sub(const Affine& a, const Affine& b)
{
  return checked_combine(a, b, -1);
}

std::optional<Affine> checked_mul(const Affine& a, int64_t b)
{
  auto constant = checked_mul(a.constant, b);
  if (!constant)
    return {};
  Affine result = *constant;
  for (const Affine::Term& term : a.terms) {
    auto factor = checked_mul(term.factor, b);
    if (!factor)
      return {};
    result += Affine::of(term.index, *factor);
  }
  return result;
}

std::optional<Interval> checked_range(const Affine& a, const std::function<int64_t(int)>& extent)
{
  Interval result{a.constant, a.constant};
  for (const Affine::Term& term : a.terms) {
    auto span = checked_mul(term.factor, extent(term.index) - 1);
    if (!span)
      return {};
    int64_t& end = *span < 0 ? result.lo : result.hi;
    auto sum = checked_add(end, *span);
    if (!sum)
      return {};
    end = *sum;
  }
  return result;
}

} // namespace cnnc
