// The runtime that travels in networks, under a network written by hand:
//
//   forward   y[n,o] = bias[o] + sum over c of weight[o,c] * x[n,c]        weight: f32[3,4] as {0/2, 1+1+1, 0%2}
//   train     loss = mean of y[n, label[n]];  weight += 1, steps += 1
#include "runtime/artefact/network.h"

#include "ir/random.h"
#include "tests/folder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

using cnnc::test::Folder;

namespace {

constexpr int64_t dims_x[] = {-1, 4}, dims_label[] = {-1}, dims_y[] = {-1, 3}, dims_weight[] = {3, 4},
                  dims_bias[] = {3};
constexpr cnn_axis axes_weight[] = {{0, 0, 2, 0, 0, 2, 12}, {1, 0, 1, 0, 1, 6, 2}, {0, 0, 1, 2, 0, 2, 1}};
constexpr cnn_axis axes_bias[] = {{0, 0, 1, 0, 0, 3, 1}};
constexpr cnn_tensor inputs[] = {
    {"x", CNN_F32, 2, dims_x, 0, nullptr, 0, 0, 0, 0, 1, nullptr},
    {"label", CNN_I32, 1, dims_label, 3, nullptr, 0, 0, 0, 0, 1, nullptr},
};
constexpr cnn_tensor outputs[] = {{"y", CNN_F32, 2, dims_y, 0, nullptr, 0, 0, 0, 0, 1, nullptr}};
constexpr cnn_tensor parameters[] = {
    {"dense.weight", CNN_F32, 2, dims_weight, 0, "he(4)", 1, 64, 24, 3, 2, axes_weight},
    {"dense.bias", CNN_F32, 1, dims_bias, 0, "one", 1, 192, 3, 1, 2, axes_bias},
};
constexpr cnn_tensor states[] = {{"steps", CNN_I64, 0, nullptr, 0, "zero", 1, 64, 1, 0, 0, nullptr}};

int64_t weight_at(int64_t o, int64_t c)
{
  return o / 2 * 12 + (c + 1) * 2 + o % 2;
}

std::atomic<int> regions_run;

// In two halves through the thread's scratch, so that a wrong `local` shows.
void region_dense(void* const* arguments, int64_t, void* local, int64_t begin, int64_t end)
{
  ++regions_run;
  auto x = static_cast<const float*>(arguments[0]), weight = static_cast<const float*>(arguments[1]),
       bias = static_cast<const float*>(arguments[2]);
  auto y = static_cast<float*>(arguments[3]), scratch = static_cast<float*>(local);
  for (int64_t n = begin; n < end; ++n) {
    for (int o = 0; o < 3; ++o) {
      scratch[o] = bias[o];
      for (int c = 0; c < 4; ++c)
        scratch[o] += weight[weight_at(o, c)] * x[n * 4 + c];
    }
    std::copy(scratch, scratch + 3, y + n * 3);
  }
}

void region_loss(void* const* arguments, int64_t n, void*, int64_t, int64_t)
{
  auto y = static_cast<const float*>(arguments[0]);
  auto label = static_cast<const int32_t*>(arguments[1]);
  float sum = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += y[i * 3 + label[i]];
  *static_cast<float*>(arguments[2]) = sum / static_cast<float>(n);
}

void region_update(void* const* arguments, int64_t, void*, int64_t, int64_t)
{
  for (int o = 0; o < 3; ++o)
    for (int c = 0; c < 4; ++c)
      static_cast<float*>(arguments[0])[weight_at(o, c)] += 1;
  *static_cast<int64_t*>(arguments[1]) += 1;
}

void region_gradient(void* const* arguments, int64_t, void*, int64_t, int64_t)
{
  for (int o = 0; o < 3; ++o)
    static_cast<float*>(arguments[0])[o] = static_cast<float>(o + 1);
}

constexpr cnn_operand in_x{CNN_PLACE_INPUT, 0, 0, 0, 0}, in_label{CNN_PLACE_INPUT, 1, 0, 0, 0},
    weight{CNN_PLACE_PARAMETER, 0, 0, 0, 0}, bias{CNN_PLACE_PARAMETER, 0, 128, 0, 0},
    steps{CNN_PLACE_STATE, 0, 0, 0, 0}, out_y{CNN_PLACE_OUTPUT, 0, 0, 0, 0}, kept_y{CNN_PLACE_IMAGE, 0, 0, 0, 0},
    out_loss{CNN_PLACE_LOSS, 0, 0, 0, 0}, fixed_loss{CNN_PLACE_FIXED, 0, 0, 0, 0},
    d_bias{CNN_PLACE_GRADIENT, 0, 128, 0, 0};
constexpr cnn_operand operands_forward[] = {in_x, weight, bias, out_y}, operands_dense[] = {in_x, weight, bias, kept_y},
                      operands_loss[] = {kept_y, in_label, fixed_loss}, operands_copy[] = {out_loss, fixed_loss},
                      operands_update[] = {weight, steps}, operands_gradient[] = {d_bias};
// Much work, so that even one image goes to the threads.
constexpr double much = 1e9;
constexpr cnn_step steps_forward[] = {{region_dense, operands_forward, 4, 1, 0, 1, 0, much, 0, 1, 24, 100, 8, "dense"}};
constexpr cnn_step steps_train[] = {{region_dense, operands_dense, 4, 1, 0, 1, 0, much, 0, 1, 24, 100, 8, "dense"},
                                    {region_loss, operands_loss, 3, 2, 1, 0, 0, much, 0, 0, 0, 0, 0, "loss"},
                                    {nullptr, operands_copy, 2, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, "copy"},
                                    {region_update, operands_update, 2, 3, 1, 0, 0, much, 0, 0, 0, 0, 0, "update"}};
constexpr cnn_step steps_gradients[] = {
    {region_dense, operands_dense, 4, 1, 0, 1, 0, much, 0, 1, 24, 100, 8, "dense"},
    {region_loss, operands_loss, 3, 2, 1, 0, 0, much, 0, 0, 0, 0, 0, "loss"},
    {nullptr, operands_copy, 2, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, "copy"},
    {region_gradient, operands_gradient, 1, 3, 1, 0, 0, much, 0, 0, 0, 0, 0, "gradient"}};

cnn_variant make_variant()
{
  return {"here", 0, {{steps_forward, 1}, {steps_train, 4}, {steps_gradients, 4}}, {}};
}
cnn_variant changing_variants[2] = {make_variant(), make_variant()};

cnn_network make_network()
{
  cnn_network network{};
  cnn_model& model = network.model;
  model.abi_version = CNN_ABI_VERSION;
  model.struct_size = sizeof(cnn_model);
  model.name = "toy";
  model.fingerprint = 4711;
  model.input_count = 1;
  model.output_count = 1;
  model.parameter_count = 2;
  model.state_count = 1;
  model.train_input_count = 2;
  model.inputs = model.train_inputs = inputs;
  model.outputs = outputs;
  model.parameters = parameters;
  model.states = states;
  model.parameter_bytes = 256;
  model.state_bytes = 128;
  model.memory[CNN_FORWARD] = {0, 0, 64, 0};
  model.memory[CNN_TRAIN] = model.memory[CNN_GRADIENTS] = {64, 64, 64, 0};
  network.variants = changing_variants;
  network.variant_count = 1;
  network.state_fingerprint = 4712;
  network.batch_limit = 1 << 20;
  return network;
}

} // namespace

