// Forward of a compiled network, and of the same network in ONNX Runtime.
//
//   forward weights  net.so NAME weights.safetensors                 seeded weights that keep numbers in range
//   forward race     net.so NAME net.onnx libonnxruntime.so BATCH THREADS SECONDS TOLERANCE
//   forward memory   net.so NAME BATCH THREADS                       the most memory that a run takes, in bytes
//   forward memory   net.onnx libonnxruntime.so net.so NAME BATCH THREADS
//
// A race prints one JSON object. Both sides are given their input and output memory once, so that a timed call is the
// network and nothing else, and run in turns: what else the machine does, and its clock, then touch both alike.
#include "bench/compiled.h"
#include "bench/onnx_runtime.h"
#include "bench/weights.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point from)
{
  return std::chrono::duration<double>(Clock::now() - from).count();
}

double number_of(const char* text, double most)
{
  char* end = nullptr;
  double number = std::strtod(text, &end);
  if (end == text || *end || !(number > 0 && number <= most))
    fail(std::string("not a number between 0 and ") + std::to_string(most) + ": " + text);
  return number;
}

// ---- the race ----

// The network in ONNX Runtime, on the memory of `forward`'s inputs and on outputs of its own.
class Peer {
public:
  Peer(const OnnxRuntime& runtime, const std::string& path, const cnn_model& model, Forward& forward, int64_t batch)
      : runtime(runtime),
        path(path)
  {
    for (int i = 0; i < model.input_count; i++) {
      in.push_back(runtime.tensor(forward.inputs[static_cast<size_t>(i)], Compiled::shape(model.inputs[i], batch)));
      in_names.push_back(model.inputs[i].name);
    }
    outputs = forward.outputs;
    for (int i = 0; i < model.output_count; i++) {
      out.push_back(runtime.tensor(outputs[static_cast<size_t>(i)], Compiled::shape(model.outputs[i], batch)));
      out_names.push_back(model.outputs[i].name);
    }
  }

  void open(int threads, bool memory_pattern)
  {
    if (session)
      runtime.close(session);
    session = runtime.session(path, threads, memory_pattern);
    for (std::vector<float>& output : outputs)
      std::fill(output.begin(), output.end(), 0.0f);
  }

  void run() { runtime.run(session, in_names, in, out_names, out); }

  std::vector<std::vector<float>> outputs;

private:
  const OnnxRuntime& runtime;
  const std::string path;
  void* session = nullptr;
  std::vector<const char*> in_names, out_names;
  std::vector<void*> in, out;
};

// Of all outputs: the largest difference, relative to the largest number of that output.
double deviation(const std::vector<std::vector<float>>& ours, const std::vector<std::vector<float>>& theirs)
{
  double worst = 0;
  for (size_t o = 0; o < ours.size(); o++) {
    double largest = 0, difference = 0;
    for (size_t i = 0; i < ours[o].size(); i++) {
      const double d = std::abs(static_cast<double>(ours[o][i]) - theirs[o][i]);
      difference = d <= difference ? difference : d; // NaN comes out as well
      largest = std::max(largest, std::abs(static_cast<double>(theirs[o][i])));
    }
    const double relative = difference / largest;
    worst = relative <= worst ? worst : relative;
  }
  return worst;
}

