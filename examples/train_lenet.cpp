// Trains LeNet-5 from C++ on random pictures that have a rule, to show the calls; train_lenet.c reads Fashion-MNIST.
//
//   cnnc examples/lenet5.yaml --train -o lenet5.so
//   g++ -std=c++17 -I. -Iinclude -Iruntime/artefact examples/train_lenet.cpp -L. -l:lenet5.so -Wl,-rpath,. -o
//   train_lenet
//   ./train_lenet
#include "lenet5.h"

#include <cnnc.hpp>

#include <cstdio>
#include <random>

int main()
try {
  constexpr int64_t batch = 64, pixels = 28 * 28, classes = 10;
  cnnc::Network net(lenet5());
  cnnc::Session session(net, 2);
  std::vector<float> image(batch * pixels), scores(batch * classes);
  std::vector<int32_t> label(batch);
  std::mt19937 random(1);
  std::normal_distribution<float> noise(0, 0.5f);

  // Noise, and a picture of class c is brighter in rows 2c to 2c + 9.
  const auto draw = [&] {
    for (int64_t i = 0; i < batch; ++i) {
      label[i] = static_cast<int32_t>(random() % classes);
      for (int64_t p = 0; p < pixels; ++p) {
        const int64_t row = p / 28 - 2 * label[i];
        image[i * pixels + p] = noise(random) + (row >= 0 && row < 10 ? 0.5f : 0.f);
      }
    }
  };
  for (int step = 1; step <= 100; ++step) {
    draw();
    const float loss = session.train_step(batch, {image, label});
    if (step % 20 == 0)
      std::printf("step %d: loss %.4f\n", step, loss);
  }

  draw();
  session.forward(batch, {image}, {scores});
  int right = 0;
  for (int64_t i = 0; i < batch; ++i) {
    int32_t best = 0;
    for (int32_t c = 1; c < classes; ++c)
      best = scores[i * classes + c] > scores[i * classes + best] ? c : best;
    right += best == label[i];
  }
  std::printf("%d of %d new pictures are right\n", right, static_cast<int>(batch));
  net.save("lenet5.safetensors");
} catch (const cnnc::Error& e) {
  std::fprintf(stderr, "train_lenet: %s\n", e.what());
  return 1;
}
