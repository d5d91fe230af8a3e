#include "compiler/program/profile.h"

#include "compiler/peak.h"
#include "compiler/program/terminal.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>

namespace cnnc {

namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start)
{
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

struct Watched {
  std::vector<KernelTime> steps; // ms: of the running call
  std::vector<std::vector<double>> times;
  Clock::time_point start;

  static void step(void* context, const cnn_step_info* info, int is_done)
  {
    Watched& self = *static_cast<Watched*>(context);
    if (!is_done) {
      self.start = Clock::now();
      return;
    }
    const double took = ms_since(self.start);
    const auto number = static_cast<size_t>(info->number);
    if (number >= self.steps.size()) {
      self.steps.resize(number + 1);
      self.times.resize(number + 1);
    }
    KernelTime& step = self.steps[number];
    if (self.times[number].empty())
      step = {info->kernel, info->line, 0, info->operations, info->bytes};
    self.times[number].push_back(took);
  }
};

double median(std::vector<double>& times)
{
  const auto middle = times.begin() + static_cast<ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

} // namespace

std::vector<KernelTime> profile(const ModelThreads& threads, double seconds,
                                const std::function<void(const cnn_threads*)>& run)
{
  Watched watched;
  const cnn_observer observer{Watched::step, &watched};
  cnn_threads with = threads.get() ? *threads.get() : cnn_threads{};
  with.abi_version = CNN_ABI_VERSION;
  with.struct_size = sizeof(cnn_threads);
  with.count = threads.count();
  with.observer = &observer;
  const Clock::time_point begin = Clock::now();
  for (int calls = 0; calls < 3 || (ms_since(begin) < 1000 * seconds && calls < 1000); ++calls)
    run(&with);

  // The loops of one kernel are steps behind each other.
  std::vector<KernelTime> kernels;
  for (size_t i = 0; i < watched.steps.size(); ++i) {
    KernelTime step = watched.steps[i];
    step.ms = median(watched.times[i]);
    if (!kernels.empty() && kernels.back().layers == step.layers && kernels.back().line == step.line) {
      kernels.back().ms += step.ms;
      kernels.back().operations += step.operations;
      kernels.back().bytes += step.bytes;
    } else
      kernels.push_back(std::move(step));
  }
  return kernels;
}

MachineRates measure_machine(const Target& target, int threads)
{
  const Peak peak(target);
  MachineRates rates;
  for (int i = 0; i < 5; ++i) {
    rates.gflops = std::max(rates.gflops, peak.gflops() * threads);
    rates.read_rate = std::max(rates.read_rate, peak.read_rate());
  }
  return rates;
}

std::string_view bound_by(const KernelTime& kernel, const MachineRates& machine)
{
  if (kernel.operations / machine.gflops >= kernel.bytes / machine.read_rate)
    return "compute";
  return kernel.bytes > kernel.ms * machine.read_rate * 1e6 ? "cache" : "memory";
}

std::string profile_text(const std::vector<KernelTime>& kernels, const MachineRates& machine, int columns)
{
  Table table;
  table.add_column("line", true, 60);
  table.add_column("kernel", false, 100);
  table.add_column("ms", true, 90);
  table.add_column("share", true, 80);
  table.add_column("GFLOP/s", true, 70);
  table.add_column("of peak", true, 50);
  table.add_column("bytes", true, 40);
  table.add_column("GB/s", true, 30);
  table.add_column("bound by", false, 20);
  double sum = 0, operations = 0, bytes = 0;
  for (const KernelTime& kernel : kernels) {
    sum += kernel.ms;
    operations += kernel.operations;
    bytes += kernel.bytes;
  }
  const auto add = [&](const std::string& line, const std::string& name, const KernelTime& k, std::string_view bound) {
    const double gflops = k.ms > 0 ? k.operations / k.ms * 1e-6 : 0;
    const bool computes = k.operations > 0;
    table.add_row({line, name, fmt::format("{:.4f}", k.ms), fmt::format("{:.0f} %", 100 * k.ms / sum),
                   computes ? fmt::format("{:.1f}", gflops) : "",
                   computes ? fmt::format("{:.0f} %", 100 * gflops / machine.gflops) : "",
                   bytes_text(static_cast<int64_t>(k.bytes)),
                   k.ms > 0 ? fmt::format("{:.1f}", k.bytes / k.ms * 1e-6) : "", std::string(bound)});
  };
  for (const KernelTime& kernel : kernels) {
    // Long lists of layers would push all else out of the terminal.
    const std::string name = kernel.layers.size() > 40 ? kernel.layers.substr(0, 37) + "..." : kernel.layers;
    add(kernel.line > 0 ? std::to_string(kernel.line) : "", name, kernel, bound_by(kernel, machine));
  }
  table.add_rule();
  add("", "sum", {"", 0, sum, operations, bytes}, "");
  return table.text(columns) +
         fmt::format(
             "\nMeasured beside it: {:.0f} GFLOP/s of FMAs, {:.1f} GB/s read from memory. Bytes: each operand of a "
             "kernel once.\n",
             machine.gflops, machine.read_rate);
}

} // namespace cnnc