double median(std::vector<double> times)
{
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

struct Side {
  std::function<void()> run;
  std::vector<double> times = {}; // seconds
};

// Calls for `seconds`, one at least. Some before them bring code and weights back into the caches, unless a call is so
// long that it makes no difference.
void turn(Side& side, double seconds, int threads)
{
  // The other side's threads may still spin for a while behind its last call, and would take the processor from ours.
  if (threads > 1)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const Clock::time_point begin = Clock::now();
  if (side.times.empty() || side.times.back() < 4 * seconds)
    do
      side.run();
    while (seconds_since(begin) < seconds / 10);
  const Clock::time_point warm = Clock::now();
  do {
    const Clock::time_point from = Clock::now();
    side.run();
    side.times.push_back(seconds_since(from));
  } while (seconds_since(warm) < seconds);
}

void race(char** argv)
{
  const int64_t batch = static_cast<int64_t>(number_of(argv[4], 4096));
  const int threads = static_cast<int>(number_of(argv[5], 1024));
  const double seconds = number_of(argv[6], 3600), tolerance = number_of(argv[7], 1);
  const Compiled network(argv[0], argv[1]);
  const OnnxRuntime runtime(argv[3]);
  Forward forward(network, batch, threads);
  Peer peer(runtime, argv[2], *network.model, forward, batch);
  constexpr double turn_seconds = 0.05;

  // With its memory pattern or without: whichever is faster in a trial races.
  double best[2] = {}, differs = 0;
  forward.run();
  for (const bool pattern : {false, true}) {
    peer.open(threads, pattern);
    Side trial{[&] { peer.run(); }};
    const Clock::time_point begin = Clock::now();
    for (int i = 0; i < 3 && (i == 0 || seconds_since(begin) < 1); i++)
      turn(trial, turn_seconds, threads);
    best[pattern] = median(trial.times);
    const double now = deviation(forward.outputs, peer.outputs);
    differs = now <= differs ? differs : now;
  }
  if (!(differs <= tolerance))
    fail(std::string(network.model->name) + ": the outputs differ by " + std::to_string(differs) +
         " of the largest: the times are worth nothing");
  const bool pattern = best[1] <= best[0];
  if (!pattern)
    peer.open(threads, pattern);

  Side sides[2] = {{[&] { forward.run(); }}, {[&] { peer.run(); }}};
  const Clock::time_point begin = Clock::now();
  for (int rounds = 0; rounds < 3 || seconds_since(begin) < seconds; rounds++)
    for (Side& side : sides)
      turn(side, turn_seconds, threads);
  const double ours = median(sides[0].times) * 1e3, theirs = median(sides[1].times) * 1e3;
  std::printf(
      "{\"network\": \"%s\", \"batch\": %ld, \"threads\": %d, \"peer\": \"ONNX Runtime %s\", \"ours_ms\": %.5g, "
      "\"peer_ms\": %.5g, \"ratio\": %.4g, \"deviation\": %.2g, \"peer_mode\": \"%s\", \"calls\": [%zu, %zu]}\n",
      network.model->name, static_cast<long>(batch), threads, runtime.version.c_str(), ours, theirs, theirs / ours,
      differs, pattern ? "memory pattern" : "no memory pattern", sides[0].times.size(), sides[1].times.size());
}

// ---- memory ----

void print_peak()
{
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0)
      std::printf("%lld\n", std::atoll(line.c_str() + 6) * 1024);
}

void our_memory(char** argv)
{
  const Compiled network(argv[0], argv[1]);
  const Forward forward(network, static_cast<int64_t>(number_of(argv[2], 4096)),
                        static_cast<int>(number_of(argv[3], 1024)));
  for (int i = 0; i < 3; i++)
    forward.run();
  print_peak();
}

// The library is only asked for shapes and names; its pages stay on the disk.
void peer_memory(char** argv)
{
  const int64_t batch = static_cast<int64_t>(number_of(argv[4], 4096));
  const int threads = static_cast<int>(number_of(argv[5], 1024));
  const OnnxRuntime runtime(argv[1]);
  const Compiled network(argv[2], argv[3]);
  Forward forward(network, batch, 1);
  Peer peer(runtime, argv[0], *network.model, forward, batch);
  peer.open(threads, true);
  for (int i = 0; i < 3; i++)
    peer.run();
  print_peak();
}

} // namespace

int main(int argc, char** argv)
{
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "weights" && argc == 5)
    write_weights(argv[2], argv[3], argv[4]);
  else if (what == "race" && argc == 10)
    race(argv + 2);
  else if (what == "memory" && argc == 6)
    our_memory(argv + 2);
  else if (what == "memory" && argc == 8)
    peer_memory(argv + 2);
  else
    fail("usage: forward weights|race|memory ...: bench/compare knows how");
}
