#include "compiler/program/profile.h"

#include "compiler/peak.h"
#include "compiler/program/terminal.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <numeric>

namespace cnnc {

namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start)
{
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// The steps of the running call, in the order in which they run.
struct Watched {
  std::vector<KernelTime> steps;
  std::vector<double> ms;
  Clock::time_point start;

  void start_call() { std::fill(ms.begin(), ms.end(), 0); }

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
      self.ms.resize(number + 1);
    }
    if (self.steps[number].layers.empty())
      self.steps[number] = {info->kernel, info->line, 0, info->operations, info->bytes};
    self.ms[number] += took; // it may come again, for the next image
  }
};

// Of each step, the mean over the calls around the median one: medians of their own would leave out of the sum what now
// this step suffers, now that.
std::vector<double> means_of_middle(std::vector<std::vector<double>>& calls)
{
  const auto sum_of = [](const std::vector<double>& call) { return std::accumulate(call.begin(), call.end(), 0.0); };
  std::sort(calls.begin(), calls.end(), [&](const auto& a, const auto& b) { return sum_of(a) < sum_of(b); });
  const size_t from = calls.size() * 2 / 5, to = calls.size() - from;
  std::vector<double> means(calls.front().size());
  for (size_t call = from; call < to; ++call)
    for (size_t i = 0; i < means.size(); ++i)
      means[i] += calls[call][i] / static_cast<double>(to - from);
  return means;
}

// The loops of one kernel are steps behind each other.
std::vector<KernelTime> joined(const std::vector<KernelTime>& steps, const std::vector<double>& ms)
{
  std::vector<KernelTime> kernels;
  for (size_t i = 0; i < steps.size(); ++i) {
    KernelTime step = steps[i];
    step.ms = ms[i];
    if (!kernels.empty() && kernels.back().layers == step.layers && kernels.back().line == step.line) {
      kernels.back().ms += step.ms;
      kernels.back().operations += step.operations;
      kernels.back().bytes += step.bytes;
    } else
      kernels.push_back(std::move(step));
  }
  return kernels;
}

} // namespace

Profile profile(const ModelThreads& threads, double seconds, const std::function<void(const cnn_threads*)>& run)
{
  constexpr size_t most_calls = 1000000, most_watched = 1000;
  Watched watched;
  const cnn_observer observer{Watched::step, &watched};
  cnn_threads with = threads.get() ? *threads.get() : cnn_threads{};
  with.abi_version = CNN_ABI_VERSION;
  with.struct_size = sizeof(cnn_threads);
  with.count = threads.count();
  with.observer = &observer;
  const Clock::time_point warm = Clock::now();
  do {
    run(threads.get());
    run(&with);
  } while (ms_since(warm) < 200 * seconds);
  Profile result;
  std::vector<double>& whole = result.times.ms;
  std::vector<std::vector<double>> calls;
  const Clock::time_point begin = Clock::now();
  while (whole.size() < 3 || (ms_since(begin) < 2000 * seconds && whole.size() < most_calls)) {
    const Clock::time_point start = Clock::now();
    run(threads.get());
    whole.push_back(ms_since(start));
    if (calls.size() == most_watched)
      continue;
    watched.start_call();
    run(&with);
    calls.push_back(watched.ms);
  }
  std::sort(whole.begin(), whole.end());
  result.kernels = joined(watched.steps, means_of_middle(calls));
  return result;
}

struct Watcher::State {
  Watched watched;
  cnn_observer observer{Watched::step, &watched};
  cnn_threads threads{};
  std::vector<KernelTime> kernels;
  std::vector<double> ms;
};

Watcher::Watcher(const ModelThreads& threads) : state(std::make_unique<State>())
{
  if (threads.get())
    state->threads = *threads.get();
  state->threads.abi_version = CNN_ABI_VERSION;
  state->threads.struct_size = sizeof(cnn_threads);
  state->threads.count = threads.count();
  state->threads.observer = &state->observer;
}

Watcher::~Watcher() = default;

const std::vector<double>& Watcher::call(const std::function<void(const cnn_threads*)>& run)
{
  state->watched.start_call();
  run(&state->threads);
  state->kernels = joined(state->watched.steps, state->watched.ms);
  state->ms.clear();
  for (const KernelTime& kernel : state->kernels)
    state->ms.push_back(kernel.ms);
  return state->ms;
}

const std::vector<KernelTime>& Watcher::kernels() const
{
  return state->kernels;
}

MachineRates measure_machine(const Target& target, int threads)
{
  const Peak peak(target, threads);
  MachineRates rates;
  rates.cache_bytes = static_cast<double>(target.l2_bytes) * threads;
  for (int i = 0; i < 5; ++i) {
    rates.gflops = std::max(rates.gflops, peak.gflops());
    rates.cache_rate = std::max(rates.cache_rate, peak.cache_rate());
    rates.memory_rate = std::max(rates.memory_rate, peak.memory_rate());
  }
  return rates;
}

std::string_view bound_by(const KernelTime& kernel, const MachineRates& machine)
{
  constexpr double clearly = 1.25; // the memory's rate changes from moment to moment
  const double memory_ms = kernel.bytes / (machine.memory_rate * 1e6);
  const bool is_cached = kernel.bytes <= machine.cache_bytes || memory_ms > clearly * kernel.ms;
  const double rate = is_cached ? machine.cache_rate : machine.memory_rate;
  if (kernel.operations / machine.gflops >= kernel.bytes / rate)
    return "compute";
  return is_cached ? "L2" : "DRAM";
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
  return table.text(columns) + fmt::format("\nMeasured beside it: {:.0f} GFLOP/s of FMAs, {:.0f} GB/s read from L2, "
                                           "{:.1f} GB/s from DRAM. Bytes: each "
                                           "operand of a kernel once.\n",
                                           machine.gflops, machine.cache_rate, machine.memory_rate);
}

} // namespace cnnc