// The runtime sees a constant; the tests change it to see what it makes of other networks.
extern "C" {
cnn_network changing_network = make_network();
extern const cnn_network cnn_network_data __attribute__((alias("changing_network")));
}

namespace {

struct Changed {
  ~Changed()
  {
    changing_network = make_network();
    changing_variants[0] = changing_variants[1] = make_variant();
  }
};

struct Block {
  explicit Block(int64_t bytes) : memory(static_cast<size_t>(bytes) + 64)
  {
    const auto address = reinterpret_cast<uintptr_t>(memory.data());
    at = memory.data() + (64 - address % 64) % 64;
    size = static_cast<size_t>(bytes);
  }
  operator void*() { return at; }
  bool operator==(const Block& other) const { return std::memcmp(at, other.at, size) == 0; }
  std::vector<char> memory;
  char* at;
  size_t size;
};

struct Threads {
  explicit Threads(int count) { REQUIRE(cnn_threads_create(count, &threads) == CNN_OK); }
  ~Threads() { cnn_threads_free(threads); }
  cnn_threads* threads = nullptr;
};

std::vector<float> numbers(int64_t count)
{
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i % 17) - 8;
  return values;
}

struct Toy {
  explicit Toy(int64_t n, int threads = 1)
      : n(n),
        x(numbers(4 * n)),
        label(static_cast<size_t>(n), 2),
        y(static_cast<size_t>(3 * n)),
        parameters(256),
        state(128),
        workspace(64 + 64 * n + 64 * threads)
  {
    REQUIRE(cnn_init_parameters(parameters, 1) == CNN_OK);
    REQUIRE(cnn_init_state(state, 1) == CNN_OK);
  }
  int forward(const cnn_threads* threads = nullptr)
  {
    const void* in[] = {x.data()};
    void* out[] = {y.data()};
    return cnn_forward(parameters, n, in, out, workspace, threads);
  }
  int train(const cnn_threads* threads = nullptr)
  {
    const void* in[] = {x.data(), label.data()};
    return cnn_train_step(parameters, state, n, in, &loss, workspace, threads);
  }
  int64_t n;
  std::vector<float> x;
  std::vector<int32_t> label;
  std::vector<float> y;
  Block parameters, state, workspace;
  float loss = 0;
};

void write_file(const std::string& path, const std::string& bytes)
{
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string safetensors(const std::string& header, size_t data_bytes = 60)
{
  std::string file(8, '\0');
  for (size_t i = 0; i < 8; ++i)
    file[i] = static_cast<char>(header.size() >> (8 * i));
  return file + header + std::string(data_bytes, '\1');
}

} // namespace

TEST_CASE("artefact: forward and train_step give the right numbers")
{
  Toy toy(5);
  float weights[12], ones[3];
  REQUIRE(cnn_get_parameter(toy.parameters, "dense.weight", weights, 12) == CNN_OK);
  REQUIRE(cnn_get_parameter(toy.parameters, "dense.bias", ones, 3) == CNN_OK);
  CHECK(ones[2] == 1);
  REQUIRE(toy.forward() == CNN_OK);
  for (int n = 0; n < 5; ++n)
    for (int o = 0; o < 3; ++o) {
      float expected = 1;
      for (int c = 0; c < 4; ++c)
        expected += weights[o * 4 + c] * toy.x[static_cast<size_t>(n * 4 + c)];
      CHECK(toy.y[static_cast<size_t>(n * 3 + o)] == doctest::Approx(expected));
    }
  REQUIRE(toy.train() == CNN_OK);
  float mean = 0;
  for (size_t n = 0; n < 5; ++n)
    mean += toy.y[n * 3 + 2] / 5;
  CHECK(toy.loss == doctest::Approx(mean));
  float after[12];
  int64_t steps = 0;
  REQUIRE(cnn_get_parameter(toy.parameters, "dense.weight", after, 12) == CNN_OK);
  REQUIRE(cnn_get_state(toy.state, "steps", &steps, 1) == CNN_OK);
  CHECK(steps == 1);
  for (int i = 0; i < 12; ++i)
    CHECK(after[i] == weights[i] + 1);
}

