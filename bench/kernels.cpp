// GFLOP/s of single kernels on one thread, and per cent of the FMA peak that is measured in the same run, in turns.
//
//   bench/kernels [--json] [--filter TEXT]
//
// Each row is a network of one layer between inner tensors: its kernel is compiled as in any network (layouts,
// schedule, machine code) and called on its own, again and again; borders and copies of the caller's tensors are not in
// it.
#include "compiler/compile.h"
#include "compiler/compile_nest.h"
#include "compiler/jit.h"
#include "compiler/machine.h"
#include "compiler/peak.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace cnnc {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::time_point from)
{
  return std::chrono::duration<double>(Clock::now() - from).count();
}

struct Row {
  std::string name;
  std::string text; // of the network; the kernel that makes the value or has the op `kernel` is timed
  std::string kernel;
  double macs;
  std::string without = ""; // a pass that is left out; then all kernels from `kernel` to %more are timed together
  int64_t batch = 1;
};

// One compiled kernel of a program with memory for its arguments.
class TimedKernel {
public:
  TimedKernel(const Program& program, const Graph& graph, const Kernel& kernel, const Target& target, int64_t batch)
      : batch(batch)
  {
    const Nest& nest = program.nests[static_cast<size_t>(kernel.nest)];
    schedule = nest.schedule;
    CompiledNest compiled = compile_nest(nest, target);
    jit.add(compiled.bytes);
    for (const CompiledNest::Region& region : compiled.regions) {
      bool is_border = regions.size() + 1 < compiled.regions.size();
      regions.push_back(
          {jit.find<RegionFunction>(region.symbol), evaluate(region.tasks, [&](int) { return batch; }), is_border});
    }
    for (int value : kernel.arguments) {
      const Value& v = graph.values[static_cast<size_t>(value)];
      size_t bytes = static_cast<size_t>(stored_elements(v.layout.value_or(planar(v.type.shape.size())), v.type.shape) *
                                         bytes_of(v.type.dtype) * (has_batch(v.type.shape) ? batch : 1));
      touched += static_cast<double>(bytes);
      auto* memory = static_cast<float*>(std::aligned_alloc(64, (bytes + 4096) / 64 * 64));
      for (size_t i = 0; i < bytes / 4; i++)
        memory[i] = static_cast<float>((i * 2654435761u >> 20) % 256) / 256.0f - 0.5f;
      arguments.push_back(memory);
    }
    local = std::aligned_alloc(64, static_cast<size_t>(graph.thread_bytes + 4096) / 64 * 64);
  }
  ~TimedKernel()
  {
    for (void* memory : arguments)
      std::free(memory);
    std::free(local);
  }
  TimedKernel(const TimedKernel&) = delete;
  TimedKernel& operator=(const TimedKernel&) = delete;

  double run_once()
  {
    Clock::time_point from = Clock::now();
    for (const Region& region : regions)
      region.run(arguments.data(), batch, local, 0, region.tasks);
    return seconds(from);
  }

  std::string schedule;
  double touched = 0; // bytes of operands and results

private:
  struct Region {
    RegionFunction* run;
    int64_t tasks;
    bool is_border;
  };
  Jit jit;
  std::vector<Region> regions;
  std::vector<void*> arguments;
  void* local = nullptr;
  int64_t batch;
};

// The layer behind another and before two readers, so that its operands and results are inner tensors and nothing joins
// its kernel but `more`.
std::string conv(int in, int out, int size, int kernel, int stride, int pad, int groups, const char* more = "",
                 int last = 0)
{
  int made = (size + 2 * pad - kernel) / stride + 1;
  last = last ? last : made; // the size that `more` leaves
  return fmt::format(
      "net @bench(%image: f32[n,{0},{2},{2}]) {{\n"
      "  parameter @w: f32[{1},{7},{3},{3}] = he(9)\n  parameter @b: f32[{1}] = zero\n"
      "  %x = sigmoid %image : f32[n,{0},{2},{2}]\n"
      "  %timed = conv2d %x, @w, @b {{stride = [{4}, {4}], padding = [{5}, {5}, {5}, {5}], groups = {6}}} : "
      "f32[n,{1},{8},{8}]\n{9}"
      "  %last = global_avg_pool {10} : f32[n,{1},1,1]\n  output %last\n}}\n",
      in, out, size, kernel, stride, pad, groups, in / groups, made, more, *more ? "%more" : "%timed");
}

