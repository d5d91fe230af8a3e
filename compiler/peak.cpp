#include "compiler/peak.h"

#include "compiler/compile_nest.h"
#include "compiler/jit.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace cnnc {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int steps = 100000;
constexpr int64_t read_bytes = int64_t{256} << 20;

RegionFunction* compiled(Jit& jit, const char* name, const std::string& text, const Target& target)
{
  const Nest nest = parse_nest(std::make_shared<Source>(Source{name, text}));
  const CompiledNest code = compile_nest(nest, target);
  jit.add(code.bytes);
  return jit.find<RegionFunction>(code.regions[0].symbol);
}

double seconds(RegionFunction* run, void* const* arguments)
{
  const Clock::time_point from = Clock::now();
  run(arguments, 1, nullptr, 0, 1);
  return std::chrono::duration<double>(Clock::now() - from).count();
}

} // namespace

struct Peak::State {
  explicit State(const Target& target) : lanes(target.lanes(4)), chains(std::min(target.vector_registers - 4, 24))
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
    read = compiled(jit, "read",
                    fmt::format("nest @read(in %x: f32[{0}], out %y: f32[8,{1}]) {{\n"
                                "  registers %acc: f32[8,{1}]\n"
                                "  for point in 0..1 {{\n"
                                "    unroll a in 0..8 {{ lanes l in 0..{1} {{ %acc[a,l] = 0 }} }}\n"
                                "    for i in 0..{0} step {2} {{ unroll a in 0..8 {{ lanes l in 0..{1} {{ %acc[a,l] += "
                                "%x[i + {1}*a + l] }} }} }}\n"
                                "    unroll a in 0..8 {{ lanes l in 0..{1} {{ %y[a,l] = %acc[a,l] }} }}\n"
                                "  }}\n}}\n",
                                read_bytes / 4, lanes, 8 * lanes),
                    target);
    y.resize(static_cast<size_t>(std::max<int64_t>(chains, 8) * lanes));
  }

  int64_t lanes;
  int chains;
  Jit jit;
  RegionFunction *fma = nullptr, *read = nullptr;
  std::vector<float> x = std::vector<float>(64, 1.0f), r = std::vector<float>(1, 1e-9f), y;
  std::vector<float> large; // made when it is first read
};

Peak::Peak(const Target& target) : state(std::make_unique<State>(target)) {}
Peak::~Peak() = default;
Peak::Peak(Peak&&) noexcept = default;
Peak& Peak::operator=(Peak&&) noexcept = default;

double Peak::gflops() const
{
  void* const arguments[] = {state->x.data(), state->r.data(), state->y.data()};
  return 2.0 * state->chains * static_cast<double>(state->lanes) * steps / seconds(state->fma, arguments) * 1e-9;
}

double Peak::read_rate() const
{
  if (state->large.empty())
    state->large.assign(read_bytes / 4, 1.0f);
  void* const arguments[] = {state->large.data(), state->y.data()};
  return static_cast<double>(read_bytes) / seconds(state->read, arguments) * 1e-9;
}

} // namespace cnnc
