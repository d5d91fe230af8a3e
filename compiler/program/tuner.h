// Schedules by measurement: the planner's model is right about most kernels, and a clock about all of them.
//
//   network ─ lower ─▶ canonical nests ─ candidates ─▶ one text for each nest ─ compile ─▶ the whole network, in turns
//                                             ▲                                            with the planned one
//                                             └──────── per kernel: clearly faster? ◀──────┘
//
// Kernels are timed where they run, inside calls of the whole network: what the caches hold is what they will hold. A
// round compiles the network with another schedule for every kernel that counts and has one left. What won by more than
// the noise is compiled together, measured a second time, and held against the interpreter; and the whole network has to
// be faster in the end, or nothing is kept.
#pragma once

#include "compiler/compile.h"
#include <atomic>

#include <functional>

namespace cnnc {

struct TuneOptions {
  CompileOptions compile;
  int64_t batch = 1;
  int threads = 1;
  double seconds = 60;                         // in all, compiling included
  std::string weights;                         // as in runtime/weights.h
  std::function<void(const std::string&)> say; // what is going on, a line
  const std::atomic<bool>* interrupt = nullptr;
};

struct TunedKernel {
  std::string nest, layers, schedule;
  double planned_ms = 0, ms = 0; // of all kernels that share the nest
};

struct TuneResult {
  std::vector<TunedKernel> kernels; // that are faster, in the network's order
  Target target;
  size_t all_kernels = 0;
  int rounds = 0, schedules = 0; // tried
  double planned_ms = 0, ms = 0; // of a whole call; equal where nothing is kept
  double ratio = 1;              // of the whole call with all winners to the planned one
  bool is_whole_faster = true;   // or what single kernels won is lost elsewhere
  bool was_interrupted = false;
};

// Throws Error: below -O2 there are no schedules; the code is for another machine; weights that do not fit.
TuneResult tune(const Network&, const TuneOptions&);

} // namespace cnnc