TEST_CASE("artefact: gradients come in a parameter block, and leave the parameters alone")
{
  Toy toy(2);
  const Block before = toy.parameters;
  Block gradients(256);
  std::memset(gradients.at, 0x5a, 256);
  const void* in[] = {toy.x.data(), toy.label.data()};
  REQUIRE(cnn_gradients(toy.parameters, toy.state, 2, in, &toy.loss, gradients, toy.workspace, nullptr) == CNN_OK);
  float d_weight[12], d_bias[3];
  REQUIRE(cnn_get_parameter(gradients, "dense.weight", d_weight, 12) == CNN_OK);
  REQUIRE(cnn_get_parameter(gradients, "dense.bias", d_bias, 3) == CNN_OK);
  CHECK(std::accumulate(d_weight, d_weight + 12, 0.f) == 0);
  CHECK(d_bias[2] == 3);
  CHECK(std::memcmp(before.memory.data(), toy.parameters.memory.data(), before.memory.size()) == 0);
}

TEST_CASE("artefact: what follows from the parameters is computed whenever one is written")
{
  // step 0: scratch = 2 * bias[0];  step 1: prepared = scratch + weight[0,0];  step 2: a copy of bias[0]
  static const auto twice = [](void* const* arguments, int64_t, void*, int64_t, int64_t) {
    ++regions_run;
    *static_cast<float*>(arguments[1]) = 2 * *static_cast<const float*>(arguments[0]);
  };
  static const auto sum = [](void* const* arguments, int64_t, void* local, int64_t, int64_t) {
    ++regions_run;
    *static_cast<float*>(local) = *static_cast<const float*>(arguments[1]);
    *static_cast<float*>(arguments[2]) = *static_cast<const float*>(arguments[0]) + static_cast<const float*>(local)[0];
  };
  const cnn_operand first_weight{CNN_PLACE_PARAMETER, 0, 4 * weight_at(0, 0), 0, 0},
      scratch{CNN_PLACE_FIXED, 0, 0, 0, 0}, prepared{CNN_PLACE_PARAMETER, 0, 192, 0, 0},
      copied{CNN_PLACE_PARAMETER, 0, 196, 0, 0};
  const cnn_operand of_twice[] = {bias, scratch}, of_sum[] = {scratch, first_weight, prepared},
                    of_copy[] = {copied, bias};
  const cnn_step steps_prepare[] = {{twice, of_twice, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, "twice"},
                                    {sum, of_sum, 3, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, "sum"},
                                    {nullptr, of_copy, 2, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, "copy"}};
  const int32_t first[] = {0, 2, 5}, which[] = {0, 1, 0, 1, 2};
  const Changed changed;
  Toy toy(2);
  changing_network.model.parameter_bytes = 448;
  changing_variants[0].preparation = {{steps_prepare, 3}, 256, 320, 384, first, which};
  Block block(448);
  const auto right = [&](void* of) {
    float weights[12], biases[3];
    REQUIRE(cnn_get_parameter(of, "dense.weight", weights, 12) == CNN_OK);
    REQUIRE(cnn_get_parameter(of, "dense.bias", biases, 3) == CNN_OK);
    const auto* values = reinterpret_cast<const float*>(static_cast<const char*>(of) + 256);
    return values[0] == 2 * biases[0] + weights[0] && values[1] == biases[0];
  };
  REQUIRE(cnn_init_parameters(block, 1) == CNN_OK);
  CHECK(right(block));
  const std::vector<float> values = numbers(12);
  regions_run = 0;
  REQUIRE(cnn_set_parameter(block, "dense.weight", values.data(), 12) == CNN_OK);
  CHECK(regions_run == 2);
  CHECK(right(block));
  REQUIRE(cnn_set_parameter(block, "dense.bias", values.data(), 3) == CNN_OK);
  CHECK(regions_run == 4);
  CHECK(right(block));

  const void* in[] = {toy.x.data(), toy.label.data()};
  REQUIRE(cnn_train_step(block, toy.state, 2, in, &toy.loss, toy.workspace, nullptr) == CNN_OK);
  CHECK(right(block));
  Block gradients(448);
  std::memset(gradients.at, 0x5a, 448);
  REQUIRE(cnn_gradients(block, toy.state, 2, in, &toy.loss, gradients, toy.workspace, nullptr) == CNN_OK);
  CHECK(std::count(gradients.at + 256, gradients.at + 448, 0x5a) == 192);

  Folder folder;
  Block other(448);
  REQUIRE(cnn_save_parameters(block, (folder / "p.safetensors").c_str()) == CNN_OK);
  REQUIRE(cnn_load_parameters(other, (folder / "p.safetensors").c_str()) == CNN_OK);
  CHECK(right(other));
  CHECK(std::memcmp(block.at, other.at, 320) == 0);

  // Code of another machine must not run.
  changing_variants[0].needs = ~uint64_t{0};
  const Block before = block;
  CHECK(cnn_init_parameters(block, 2) == CNN_BAD_CPU);
  CHECK(cnn_load_parameters(block, (folder / "p.safetensors").c_str()) == CNN_BAD_CPU);
  CHECK(cnn_set_parameter(block, "dense.bias", values.data(), 3) == CNN_BAD_CPU);
  CHECK(std::memcmp(before.memory.data(), block.memory.data(), block.memory.size()) == 0);
  // All that is embedded is a copy.
  changing_network.model.embedded = other.at;
  REQUIRE(cnn_init_parameters(block, 2) == CNN_OK);
  CHECK(block == other);
}

TEST_CASE("artefact: any number of threads gives the same bytes")
{
  for (const int count : {1, 2, 3, 7}) {
    Threads pool(count);
    for (const int64_t n : {1, 2, 5, 100}) {
      Toy serial(n), threaded(n, count);
      REQUIRE(serial.forward() == CNN_OK);
      REQUIRE(threaded.forward(pool.threads) == CNN_OK);
      CHECK(serial.y == threaded.y);
      REQUIRE(serial.train() == CNN_OK);
      REQUIRE(threaded.train(pool.threads) == CNN_OK);
      CHECK(serial.loss == threaded.loss);
    }
  }
}

