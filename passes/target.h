// The machine that code is made for, as plain numbers: passes see this and nothing of LLVM.
#pragma once

#include "ir/location.h"

#include <cstdint>
#include <limits>
#include <map>
#include <string>

namespace cnnc {

// A schedule that was measured, and the place where it is written.
struct TunedSchedule {
  std::string text;
  Location where;
};

struct Target {
  std::string march = "native"; // as the user wrote it
  std::string cpu, features;    // for LLVM; set by the compiler
  int64_t vector_bytes = 64;    // 64 AVX-512, 32 AVX2, 16 SSE
  int64_t unit_bytes = 64;      // what one of its units takes at a time: wider vectors go through in parts
  int vector_registers = 32;
  bool fma = true;
  bool masks = true;     // masked loads and stores cost nothing
  bool dot_bf16 = false; // sums of two products of bf16 numbers in each 32-bit lane
  bool dot_i8 = false;   // of four products of u8 and i8
  // Of the caches that one core sees; the host's own for it, these for a machine that has only a name.
  int64_t l1_bytes = 32 << 10, l2_bytes = 1 << 20, l3_bytes = 32 << 20;
  // Bytes a cycle that one core reads: from the second and the third cache, from memory. Within a quarter the same on
  // the machines that were measured (Zen 3, 4 and 5).
  static constexpr double l2_rate = 32, l3_rate = 24, memory_rate = 6;
  std::map<std::string, TunedSchedule, std::less<>> tuned; // by nest: instead of what the model above would choose
  // What the user asks for.
  int64_t winograd_tile = 4; // rows and columns that a tile of 3 x 3 taps makes; 0: every convolution stays direct
  int64_t winograd_bytes = std::numeric_limits<int64_t>::max(); // that all weights in tiles may take
  // How large weights come fastest from memory: several rows of lines side by side, each followed by a prefetcher of its
  // own (Zen 3: 24.7 GB/s in three rows, 16.5 in one run), or one run, asked for ahead (Zen 4 with vectors of a whole
  // line: 30.5 in six rows, 32.7 in one run).
  bool reads_in_rows() const { return vector_bytes < 64; }
  // A load of some lanes costs what a whole one does.
  bool masks_loads(int64_t element_bytes) const { return masks || (vector_bytes >= 32 && element_bytes >= 4); }
  int64_t lanes(int64_t element_bytes) const { return vector_bytes / element_bytes; }
};

} // namespace cnnc
