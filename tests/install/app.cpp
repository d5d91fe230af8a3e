// cnnc.hpp as a user meets it: linked and loaded, right and wrong.
#include "small.h"

#include <cnnc.hpp>

#include <array>
#include <cmath>
#include <cstdio>
#include <thread>

namespace {

int failures = 0;

void expect(bool holds, const char* what)
{
  if (!holds) {
    std::fprintf(stderr, "wrong: %s\n", what);
    ++failures;
  }
}

template<class Call>
void expect_error(Call call, const std::string& part)
{
  try {
    call();
    expect(false, ("no error: " + part).c_str());
  } catch (const cnnc::Error& e) {
    expect(std::string(e.what()).find(part) != std::string::npos, e.what());
  }
}

} // namespace

int main(int, char** argv)
{
  constexpr int64_t n = 8;
  std::vector<float> image(n * 16), scores(n * 2);
  std::array<int32_t, n> label{};
  for (int64_t i = 0; i < n * 16; ++i)
    image[static_cast<size_t>(i)] = static_cast<float>((i * 37 % 101) / 101.0 + (i / 16 % 2));
  for (int64_t i = 0; i < n; ++i)
    label[static_cast<size_t>(i)] = static_cast<int32_t>(i % 2);

  cnnc::Network net(small());
  cnnc::Session session(net, 2);
  session.forward(n, {image}, {scores});
  for (size_t i = 0; i < n; ++i)
    expect(std::abs(scores[2 * i] + scores[2 * i + 1] - 1) < 1e-5, "softmax sums to one");

  const float first = session.train_step(n, {image, label});
  float last = first;
  for (int i = 0; i < 100; ++i)
    last = session.train_step(n, {image, label});
  expect(last < first / 2, "training lowers the loss");
  expect(net.get_state<int64_t>("step")[0] == 101, "the steps are counted");
  net.set_learning_rate(0.5f);
  expect(net.get_state("learning_rate")[0] == 0.5f, "the rate is set");

  // The gradient is what the loss does.
  const cnnc::Block gradients(net.model().parameter_bytes);
  const float loss = session.gradients(n, {image, label}, gradients);
  std::vector<float> slope(2), bias = net.get("logits.bias");
  net.check(net.model().get_parameter(gradients.data(), "logits.bias", slope.data(), 2), "read a gradient");
  bias[0] += 0.01f;
  net.set("logits.bias", bias);
  expect(std::abs((session.gradients(n, {image, label}, gradients) - loss) / 0.01f - slope[0]) < 0.01, "the gradient");

  // Loaded at run time, with the weights of the other.
  net.save("w.safetensors");
  cnnc::Network loaded = cnnc::Network::open(argv[1]);
  loaded.load("w.safetensors");
  session.forward(n, {image}, {scores});
  std::vector<std::thread> threads;
  std::array<bool, 4> same{};
  for (size_t t = 0; t < same.size(); ++t)
    threads.emplace_back([&, t] {
      std::vector<float> again(n * 2);
      cnnc::Session mine(loaded);
      for (int i = 0; i < 50; ++i)
        mine.forward(n, {image}, {again});
      same[t] = again == scores;
    });
  for (std::thread& thread : threads)
    thread.join();
  for (const bool is_same : same)
    expect(is_same, "equal weights give equal bits, from any thread");
  net.init(5);
  expect(net.get("logits.bias")[0] == 0, "first values");

  std::vector<double> wide(n * 16);
  expect_error([&] { session.forward(n, {wide}, {scores}); }, "'image' has elements of another type");
  expect_error([&] { session.forward(n - 1, {image}, {scores}); }, "'image' has 112 elements, 128 are given");
  expect_error([&] { session.forward(0, {image}, {scores}); }, "batch");
  expect_error([&] { session.forward(n, {image, label}, {scores}); }, "1 tensors are wanted, 2 are given");
  label[0] = 2;
  expect_error([&] { session.train_step(n, {image, label}); }, "label");
  expect_error([&] { net.get("conv.wieght"); }, "no tensor 'conv.wieght'");
  expect_error([&] { net.load("missing.safetensors"); }, "missing.safetensors");
  expect_error([] { cnnc::Network::open("./missing.so"); }, "cannot load");
  expect_error([&] { cnnc::Network::open(argv[1], "other"); }, "has no network 'other'");
  if (failures == 0)
    std::puts("all well");
  return failures == 0 ? 0 : 1;
}