TEST_CASE("artefact: an observer sees each step before and behind it")
{
  Toy toy(3);
  std::vector<std::string> seen;
  cnn_observer observer{[](void* context, const cnn_step_info* step, int is_done) {
                          static_cast<std::vector<std::string>*>(context)->push_back(
                              std::to_string(is_done) + " " + step->kernel + " " + std::to_string(step->line) + " " +
                              std::to_string(step->number) + " " + std::to_string(static_cast<int>(step->operations)) +
                              " " + std::to_string(static_cast<int>(step->bytes)));
                        },
                        &seen};
  const cnn_threads alone{CNN_ABI_VERSION, sizeof(cnn_threads), 1, 0, nullptr, nullptr, &observer};
  REQUIRE(toy.forward(&alone) == CNN_OK);
  CHECK(seen == std::vector<std::string>{"0 dense 1 0 73 124", "1 dense 1 0 73 124"}); // 1 + 3*24, 100 + 3*8
}

// Two steps through which images go one by one: what lies between them is the thread's.
struct ByImage {
  ByImage()
  {
    changing_network.model.memory[CNN_FORWARD].per_run = 128;
    changing_variants[0].functions[CNN_FORWARD] = {steps, 2};
  }
  static void add_one(void* const* arguments, int64_t n, void*, int64_t begin, int64_t end)
  {
    ++regions_run;
    CHECK(n == 1);
    CHECK(end - begin == 1);
    for (int o = 0; o < 3; ++o)
      static_cast<float*>(arguments[1])[o] = static_cast<const float*>(arguments[0])[o] + 1;
  }
  const Changed changed;
  const cnn_operand x{CNN_PLACE_INPUT, 0, 0, 0, 16}, between{CNN_PLACE_RUN, 0, 64, 0, 0},
      y{CNN_PLACE_OUTPUT, 0, 0, 0, 12};
  const cnn_operand first[4] = {x, weight, bias, between}, second[2] = {between, y};
  const cnn_step steps[2] = {{region_dense, first, 4, 1, 0, 1, 2, much, 0, 0, 0, 0, 0, "dense"},
                             {add_one, second, 2, 2, 0, 1, 0, much, 0, 0, 0, 0, 0, "add"}};
};

TEST_CASE("artefact: images go through a run of steps one by one, on any number of threads")
{
  for (const int64_t n : {2, 3, 5, 100}) {
    Toy plain(n);
    REQUIRE(plain.forward() == CNN_OK);
    std::vector<float> wanted = plain.y;
    for (float& value : wanted)
      value += 1;
    const ByImage by_image;
    for (const int count : {1, 2, 3, 7}) {
      CAPTURE(n);
      CAPTURE(count);
      Threads pool(count);
      Toy toy(n, 3 * count);
      regions_run = 0;
      REQUIRE(toy.forward(pool.threads) == CNN_OK);
      CHECK(toy.y == wanted);
      CHECK(regions_run == 2 * n);
    }
  }
}

TEST_CASE("artefact: an observer sees a run's steps again for each image of thread 0")
{
  const ByImage by_image;
  std::string seen;
  const cnn_observer observer{[](void* context, const cnn_step_info* step, int is_done) {
                                *static_cast<std::string*>(context) +=
                                    (is_done ? "-" : " ") + std::to_string(step->number);
                              },
                              &seen};
  const cnn_threads alone{CNN_ABI_VERSION, sizeof(cnn_threads), 1, 0, nullptr, nullptr, &observer};
  Toy toy(2, 3);
  REQUIRE(toy.forward(&alone) == CNN_OK);
  CHECK(seen == " 0-0 1-1 0-0 1-1");
  seen.clear();
  // One of three is left over: all threads go through it step by step.
  Threads pool(2);
  cnn_threads two = *pool.threads;
  two.observer = &observer;
  Toy three(3, 6);
  REQUIRE(three.forward(&two) == CNN_OK);
  CHECK(seen.size() >= 8);
  CHECK(seen.substr(seen.size() - 8) == " 0-0 1-1");
}

TEST_CASE("artefact: little work stays on the calling thread")
{
  Changed changed;
  Threads pool(4);
  Toy toy(64, 4);
  regions_run = 0;
  REQUIRE(toy.forward(pool.threads) == CNN_OK);
  CHECK(regions_run > 1);
  cnn_step small = steps_forward[0];
  small.work = 100;
  changing_variants[0].functions[CNN_FORWARD].steps = &small;
  regions_run = 0;
  REQUIRE(toy.forward(pool.threads) == CNN_OK);
  CHECK(regions_run == 1);
}

