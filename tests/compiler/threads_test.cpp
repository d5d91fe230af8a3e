// The same bits however many threads there are, from however many threads it is called, and no allocation inside a
// call.
#include "compiler/compile.h"
#include "ir/random.h"
#include "runtime/model.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>

// Every allocation of this program is counted. A sanitizer has its own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define CNNC_COUNTS_ALLOCATIONS 0
#else
#define CNNC_COUNTS_ALLOCATIONS 1
#endif

namespace {
std::atomic<int64_t> allocations{0};
}

#if CNNC_COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t size)
{
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}

void* calloc(size_t count, size_t size)
{
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(count, size);
}

void* realloc(void* old, size_t size)
{
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(old, size);
}

void* aligned_alloc(size_t alignment, size_t size)
{
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_memalign(alignment, size);
}
}
#endif

using namespace cnnc;

namespace {

constexpr int64_t batch = 48;
constexpr int64_t pixels = 28 * 28, classes = 10;

const cnn_model& lenet()
{
  static const LoadedModel loaded = [] {
    CompileOptions options;
    options.train = true;
    return load(compile(read_network(CNNC_SOURCE_DIR "/examples/lenet5.yaml"), options));
  }();
  return *loaded.model;
}

struct Images {
  std::vector<float> pixel;
  std::vector<int32_t> label;

  explicit Images(uint64_t seed) : pixel(batch * pixels), label(batch)
  {
    for (size_t i = 0; i < pixel.size(); ++i)
      pixel[i] = static_cast<float>(random_unit(seed_key(seed), i));
    for (size_t i = 0; i < label.size(); ++i)
      label[i] = static_cast<int32_t>(10 * random_unit(seed_key(seed + 1000), i));
  }
};

using Bytes = std::vector<std::byte>;

Bytes bytes_of_block(const Block& block)
{
  const auto* at = static_cast<const std::byte*>(block.data());
  return {at, at + block.size()};
}

// What a run leaves: the outputs, then parameters, state and losses after some steps.
struct Run {
  std::vector<float> scores;
  Bytes parameters, state, gradients;
  std::vector<float> losses;
  friend bool operator==(const Run&, const Run&) = default;
};

std::vector<float> forward(const cnn_model& model, const Block& parameters, const Images& images,
                           const ModelThreads& threads)
{
  std::vector<float> scores(batch * classes);
  const Block workspace = workspace_of(model, batch, threads.count(), CNN_FORWARD);
  const void* inputs[] = {images.pixel.data()};
  void* outputs[] = {scores.data()};
  check(model, model.forward(parameters.data(), batch, inputs, outputs, workspace.data(), threads.get()), "forward");
  return scores;
}

Run run(uint64_t seed, int count)
{
  const cnn_model& model = lenet();
  const Images images(seed);
  const ModelThreads threads(model, count);
  const Block parameters = first_parameters(model, seed), state(model.state_bytes), gradients(model.parameter_bytes);
  check(model, model.init_state(state.data(), seed), "init_state");
  Run result;
  result.scores = forward(model, parameters, images, threads);
  const void* inputs[] = {images.pixel.data(), images.label.data()};
  float loss = 0;
  const Block back = workspace_of(model, batch, count, CNN_GRADIENTS);
  check(model,
        model.gradients(parameters.data(), state.data(), batch, inputs, &loss, gradients.data(), back.data(),
                        threads.get()),
        "gradients");
  result.losses.push_back(loss);
  const Block workspace = workspace_of(model, batch, count, CNN_TRAIN);
  for (int step = 0; step < 5; ++step) {
    check(model,
          model.train_step(parameters.data(), state.data(), batch, inputs, &loss, workspace.data(), threads.get()),
          "train_step");
    result.losses.push_back(loss);
  }
  result.parameters = bytes_of_block(parameters);
  result.state = bytes_of_block(state);
  result.gradients = bytes_of_block(gradients);
  return result;
}

} // namespace

TEST_CASE("one, two and four threads, and the same seed again, give the same bits")
{
  for (const uint64_t seed : {1u, 2u, 3u}) {
    CAPTURE(seed);
    const Run alone = run(seed, 1);
    CHECK(alone.losses.back() < alone.losses.front());
    CHECK(alone.losses[0] == alone.losses[1]);
    CHECK((run(seed, 1) == alone));
    for (const int threads : {2, 3, 4}) {
      CAPTURE(threads);
      const Run together = run(seed, threads);
      CHECK((together.scores == alone.scores));
      CHECK((together.gradients == alone.gradients));
      CHECK((together.losses == alone.losses));
      CHECK((together.parameters == alone.parameters));
      CHECK((together.state == alone.state));
    }
  }
  CHECK_FALSE((run(1, 1).scores == run(2, 1).scores));
}

TEST_CASE("32 threads call forward at once with one set of parameters")
{
  const cnn_model& model = lenet();
  const Block parameters = first_parameters(model, 7);
  const ModelThreads alone(model, 1);
  std::vector<std::vector<float>> want, got(32);
  for (uint64_t i = 0; i < 32; ++i)
    want.push_back(forward(model, parameters, Images(i), alone));
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 32; ++i)
    threads.emplace_back([&, i] {
      const Images images(i);
      for (int repeat = 0; repeat < 4; ++repeat)
        got[i] = forward(model, parameters, images, alone);
    });
  for (std::thread& thread : threads)
    thread.join();
  for (size_t i = 0; i < 32; ++i) {
    CAPTURE(i);
    CHECK((got[i] == want[i]));
  }
}

TEST_CASE("forward, gradients and train_step allocate nothing")
{
#if CNNC_COUNTS_ALLOCATIONS
  int64_t before = allocations;
  std::free(std::malloc(1 + static_cast<size_t>(before % 2)));
  std::vector<int>(3).swap(*std::make_unique<std::vector<int>>(2));
  REQUIRE(allocations > before); // they are counted
#else
  MESSAGE("allocations are not counted in this build");
#endif
  const cnn_model& model = lenet();
  const Images images(1);
  for (const int count : {1, 4}) {
    const ModelThreads threads(model, count);
    const Block parameters = first_parameters(model, 1), state(model.state_bytes), gradients(model.parameter_bytes);
    check(model, model.init_state(state.data(), 1), "init_state");
    const Block workspace = workspace_of(model, batch, count, CNN_FORWARD),
                back = workspace_of(model, batch, count, CNN_GRADIENTS),
                step = workspace_of(model, batch, count, CNN_TRAIN);
    std::vector<float> scores(batch * classes);
    const void* inputs[] = {images.pixel.data(), images.label.data()};
    void* outputs[] = {scores.data()};
    float loss = 0;
    const int64_t start = allocations;
    int code = CNN_OK;
    for (int repeat = 0; repeat < 3; ++repeat) {
      code |= model.forward(parameters.data(), batch, inputs, outputs, workspace.data(), threads.get());
      code |= model.gradients(parameters.data(), state.data(), batch, inputs, &loss, gradients.data(), back.data(),
                              threads.get());
      code |= model.train_step(parameters.data(), state.data(), batch, inputs, &loss, step.data(), threads.get());
    }
    const int64_t end = allocations;
    CHECK(code == CNN_OK);
    CHECK(end == start);
  }
}
