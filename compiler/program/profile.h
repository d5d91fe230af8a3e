// Where a call's time goes, kernel by kernel.
//
//   line  kernel                  ms  share  GFLOP/s  of peak       bytes   GB/s  bound by
//      4  conv1, relu1, pool1  0.002   31 %       96     45 %     7.9 KiB    3.9  compute
#pragma once

#include "passes/target.h"
#include "runtime/model.h"

#include <functional>
#include <string>
#include <vector>

namespace cnnc {

struct KernelTime {
  std::string layers;
  int line = 0;
  double ms = 0; // the median of the calls
  double operations = 0, bytes = 0;
};

// Calls `run` with threads that are watched, as often as fits into the seconds, three times at least.
std::vector<KernelTime> profile(const ModelThreads& threads, double seconds,
                                const std::function<void(const cnn_threads*)>& run);

struct MachineRates {
  double gflops = 0, read_rate = 0; // of all the threads used; GB/s
};
// Measured on this thread; the rate of FMAs is taken times the threads.
MachineRates measure_machine(const Target& target, int threads);

// "compute" or "memory": which of the two would take longer at the machine's rates; "cache" for operands that came
// faster than memory gives them.
std::string_view bound_by(const KernelTime& kernel, const MachineRates& machine);

// A table as wide as `columns` (0: no limit), with the sum.
std::string profile_text(const std::vector<KernelTime>& kernels, const MachineRates& machine, int columns);

} // namespace cnnc