TEST_CASE("artefact: every check has its code, and nothing is written before all have passed")
{
  Changed changed;
  Toy toy(3);
  toy.y.assign(9, 77);
  const void* in[] = {toy.x.data(), toy.label.data()};
  const void* in_null[] = {toy.x.data(), nullptr};
  void* out[] = {toy.y.data()};
  void* out_null[] = {nullptr};
  Block other(256);
  auto forward = [&](const void* p, int64_t n, const void* const* i, void* const* o, void* w, const cnn_threads* t) {
    return cnn_forward(p, n, i, o, w, t);
  };
  CHECK(forward(nullptr, 3, in, out, toy.workspace, nullptr) == CNN_NULL_POINTER);
  CHECK(forward(toy.parameters, 3, nullptr, out, toy.workspace, nullptr) == CNN_NULL_POINTER);
  CHECK(forward(toy.parameters, 3, in, nullptr, toy.workspace, nullptr) == CNN_NULL_POINTER);
  CHECK(forward(toy.parameters, 3, in, out_null, toy.workspace, nullptr) == CNN_NULL_POINTER);
  CHECK(forward(toy.parameters, 3, in, out, nullptr, nullptr) == CNN_NULL_POINTER);
  CHECK(forward(toy.parameters.at + 8, 3, in, out, toy.workspace, nullptr) == CNN_BAD_ALIGNMENT);
  CHECK(forward(toy.parameters, 3, in, out, toy.workspace.at + 32, nullptr) == CNN_BAD_ALIGNMENT);
  CHECK(forward(other, 3, in, out, toy.workspace, nullptr) == CNN_BAD_PARAMETERS);
  CHECK(forward(toy.state, 3, in, out, toy.workspace, nullptr) == CNN_BAD_PARAMETERS);
  CHECK(forward(toy.parameters, 0, in, out, toy.workspace, nullptr) == CNN_BAD_BATCH);
  CHECK(forward(toy.parameters, -5, in, out, toy.workspace, nullptr) == CNN_BAD_BATCH);
  CHECK(forward(toy.parameters, INT64_MAX, in, out, toy.workspace, nullptr) == CNN_BAD_BATCH);
  CHECK(forward(toy.parameters, INT64_MIN, in, out, toy.workspace, nullptr) == CNN_BAD_BATCH);
  Threads pool(2);
  const cnn_threads good = *pool.threads;
  cnn_threads bad = good;
  bad.abi_version = 2;
  CHECK(forward(toy.parameters, 3, in, out, toy.workspace, &bad) == CNN_BAD_THREADS);
  bad = good;
  bad.struct_size = 8;
  CHECK(forward(toy.parameters, 3, in, out, toy.workspace, &bad) == CNN_BAD_THREADS);
  bad = good;
  bad.count = 0;
  CHECK(forward(toy.parameters, 3, in, out, toy.workspace, &bad) == CNN_BAD_THREADS);
  bad = good;
  bad.count = 1 << 20;
  CHECK(forward(toy.parameters, 3, in, out, toy.workspace, &bad) == CNN_BAD_THREADS);
  bad = good;
  bad.parallel_for = nullptr;
  CHECK(forward(toy.parameters, 3, in, out, toy.workspace, &bad) == CNN_NULL_POINTER);
  CHECK(toy.y == std::vector<float>(9, 77));

  CHECK(cnn_train_step(toy.parameters, nullptr, 3, in, &toy.loss, toy.workspace, nullptr) == CNN_NULL_POINTER);
  CHECK(cnn_train_step(toy.parameters, other, 3, in, &toy.loss, toy.workspace, nullptr) == CNN_BAD_STATE);
  CHECK(cnn_train_step(toy.parameters, toy.state, 3, in_null, &toy.loss, toy.workspace, nullptr) == CNN_NULL_POINTER);
  CHECK(cnn_train_step(toy.parameters, toy.state, 3, in, nullptr, toy.workspace, nullptr) == CNN_NULL_POINTER);
  CHECK(cnn_gradients(toy.parameters, toy.state, 3, in, &toy.loss, nullptr, toy.workspace, nullptr) ==
        CNN_NULL_POINTER);
  for (const int32_t label : {-1, 3, INT32_MAX, INT32_MIN}) {
    toy.label[1] = label;
    const Block before = toy.parameters;
    CHECK(toy.train() == CNN_BAD_LABEL);
    CHECK(std::memcmp(before.memory.data(), toy.parameters.memory.data(), before.memory.size()) == 0);
  }
  toy.label[1] = 0;
  CHECK(toy.train() == CNN_OK);

  CHECK(cnn_workspace_bytes(3, 2, CNN_TRAIN) == 64 + 3 * 64 + 2 * 64);
  CHECK(cnn_workspace_bytes(0, 2, CNN_TRAIN) == -CNN_BAD_BATCH);
  CHECK(cnn_workspace_bytes(3, 0, CNN_TRAIN) == -CNN_BAD_THREADS);
  CHECK(cnn_workspace_bytes(3, 1, static_cast<cnn_mode>(3)) == -CNN_BAD_SIZE);
  changing_variants[0].functions[CNN_TRAIN] = {};
  CHECK(toy.train() == CNN_NOT_COMPILED);
  CHECK(cnn_workspace_bytes(3, 1, CNN_TRAIN) == -CNN_NOT_COMPILED);
}

TEST_CASE("artefact: labels of every integer type are checked")
{
  Changed changed;
  cnn_tensor typed[] = {inputs[0], inputs[1]};
  changing_network.model.train_inputs = typed;
  Toy toy(1);
  auto train = [&](cnn_dtype dtype, const void* label) {
    typed[1].dtype = dtype;
    const void* in[] = {toy.x.data(), label};
    return cnn_train_step(toy.parameters, toy.state, 1, in, &toy.loss, toy.workspace, nullptr);
  };
  const int8_t below = -1, high8 = 3;
  const uint8_t unsigned_high = 255;
  const int64_t wide = int64_t{1} << 32, negative = -1;
  CHECK(train(CNN_I8, &below) == CNN_BAD_LABEL);
  CHECK(train(CNN_I8, &high8) == CNN_BAD_LABEL);
  CHECK(train(CNN_U8, &unsigned_high) == CNN_BAD_LABEL);
  CHECK(train(CNN_I64, &wide) == CNN_BAD_LABEL);
  CHECK(train(CNN_I64, &negative) == CNN_BAD_LABEL);
}

