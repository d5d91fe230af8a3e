// What this machine can do, measured here and now: the yardstick beside every figure.
#pragma once

#include "passes/target.h"

#include <memory>

namespace cnnc {

// On so many threads at once, by code of this compiler for `target`: the sum of what each does.
class Peak {
public:
  explicit Peak(const Target& target, int threads = 1);
  ~Peak();
  Peak(Peak&&) noexcept;
  Peak& operator=(Peak&&) noexcept;

  // f32, independent chains of FMAs, some milliseconds of them; two operations each.
  double gflops() const;
  // Read, GB/s: what fits each thread's second-level cache, and far more than all caches hold.
  double cache_rate() const;
  double memory_rate() const;

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace cnnc
