#include "compiler/peak.h"

#include "compiler/compile_nest.h"
#include "compiler/jit.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>

namespace cnnc {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int steps = 100000;
constexpr int64_t memory_bytes = int64_t{256} << 20;

RegionFunction* compiled(Jit& jit, const char* name, const std::string& text, const Target& target)
{
  const Nest nest = parse_nest(std::make_shared<Source>(Source{name, text}));
  const CompiledNest code = compile_nest(nest, target);
  jit.add(code.bytes);
  return jit.find<RegionFunction>(code.regions[0].symbol);
}

// `times` over so many floats, in eight independent sums, in so many rows side by side.
std::string reading(const char* name, int64_t floats, int64_t times, int64_t lanes, int64_t rows)
{
  return fmt::format("nest @{0}(in %x: f32[{5},{1}], out %y: f32[8,{2}]) {{\n"
                     "  registers %acc: f32[8,{2}]\n"
                     "  for point in 0..1 {{\n"
                     "    unroll a in 0..8 {{ lanes l in 0..{2} {{ %acc[a,l] = 0 }} }}\n"
                     "    for t in 0..{3} {{ for i in 0..{1} step {4} {{ unroll r in 0..{5}, a in 0..{6} {{ "
                     "lanes l in 0..{2} {{ %acc[{6}*r + a,l] += %x[r,i + {2}*a + l] }} }} }} }}\n"
                     "    unroll a in 0..8 {{ lanes l in 0..{2} {{ %y[a,l] = %acc[a,l] }} }}\n"
                     "  }}\n}}\n",
                     name, floats / rows, lanes, times, 8 / rows * lanes, rows, 8 / rows);
}

} // namespace

struct Peak::State {
  State(const Target& target, int threads)
      : threads(static_cast<size_t>(threads)),
        lanes(target.lanes(4)),
        chains(std::min(target.vector_registers - 4, 24)),
        // A part of a cache that the caller's stack and the code leave alone.
        cache_floats(std::max<int64_t>(1, target.l2_bytes / 4 * 3 / 4 / (8 * lanes)) * 8 * lanes),
        // An odd number of lines from row to row: banks of memory, like sets of a cache, are found by lower bits.
        memory_floats((memory_bytes / threads / 4 / (64 * lanes) * 2 - 1) * 32 * lanes)
  {
    // As many independent chains as registers allow: enough to hide an FMA's latency.
    fma = compiled(jit, "peak",
                   fmt::format("nest @peak(in %x: f32[64], in %r: f32[1], out %y: f32[{0},{1}]) {{\n"
                               "  registers %acc: f32[{0},{1}]\n"
                               "  for point in 0..1 {{\n"
                               "    unroll a in 0..{0} {{ lanes l in 0..{1} {{ %acc[a,l] = 0 }} }}\n"
                               "    for i in 0..{2} {{ unroll a in 0..{0} {{ lanes l in 0..{1} {{ %acc[a,l] += %x[l] * "
                               "%r[0] }} }} }}\n"
                               "    unroll a in 0..{0} {{ lanes l in 0..{1} {{ %y[a,l] = %acc[a,l] }} }}\n"
                               "  }}\n}}\n",
                               chains, lanes, steps),
                   target);
    read_cache = compiled(jit, "read_cache", reading("read_cache", cache_floats, cache_times, lanes, 1), target);
    // Which is faster depends on the machine's prefetchers.
    read_memory = compiled(jit, "read_memory", reading("read_memory", memory_floats, 1, lanes, 1), target);
    read_rows = compiled(jit, "read_rows", reading("read_rows", memory_floats, 1, lanes, 4), target);
    y.resize(this->threads, std::vector<float>(static_cast<size_t>(std::max<int64_t>(chains, 8) * lanes)));
  }

  // The sum of what the threads do of `work` in a second, from the moment when all are there.
  double rate(double work, RegionFunction* run, const std::vector<void*>& operands)
  {
    std::atomic<size_t> there = 0;
    std::vector<double> rates(threads);
    const auto part = [&](size_t thread) {
      std::vector<void*> arguments(operands);
      if (run == read_memory || run == read_rows)
        arguments[0] = static_cast<float*>(arguments[0]) + static_cast<int64_t>(thread) * memory_floats;
      arguments.push_back(y[thread].data());
      for (there++; there < threads;)
        std::this_thread::yield();
      const Clock::time_point from = Clock::now();
      run(arguments.data(), 1, nullptr, 0, 1);
      rates[thread] = work / std::chrono::duration<double>(Clock::now() - from).count();
    };
    std::vector<std::thread> others;
    for (size_t thread = 1; thread < threads; ++thread)
      others.emplace_back(part, thread);
    part(0);
    for (std::thread& other : others)
      other.join();
    return std::accumulate(rates.begin(), rates.end(), 0.0);
  }

  void* read_from() // made when it is first read
  {
    if (large.empty())
      large.assign(memory_bytes / 4, 1.0f);
    return large.data();
  }

  static constexpr int64_t cache_times = 200;
  size_t threads;
  int64_t lanes;
  int chains;
  int64_t cache_floats, memory_floats;
  Jit jit;
  RegionFunction *fma = nullptr, *read_cache = nullptr, *read_memory = nullptr, *read_rows = nullptr;
  std::vector<float> x = std::vector<float>(64, 1.0f), r = std::vector<float>(1, 1e-9f), large;
  std::vector<std::vector<float>> y; // of each thread
};

Peak::Peak(const Target& target, int threads) : state(std::make_unique<State>(target, threads)) {}
Peak::~Peak() = default;
Peak::Peak(Peak&&) noexcept = default;
Peak& Peak::operator=(Peak&&) noexcept = default;

double Peak::gflops() const
{
  const double operations = 2.0 * state->chains * static_cast<double>(state->lanes) * steps;
  return state->rate(operations, state->fma, {state->x.data(), state->r.data()}) * 1e-9;
}

double Peak::cache_rate() const
{
  const double bytes = 4.0 * static_cast<double>(state->cache_floats * State::cache_times);
  return state->rate(bytes, state->read_cache, {state->read_from()}) *
         1e-9; // all read the same: each has it in its cache
}

double Peak::memory_rate() const
{
  const double bytes = 4.0 * static_cast<double>(state->memory_floats);
  return std::max(state->rate(bytes, state->read_memory, {state->read_from()}),
                  state->rate(bytes, state->read_rows, {state->read_from()})) *
         1e-9;
}

} // namespace cnnc