std::string relu(int out, int size)
{
  return fmt::format("  %more = relu %timed : f32[n,{0},{1},{1}]\n", out, size);
}

std::string gradients(int in, int out, int size, int kernel)
{
  int pad = kernel / 2;
  return fmt::format("net @bench(%image: f32[n,{0},{2},{2}]) {{\n"
                     "  parameter @w0: f32[{0},1,1,1] = he(9)\n"
                     "  parameter @w: f32[{1},{0},{3},{3}] = he(9)\n"
                     "  %x = conv2d %image, @w0, _ {{groups = {0}}} : f32[n,{0},{2},{2}]\n"
                     "  %timed = conv2d %x, @w, _ {{padding = [{4}, {4}, {4}, {4}]}} : f32[n,{1},{2},{2}]\n"
                     "  %s = sigmoid %timed : f32[n,{1},{2},{2}]\n"
                     "  %loss = formula %s {{inputs = [\"s[N,C,H,W]\"], outputs = [\"loss[]\"], "
                     "text = \"loss[] += s[n,c,h,w] * s[n,c,h,w]\"}} : f32[]\n"
                     "  train %loss {{gradients = [\"w\", \"w0\"]}}\n}}\n",
                     in, out, size, kernel, pad);
}

// Between inner tensors too: `layer` makes %timed of %x.
std::string between(const char* in, const char* out, const std::string& layer)
{
  return fmt::format("net @bench(%image: f32[n,{0}]) {{\n{2}"
                     "  %last = sigmoid %timed : f32[n,{1}]\n  output %last\n}}\n",
                     in, out, layer);
}

std::string dense(int in, int out)
{
  return fmt::format("net @bench(%image: f32[n,{0}]) {{\n"
                     "  parameter @w: f32[{1},{0}] = he(9)\n  parameter @b: f32[{1}] = zero\n"
                     "  %x = sigmoid %image : f32[n,{0}]\n"
                     "  %timed = dense %x, @w, @b : f32[n,{1}]\n"
                     "  %last = softmax %timed : f32[n,{1}]\n  output %last\n}}\n",
                     in, out);
}

