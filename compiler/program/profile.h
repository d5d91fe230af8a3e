// Where a call's time goes, kernel by kernel.
//
//   line  kernel                  ms  share  GFLOP/s  of peak       bytes   GB/s  bound by
//      4  conv1, relu1, pool1  0.002   31 %       96     45 %     7.9 KiB    3.9  compute
#pragma once

#include "passes/target.h"
#include "runtime/model.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace cnnc {

struct KernelTime {
  std::string layers;
  int line = 0;
  double ms = 0;
  double operations = 0, bytes = 0;
};

// Of whole calls that nobody watches.
struct Times {
  std::vector<double> ms; // sorted

  double at(double part) const { return ms[static_cast<size_t>(part * static_cast<double>(ms.size() - 1) + 0.5)]; }
  double median() const { return at(0.5); }
  double minimum() const { return ms.front(); }
  double spread() const { return at(0.9) - at(0.1); }
};

struct Profile {
  Times times;
  std::vector<KernelTime>
      kernels; // their sum is the median's, but for what lies between kernels and the clock's own cost
};

// Calls `run` in turns with this network's threads and with threads that are watched, three times each at least, and as
// often as fits into twice the seconds; a tenth of that time before does not count.
Profile profile(const ModelThreads& threads, double seconds, const std::function<void(const cnn_threads*)>& run);

// Single calls, watched: milliseconds of each kernel, in the order in which the network has them.
class Watcher {
public:
  explicit Watcher(const ModelThreads&);
  ~Watcher();
  const std::vector<double>& call(const std::function<void(const cnn_threads*)>& run);
  const std::vector<KernelTime>& kernels() const; // of the last call

private:
  struct State;
  std::unique_ptr<State> state;
};

// What the threads do together; GB/s of what lies in each one's second-level cache, and of what lies in memory.
struct MachineRates {
  double gflops = 0, cache_rate = 0, memory_rate = 0;
  double cache_bytes = 0; // of all second-level caches used
};
// Measured here and now, by so many threads at once.
MachineRates measure_machine(const Target& target, int threads);

// What would take longest at the machine's rates: "compute", or reading the operands. They are said to come from "L2" if
// they fit in there or came clearly faster than memory gives them, else from "DRAM".
std::string_view bound_by(const KernelTime& kernel, const MachineRates& machine);

// A table as wide as `columns` (0: no limit), with the sum.
std::string profile_text(const std::vector<KernelTime>& kernels, const MachineRates& machine, int columns);

} // namespace cnnc
