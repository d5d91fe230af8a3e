// Where buffers lie so that those which live at the same time do not overlap.
#pragma once

#include <cstdint>
#include <vector>

namespace cnnc {

constexpr int64_t alignment = 64; // bytes: a cache line, the widest vector

// Alive from the step `first` to the step `last`, both included: a step that reads one buffer and writes another has
// both.
struct Lifetime {
  int64_t bytes = 0;
  int first = 0, last = 0;
  int64_t offset = 0; // set by place_buffers
};

// First fit, largest first. Returns the bytes that hold them all. Throws Error where that overflows.
int64_t place_buffers(std::vector<Lifetime>&);

} // namespace cnnc