void add_networks_rows(std::vector<Row>& rows)
{
  // A convolution of a network: groups of one channel are depthwise.
  auto one = [&](int in, int out, int size, int kernel, int stride, int groups) {
    const int made = (size + 2 * (kernel / 2) - kernel) / stride + 1;
    rows.push_back({fmt::format("{} {}x{}{} {}->{} {}", groups > 1 ? "depthwise" : "conv", kernel, kernel,
                                stride > 1 ? fmt::format(" s{}", stride) : "", in, out, made),
                    conv(in, out, size, kernel, stride, kernel / 2, groups), "timed",
                    static_cast<double>(in) / groups * out * made * made * kernel * kernel});
  };
  for (auto [channels, size, stride] : {std::array{32, 112, 1}, std::array{96, 112, 2}, std::array{144, 56, 1},
                                        std::array{192, 28, 2}, std::array{384, 14, 1}, std::array{960, 7, 1}})
    one(channels, channels, size, 3, stride, channels);
  for (auto [in, out, size, stride] :
       {std::array{16, 96, 112, 1}, std::array{96, 24, 56, 1}, std::array{24, 144, 56, 1}, std::array{144, 24, 56, 1},
        std::array{64, 384, 14, 1}, std::array{384, 64, 14, 1}, std::array{320, 1280, 7, 1}, std::array{64, 256, 56, 1},
        std::array{256, 64, 56, 1}, std::array{256, 512, 56, 2}, std::array{512, 2048, 7, 1},
        std::array{2048, 512, 7, 1}, std::array{16, 64, 55, 1}, std::array{128, 16, 55, 1}, std::array{48, 192, 13, 1}})
    one(in, out, size, 1, stride, 1);
  one(16, 64, 55, 3, 1, 1);
  one(48, 192, 13, 3, 1, 1);
  one(3, 32, 224, 3, 2, 1);
  for (int64_t batch : {1, 8})
    for (auto [in, out] : {std::array{1280, 1000}, std::array{4096, 4096}, std::array{25088, 4096}})
      rows.push_back({fmt::format("dense {}->{} batch {}", in, out, batch), dense(in, out), "timed",
                      static_cast<double>(in) * out * static_cast<double>(batch), "", batch});
  auto memory = [&](const char* name, const char* in, const char* out, const std::string& layer) {
    rows.push_back(
        {name,
         between(in, out,
                 fmt::format("  %x = sigmoid %image : f32[n,{}]\n  %timed = {} : f32[n,{}]\n", in, layer, out)),
         "timed", 0});
  };
  memory("lrn 96 55", "96,55,55", "96,55,55", "lrn %x {alpha = 0.0005, bias = 2.0, size = 5}");
  memory("lrn 256 27", "256,27,27", "256,27,27", "lrn %x {alpha = 0.0005, bias = 2.0, size = 5}");
  memory("max pool 3x3 s2 64 112", "64,112,112", "64,56,56",
         "max_pool2d %x {kernel = [3, 3], stride = [2, 2], padding = [1, 1, 0, 0]}");
  memory("max pool 3x3 s2 96 55", "96,55,55", "96,27,27", "max_pool2d %x {kernel = [3, 3], stride = [2, 2]}");
  memory("global pool 1000 13", "1000,13,13", "1000,1,1", "global_avg_pool %x");
  memory("global pool 2048 7", "2048,7,7", "2048,1,1", "global_avg_pool %x");
}

std::vector<Row> rows()
{
  auto macs = [](double in, double out, double size, double kernel, double groups = 1) {
    return in / groups * out * size * size * kernel * kernel;
  };
  std::vector<Row> rows;
  auto same = [&](int in, int out, int size) {
    rows.push_back({fmt::format("conv 3x3 {}->{} {}", in, out, size), conv(in, out, size, 3, 1, 1, 1), "timed",
                    macs(in, out, size, 3), ""});
  };
  same(64, 64, 56);
  same(128, 128, 28);
  same(256, 256, 14);
  same(256, 256, 28);
  same(512, 512, 14);
  std::string fused = relu(1024, 14);
  rows.push_back({"conv 1x1 256->1024 14 bias relu", conv(256, 1024, 14, 1, 1, 0, 1, fused.c_str()), "timed",
                  macs(256, 1024, 14, 1), ""});
  same(512, 512, 7);
  rows.push_back({"conv 7x7 s2 3->64 112", conv(3, 64, 224, 7, 2, 3, 1), "timed", macs(3, 64, 112, 7), ""});
  rows.push_back({"conv 11x11 s4 3->96 55", conv(3, 96, 227, 11, 4, 0, 1), "timed", macs(3, 96, 55, 11), ""});
  rows.push_back({"conv 5x5 groups 2 96->256 27", conv(96, 256, 27, 5, 1, 2, 2), "timed", macs(96, 256, 27, 5, 2), ""});
  for (auto [in, out, size] :
       {std::array{64, 64, 56}, std::array{128, 128, 28}, std::array{256, 256, 14}, std::array{512, 512, 14}}) {
    rows.push_back({fmt::format("backward-weights 3x3 {}->{} {}", in, out, size), gradients(in, out, size, 3),
                    "timed.gradient.weight", macs(in, out, size, 3), ""});
    rows.push_back({fmt::format("backward-data 3x3 {}->{} {}", in, out, size), gradients(in, out, size, 3),
                    "timed.gradient.x", macs(in, out, size, 3), ""});
  }
  std::string pool = "  %r = relu %timed : f32[n,64,112,112]\n  %more = max_pool2d %r {kernel = [2, 2], stride = [2, "
                     "2]} : f32[n,64,56,56]\n";
  rows.push_back({"conv+relu+pool 64->64 112", conv(64, 64, 112, 3, 1, 1, 1, pool.c_str(), 56), "timed",
                  macs(64, 64, 112, 3), ""});
  rows.push_back({"the same, pool not fused", rows.back().text, "timed", rows.back().macs, "fuse_window"});
  add_networks_rows(rows);
  return rows;
}

