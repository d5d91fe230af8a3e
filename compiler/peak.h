// What this machine can do, measured here and now: the yardstick beside every figure.
#pragma once

#include "passes/target.h"

#include <memory>

namespace cnnc {

// On one thread, by code of this compiler for `target`.
class Peak {
public:
  explicit Peak(const Target& target);
  ~Peak();
  Peak(Peak&&) noexcept;
  Peak& operator=(Peak&&) noexcept;

  // f32, independent chains of FMAs, some milliseconds of them; two operations each.
  double gflops() const;
  // Read from memory, far more than the caches hold. GB/s.
  double read_rate() const;

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace cnnc