TEST_CASE("artefact: a machine that lacks an instruction set gets a message")
{
  // No processor has AMD's XOP and FMA4, which are gone since 2017, and AVX-512 FP16 at once.
  uint64_t needs = 0, baseline = 0, bit = 1;
#define CPU_FEATURE(name, leaf, subleaf, word, place, state)                                                           \
  if (std::string(name) == "xop" || std::string(name) == "avx512fp16")                                                 \
    needs |= bit;                                                                                                      \
  if (std::string(name) == "sse3" && __builtin_cpu_supports("sse3"))                                                   \
    baseline |= bit;                                                                                                   \
  if (std::string(name) == "avx2" && __builtin_cpu_supports("avx2"))                                                   \
    baseline |= bit;                                                                                                   \
  if (std::string(name) == "avx512f" && __builtin_cpu_supports("avx512f"))                                             \
    baseline |= bit;                                                                                                   \
  bit <<= 1;
#include "runtime/artefact/cpu_features.def"
#undef CPU_FEATURE
  CHECK(cnn_cpu_has(0));
  CHECK(cnn_cpu_has(baseline));
  CHECK_FALSE(cnn_cpu_has(needs));
  Changed changed;
  changing_variants[0].needs = needs;
  Toy toy(1);
  CHECK(toy.forward() == CNN_BAD_CPU);
  CHECK(cnn_target() == nullptr);
  CHECK(std::string(cnn_error(CNN_BAD_CPU)).find("-march") != std::string::npos);
}

TEST_CASE("artefact: of several variants, the first that this machine runs")
{
  Changed changed;
  changing_network.variant_count = 2;
  changing_variants[0].target = "more";
  changing_variants[1].target = "less";
  CHECK(std::string(cnn_target()) == "more");
  changing_variants[0].needs = ~uint64_t{0} >> 1;
  changing_variants[0].functions[CNN_FORWARD] = {nullptr, 1}; // must not be looked at
  CHECK(std::string(cnn_target()) == "less");
  Toy toy(3);
  CHECK(toy.forward() == CNN_OK);
  CHECK(cnn_workspace_bytes(3, 1, CNN_TRAIN) > 0);
  changing_variants[1].needs = changing_variants[0].needs;
  CHECK(toy.forward() == CNN_BAD_CPU);
  CHECK(cnn_target() == nullptr);
}

TEST_CASE("artefact: every code has a message of its own")
{
  std::vector<std::string> seen;
  for (int code = CNN_OK; code <= CNN_BAD_FILE; ++code) {
    const std::string text = cnn_error(code);
    CHECK(text != cnn_error(-1));
    CHECK(std::find(seen.begin(), seen.end(), text) == seen.end());
    seen.push_back(text);
  }
}

TEST_CASE("artefact: first values follow their law, and neither layout nor order")
{
  const int64_t dims[] = {64, 50}, elements = 64 * 50;
  const cnn_axis planar[] = {{0, 0, 1, 0, 0, 64, 50}, {1, 0, 1, 0, 0, 50, 1}};
  const cnn_axis blocked[] = {{0, 0, 16, 0, 0, 4, 800}, {1, 0, 1, 0, 0, 50, 16}, {0, 0, 1, 16, 0, 16, 1}};
  cnn_tensor plain{"w", CNN_F32, 2, dims, 0, "he(50)", 1, 0, elements, 2, 0, planar};
  cnn_tensor block = plain;
  block.axes = blocked;
  block.axis_count = 3;
  Block a(elements * 4), b(elements * 4);
  cnn_fill(&plain, a, 7);
  cnn_fill(&block, b, 7);
  CHECK_FALSE(a == b);
  std::vector<float> va(elements), vb(elements), vc(elements);
  cnn_gather(&plain, a, 0, elements, va.data());
  cnn_gather(&block, b, 0, elements, vb.data());
  CHECK(va == vb);
  double sum = 0, squares = 0;
  for (const float v : va) {
    sum += v;
    squares += v * v;
  }
  CHECK(std::abs(sum / elements) < 4 * 0.2 / std::sqrt(elements));
  CHECK(std::sqrt(squares / elements) == doctest::Approx(0.2).epsilon(0.05));

  // The formula with libm's functions.
  uint64_t hash = 0xcbf29ce484222325u;
  hash = (hash ^ 'w') * 0x100000001b3u;
  const uint64_t key = cnnc::seed_key(7 ^ hash);
  for (uint64_t i = 0; i < static_cast<uint64_t>(elements); ++i) {
    const double u = (cnnc::random_bits(key, 2 * i) + 1.0) * 0x1p-32, v = cnnc::random_bits(key, 2 * i + 1) * 0x1p-32;
    const double expected = 0.2 * std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.14159265358979323846 * v);
    CHECK(va[i] == doctest::Approx(expected).epsilon(1e-6));
  }

  cnn_fill(&plain, b, 8);
  CHECK_FALSE(a == b);
  plain.name = "v";
  cnn_fill(&plain, b, 7);
  CHECK_FALSE(a == b);
  plain.initial = "glorot(50,100)";
  cnn_fill(&plain, b, 7);
  cnn_gather(&plain, b, 0, elements, vc.data());
  float largest = 0;
  for (const float v : vc)
    largest = std::max(largest, std::abs(v));
  CHECK(largest <= 0.2f);
  CHECK(largest > 0.199f);
  for (const char* text : {"constant(0.05)", "constant(-1.5e-3)", "constant(250)", "constant(1e+06)", "one"}) {
    const double expected = text[0] == 'o' ? 1 : std::stod(text + 9);
    plain.initial = text;
    cnn_fill(&plain, b, 7);
    cnn_gather(&plain, b, 5, 1, vc.data());
    CHECK(vc[0] == static_cast<float>(expected));
  }
}

