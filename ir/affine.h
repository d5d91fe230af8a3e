// constant + sum of factor * index: every subscript, every loop bound.
//
// An index is a number that its owner (a Statement, a Nest) gives a name and a range. `batch_index` stands for n, the
// batch, in loop bounds.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace cnnc {

constexpr int batch_index = -1;

struct Affine {
  struct Term {
    int index;
    int64_t factor;
    friend bool operator==(const Term&, const Term&) = default;
  };

  int64_t constant = 0;
  std::vector<Term> terms; // by index, ascending; no factor is zero

  Affine() = default;
  Affine(int64_t constant) : constant(constant) {}
  static Affine of(int index, int64_t factor = 1);

  bool is_constant() const { return terms.empty(); }
  int64_t factor(int index) const; // 0 where it does not occur
  bool uses(int index) const { return factor(index) != 0; }
  // The index i where this is exactly `i`, else -2.
  int bare() const;
  Affine without(int index) const;

  Affine& operator+=(const Affine&);
  Affine& operator-=(const Affine&);
  Affine& operator*=(int64_t);
  friend Affine operator+(Affine a, const Affine& b) { return a += b; }
  friend Affine operator-(Affine a, const Affine& b) { return a -= b; }
  friend Affine operator*(Affine a, int64_t b) { return a *= b; }
  friend bool operator==(const Affine&, const Affine&) = default;
};

// `a` with `by` in the place of `index`.
Affine substitute(const Affine& a, int index, const Affine& by);
// Every index renumbered.
Affine renumber(const Affine& a, const std::function<int(int)>& to);

// Bounds, both inclusive.
struct Interval {
  int64_t lo = 0;
  int64_t hi = 0;
};
// What values `a` takes while every index stays in its interval.
Interval range(const Affine& a, const std::function<Interval(int)>& of_index);
int64_t evaluate(const Affine& a, const std::function<int64_t(int)>& of_index);

// "2*h + i - 1"; names come from the owner.
std::string to_string(const Affine& a, const std::function<std::string(int)>& name);

// Quotients that round towards minus infinity, also below zero.
constexpr int64_t floor_div(int64_t a, int64_t b)
{
  return a / b - ((a % b != 0 && (a % b < 0) != (b < 0)) ? 1 : 0);
}
constexpr int64_t ceil_div(int64_t a, int64_t b)
{
  return -floor_div(-a, b);
}

} // namespace cnnc