bool is_wanted(const Graph& graph, const Kernel& kernel, const std::string& name)
{
  return std::any_of(kernel.ops.begin(), kernel.ops.end(), [&](int op) {
    const Op& o = graph.ops[static_cast<size_t>(op)];
    return o.name == name ||
           (!o.outputs.empty() && o.outputs[0] >= 0 && graph.values[static_cast<size_t>(o.outputs[0])].name == name);
  });
}

double median(std::vector<double> v)
{
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

int run(bool json, const std::string& filter)
{
  Target target = make_target("native");
  Peak peak(target);
  if (!json)
    fmt::print("{:36} {:>9} {:>9} {:>7} {:>7}\n", "kernel", "ms", "GFLOP/s", "peak %", "GB/s");
  for (const Row& row : rows()) {
    if (row.name.find(filter) == std::string::npos)
      continue;
    Program program = parse_program(std::make_shared<Source>(Source{row.name, row.text}));
    CompileOptions options;
    if (!row.without.empty())
      for (const PassDef& pass : pipeline())
        if (pass.name != row.without)
          options.passes.push_back(pass.name);
    Compiled compiled = compile(std::move(program), options);
    const Graph& graph = compiled.program.functions[0];
    std::vector<std::unique_ptr<TimedKernel>> timed;
    for (const Kernel& kernel : graph.kernels)
      if (is_wanted(graph, kernel, row.kernel) || (!row.without.empty() && is_wanted(graph, kernel, "more")))
        timed.push_back(std::make_unique<TimedKernel>(compiled.program, graph, kernel, target, row.batch));
    if (timed.empty())
      throw InternalError("no kernel makes " + row.kernel);
    auto run_all = [&] {
      double sum = 0;
      for (auto& kernel : timed)
        sum += kernel->run_once();
      return sum;
    };
    run_all();
    int calls = std::max(3, static_cast<int>(0.5 / run_all() / 10));
    std::vector<double> times, peaks;
    for (int i = 0; i < 10; i++) {
      peaks.push_back(peak.gflops());
      for (int k = 0; k < calls; k++)
        times.push_back(run_all());
    }
    double time = median(times), best = *std::max_element(peaks.begin(), peaks.end()),
           gflops = 2 * row.macs / time * 1e-9, touched = 0;
    for (const auto& kernel : timed)
      touched += kernel->touched;
    const double speed = touched / time * 1e-9;
    if (json)
      fmt::print("{{\"kernel\": \"{}\", \"ms\": {:.4f}, \"gflops\": {:.1f}, \"peak_gflops\": {:.1f}, \"percent\": "
                 "{:.1f}, \"gb_s\": {:.1f}, \"schedule\": \"{}\"}}\n",
                 row.name, time * 1e3, gflops, best, 100 * gflops / best, speed, timed[0]->schedule);
    else
      fmt::print("{:36} {:9.4f} {:9.1f} {:7.1f} {:7.1f}   {}\n", row.name, time * 1e3, gflops, 100 * gflops / best,
                 speed, timed[0]->schedule);
    std::fflush(stdout);
  }
  return 0;
}

} // namespace
} // namespace cnnc

int main(int argc, char** argv)
{
  bool json = false;
  std::string filter;
  for (int i = 1; i < argc; i++) {
    if (std::strcmp(argv[i], "--json") == 0)
      json = true;
    else if (std::strcmp(argv[i], "--filter") == 0 && i + 1 < argc)
      filter = argv[++i];
    else {
      fmt::print(stderr, "usage: kernels [--json] [--filter TEXT]\n");
      return 2;
    }
  }
  try {
    return cnnc::run(json, filter);
  } catch (const cnnc::Error& error) {
    fmt::print(stderr, "{}\n", cnnc::render(error));
    return error.exit_code;
  }
}