TEST_CASE("artefact: values that are known at compile time are the first values")
{
  Changed changed;
  Block known(256);
  REQUIRE(cnn_init_parameters(known, 3) == CNN_OK);
  const float bias[] = {5, 6, 7};
  REQUIRE(cnn_set_parameter(known, "dense.bias", bias, 3) == CNN_OK);
  const uint8_t is_known[] = {0, 1};
  changing_network.known = known.at;
  changing_network.is_known = is_known;
  Block block(256);
  REQUIRE(cnn_init_parameters(block, 4) == CNN_OK);
  float values[12];
  REQUIRE(cnn_get_parameter(block, "dense.bias", values, 3) == CNN_OK);
  CHECK(values[1] == 6);
  float other[12];
  REQUIRE(cnn_get_parameter(block, "dense.weight", values, 12) == CNN_OK);
  REQUIRE(cnn_get_parameter(known, "dense.weight", other, 12) == CNN_OK);
  CHECK(values[3] != other[3]);
}

TEST_CASE("artefact: tensors are set and read in the standard layout; borders and pads stay zero")
{
  Toy toy(1);
  const auto values = numbers(12);
  std::vector<float> read(12);
  CHECK(cnn_set_parameter(toy.parameters, "dense.weight", values.data(), 12) == CNN_OK);
  CHECK(cnn_get_parameter(toy.parameters, "dense.weight", read.data(), 12) == CNN_OK);
  CHECK(values == read);
  const auto stored = reinterpret_cast<const float*>(toy.parameters.at + 64);
  std::vector<bool> used(24);
  for (int64_t o = 0; o < 3; ++o)
    for (int64_t c = 0; c < 4; ++c) {
      used[static_cast<size_t>(weight_at(o, c))] = true;
      CHECK(stored[weight_at(o, c)] == values[static_cast<size_t>(o * 4 + c)]);
    }
  for (size_t i = 0; i < 24; ++i)
    if (!used[i])
      CHECK(stored[i] == 0);
  // Any part of a row-major walk, too.
  for (int64_t first = 0; first < 12; ++first)
    for (int64_t count = 0; count <= 12 - first; ++count) {
      std::vector<float> part(static_cast<size_t>(count));
      cnn_gather(&parameters[0], toy.parameters, first, count, part.data());
      CHECK(std::equal(part.begin(), part.end(), values.begin() + first));
    }
  CHECK(cnn_set_parameter(toy.parameters, "dense.weight", values.data(), 11) == CNN_BAD_SIZE);
  CHECK(cnn_set_parameter(toy.parameters, "weight", values.data(), 12) == CNN_NOT_FOUND);
  CHECK(cnn_set_parameter(toy.parameters, nullptr, values.data(), 12) == CNN_NULL_POINTER);
  CHECK(cnn_set_parameter(toy.state, "dense.weight", values.data(), 12) == CNN_BAD_PARAMETERS);
  CHECK(cnn_get_parameter(toy.parameters, "dense.weight", read.data(), 13) == CNN_BAD_SIZE);
  CHECK(cnn_get_state(toy.parameters, "steps", read.data(), 1) == CNN_BAD_STATE);
}

TEST_CASE("artefact: parameters come back from a file")
{
  Folder folder;
  Toy toy(1);
  const std::string path = folder / "w.safetensors";
  REQUIRE(cnn_save_parameters(toy.parameters, path.c_str()) == CNN_OK);
  CHECK(std::distance(begin(std::filesystem::directory_iterator(folder.path)), std::filesystem::directory_iterator()) ==
        1);
  Block loaded(256);
  REQUIRE(cnn_load_parameters(loaded, path.c_str()) == CNN_OK);
  CHECK(loaded == toy.parameters);
  REQUIRE(cnn_save_parameters(loaded, path.c_str()) == CNN_OK); // over an old file

  CHECK(cnn_load_parameters(loaded, (folder / "none").c_str()) == CNN_CANNOT_READ);
  CHECK(cnn_load_parameters(loaded, folder.path.c_str()) == CNN_BAD_FILE);
  CHECK(cnn_save_parameters(toy.parameters, (folder / "no/such/folder").c_str()) == CNN_CANNOT_WRITE);
  CHECK(cnn_load_parameters(loaded, nullptr) == CNN_NULL_POINTER);
  CHECK(loaded == toy.parameters);
}

