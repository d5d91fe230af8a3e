// The training loop over a compiled network: each epoch visits every image once, in an order that the seed fixes.
//
//   for each epoch   for each batch of shuffle(seed, epoch):  images, labels => train_step     then: accuracy on the
//   test set
//
// What a step computes depends on the options, the seed and its number alone: not on threads, nor on being interrupted
// and resumed from a checkpoint.
#pragma once

#include "runtime/evaluate.h"

#include <atomic>
#include <functional>
#include <optional>

namespace cnnc {

// How the learning rate r of the start goes on; e is the number of epochs done, with the fraction of the running one.
enum class Schedule : uint8_t {
  constant, // r
  step,     // r * step_factor ^ floor(e / step_epochs)
  cosine,   // r * (1 + cos(pi * e / epochs)) / 2, for each step
};

// A network that lets its learning rate be changed has this state, a scalar.
constexpr const char* learning_rate_state = "learning_rate";

struct TrainProgress {
  int epoch = 0, epochs = 0;     // the running one, from 1
  int64_t step = 0, steps = 0;   // done in it
  double loss = 0;               // smoothed over some 50 steps
  double learning_rate = 0;      // 0: not known
  double images_per_second = 0;  // while training
  double remaining_seconds = -1; // of the whole training; below 0: not known yet
};

struct EpochReport {
  int epoch = 0;       // from 1
  double loss = 0;     // the mean over its images, while they were learnt
  double accuracy = 0; // on the test set
  bool has_classes = true;
  double deviation = 0; // in place of accuracy, where labels are numbers
  double seconds = 0;   // the evaluation included
};

struct TrainOptions {
  int epochs = 5;
  int64_t batch = 64;                  // the last one of an epoch may be smaller
  std::optional<double> learning_rate; // nothing: the network's own
  Schedule schedule = Schedule::constant;
  int step_epochs = 10;
  double step_factor = 0.1;
  uint64_t seed = 1;
  int threads = 1;
  Augmentation augmentation;
  Scaling scaling;
  int64_t limit = 0; // train on the first so many images; 0: all
  // Looked at between steps: once it is true, run() returns in good order.
  const std::atomic<bool>* interrupt = nullptr;
  std::function<void(const TrainProgress&)> on_step;
  std::function<void(const EpochReport&)> on_epoch;
};

struct TrainResult {
  std::vector<EpochReport> epochs;
  bool interrupted = false;
};

class Trainer {
public:
  // Initial parameters are those in the library, else they come from the seed. The data set must outlive the trainer.
  // Throws Error where network, data and options do not fit.
  Trainer(const cnn_model&, const Dataset&, TrainOptions);

  // From where it stands to the last epoch. Throws Error where the loss is no longer a number.
  TrainResult run();

  const void* parameters() const { return parameters_.data(); }
  Evaluation evaluate_test() const;

  void load_parameters(const std::string& path);
  void save_parameters(const std::string& path) const;
  // One .safetensors with the parameters by name (so that it is a weights file too), the state as "state.NAME", and
  // where the training stood as metadata. Loading refuses one of another network, or where batch, seed or images
  // differ.
  void save_checkpoint(const std::string& path) const;
  void load_checkpoint(const std::string& path);

private:
  int64_t steps() const { return (images_ + options_.batch - 1) / options_.batch; }
  double rate_now() const;
  void set_rate(double rate);

  const cnn_model& model_;
  const Dataset& dataset_;
  TrainOptions options_;
  ModelThreads threads_;
  ImageReader reader_;
  int64_t images_ = 0; // of the training set, that are used
  Block parameters_, state_;
  const cnn_tensor* rate_ = nullptr; // the state of the learning rate
  double first_rate_ = 0;            // where the schedule starts
  double set_rate_ = -1;             // what the state holds

  // Where the training stands; all of it is in a checkpoint.
  int epoch_ = 0;          // epochs done
  int64_t step_ = 0;       // steps done in the running one
  double loss_sum_ = 0;    // over the images of the running one
  double smooth_loss_ = 0; // not yet divided by smooth_weight_
  double smooth_weight_ = 0;
};

// The order in which an epoch (from 0) visits `count` images: Fisher-Yates (Knuth, TAOCP volume 2, 3.4.2, algorithm P)
// on counter-based random numbers.
std::vector<int64_t> shuffled(int64_t count, uint64_t seed, int epoch);

} // namespace cnnc