TEST_CASE("artefact: a file by another program loads, one that lies is refused and changes nothing")
{
  Folder folder;
  Toy toy(1);
  const std::string path = folder / "w.safetensors";
  const std::string weight = R"("dense.weight":{"dtype":"F32","shape":[3,4],"data_offsets":[12,60]})";
  const std::string bias = R"("dense.bias":{"dtype":"F32","shape":[3],"data_offsets":[0,12]})";
  auto load = [&](const std::string& bytes) {
    write_file(path, bytes);
    const Block before = toy.parameters;
    const int code = cnn_load_parameters(toy.parameters, path.c_str());
    if (code != CNN_OK)
      CHECK(std::memcmp(before.memory.data(), toy.parameters.memory.data(), before.memory.size()) == 0);
    return code;
  };
  CHECK(load(safetensors("{" + weight + "," + bias + "}")) == CNN_OK);
  CHECK(load(safetensors(" { \"\\u0064ense.bias\" :\n" + bias.substr(13) +
                         ", \"more\": [1, {\"a\": null}, -2.5e3, true]," + weight + " } ")) == CNN_OK);
  CHECK(load(safetensors("{\"__metadata__\":{\"\\ud83d\\ude00\":\"\\n\"}," + weight + "," + bias + "}")) == CNN_OK);

  const std::string good = "{" + weight + "," + bias + "}";
  auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    REQUIRE(text.find(from) != std::string::npos);
    return safetensors(text.replace(text.find(from), from.size(), to));
  };
  CHECK(load(safetensors("{" + weight + "}")) == CNN_BAD_FILE);
  CHECK(load(safetensors("{" + weight + "," + weight + "," + bias + "}")) == CNN_BAD_FILE);
  CHECK(load(safetensors(good, 59)) == CNN_BAD_FILE);
  CHECK(load(safetensors(good + "x")) == CNN_BAD_FILE);
  CHECK(load(with("F32", "F64")) == CNN_BAD_FILE);
  CHECK(load(with("[3,4]", "[4,3]")) == CNN_BAD_FILE);
  CHECK(load(with("[3,4]", "[12]")) == CNN_BAD_FILE);
  CHECK(load(with("[3,4]", "[3,4,1]")) == CNN_BAD_FILE);
  CHECK(load(with("[3,4]", "[1,1,1,1,1,1,1,1,1,1,3,4]")) == CNN_BAD_FILE);
  CHECK(load(with("[3,4]", "[3,18446744073709551620]")) == CNN_BAD_FILE);
  CHECK(load(with("[3,4]", "[3,-4]")) == CNN_BAD_FILE);
  CHECK(load(with("[12,60]", "[60,12]")) == CNN_BAD_FILE);
  CHECK(load(with("[12,60]", "[13,61]")) == CNN_BAD_FILE);
  CHECK(load(with("[12,60]", "[9223372036854775760,9223372036854775808]")) == CNN_BAD_FILE);
  CHECK(load(with("[12,60]", "[12,60")) == CNN_BAD_FILE);
  CHECK(load(with("dense.weight", "dense.weight\\u0000")) == CNN_BAD_FILE);
  CHECK(load(with("dense.weight", std::string(5000, 'a'))) == CNN_BAD_FILE);
  CHECK(load(safetensors("{\"a\":" + std::string(100000, '[') + "}")) == CNN_BAD_FILE);
  CHECK(load("") == CNN_BAD_FILE);
  CHECK(load(std::string(8, '\xff')) == CNN_BAD_FILE);
  const std::string whole = safetensors(good);
  for (size_t length = 0; length < whole.size(); ++length)
    CHECK(load(whole.substr(0, length)) == CNN_BAD_FILE);
  // Any byte changed: refused, or the same shapes under other bytes; never worse.
  for (size_t at = 0; at < whole.size() - 60; ++at)
    for (const int bit : {0, 3, 5, 7}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      const int code = load(changed);
      CHECK((code == CNN_OK || code == CNN_BAD_FILE));
    }
}

TEST_CASE("artefact: the pool runs every task once, and no thread number twice at a time")
{
  for (const int count : {1, 2, 4, 9}) {
    Threads pool(count);
    for (const int64_t tasks : {0, 1, 2, 3, 8, 100, 1001}) {
      struct Context {
        std::vector<std::atomic<int>> done, inside;
        std::atomic<bool> wrong{false};
      } context{std::vector<std::atomic<int>>(static_cast<size_t>(tasks)),
                std::vector<std::atomic<int>>(static_cast<size_t>(count))};
      pool.threads->parallel_for(
          pool.threads->pool, tasks,
          [](void* raw, int64_t begin, int64_t end, int thread) {
            auto& c = *static_cast<Context*>(raw);
            if (static_cast<size_t>(thread) >= c.inside.size() || ++c.inside[static_cast<size_t>(thread)] != 1)
              c.wrong = true;
            for (int64_t i = begin; i < end; ++i)
              ++c.done[static_cast<size_t>(i)];
            --c.inside[static_cast<size_t>(thread)];
          },
          &context);
      CHECK_FALSE(context.wrong);
      for (const auto& done : context.done)
        CHECK(done == 1);
    }
  }
}

TEST_CASE("artefact: jobs follow each other, quickly and after a sleep")
{
  Threads pool(3);
  struct Context {
    std::atomic<int64_t> sum{0};
  } context;
  for (int job = 0; job < 5000; ++job) {
    if (job % 1000 == 999)
      std::this_thread::sleep_for(std::chrono::milliseconds(5)); // the workers are asleep by then
    pool.threads->parallel_for(
        pool.threads->pool, 16,
        [](void* raw, int64_t begin, int64_t end, int) { static_cast<Context*>(raw)->sum += end - begin; }, &context);
  }
  CHECK(context.sum == 5000 * 16);
}

TEST_CASE("artefact: workers take part")
{
  Threads pool(2);
  struct Context {
    std::atomic<int> arrived{0};
    std::atomic<bool> both{false};
  } context;
  // The first task to run waits for the other thread: it comes, if there is one.
  pool.threads->parallel_for(
      pool.threads->pool, 2,
      [](void* raw, int64_t, int64_t, int) {
        auto& c = *static_cast<Context*>(raw);
        ++c.arrived;
        const auto start = std::chrono::steady_clock::now();
        while (c.arrived < 2 && std::chrono::steady_clock::now() - start < std::chrono::seconds(20))
          std::this_thread::yield();
        c.both = c.arrived == 2;
      },
      &context);
  CHECK(context.both);
}

TEST_CASE("artefact: several callers on one pool, each with its own workspace")
{
  Threads pool(3);
  Toy expected(40);
  REQUIRE(expected.forward() == CNN_OK);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      Toy toy(40, 3);
      for (int i = 0; i < 200; ++i) {
        toy.y.assign(toy.y.size(), 0);
        if (toy.forward(pool.threads) != CNN_OK || toy.y != expected.y)
          ++wrong;
      }
    });
  for (std::thread& caller : callers)
    caller.join();
  CHECK(wrong == 0);
}

TEST_CASE("artefact: pools come and go")
{
  for (int i = 0; i < 50; ++i)
    Threads pool(1 + i % 5);
  cnn_threads* threads = nullptr;
  CHECK(cnn_threads_create(0, &threads) == CNN_BAD_THREADS);
  CHECK(cnn_threads_create(1 << 30, &threads) == CNN_BAD_THREADS);
  CHECK(cnn_threads_create(2, nullptr) == CNN_NULL_POINTER);
  CHECK(threads == nullptr);
  cnn_threads_free(nullptr);
}
