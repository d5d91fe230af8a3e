#include "runtime/trainer.h"

#include "ir/location.h"
#include "ir/random.h"
#include "runtime/safetensors.h"
#include "runtime/weights.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fmt/format.h>
#include <limits>
#include <numbers>
#include <numeric>

namespace cnnc {

namespace {

constexpr double smoothing = 0.98;
constexpr int64_t evaluation_batch = 256;
constexpr int64_t evaluation_floats = 8 << 20; // of inputs at a time: large pictures come in smaller batches

// One stream of random numbers for each epoch and purpose.
enum class Purpose : uint64_t { order, augmentation, count };
uint64_t stream_key(uint64_t seed, int epoch, Purpose purpose)
{
  uint64_t number =
      static_cast<uint64_t>(epoch) * static_cast<uint64_t>(Purpose::count) + static_cast<uint64_t>(purpose);
  return seed_key(seed_key(seed) + number);
}

double seconds_since(std::chrono::steady_clock::time_point start)
{
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

const cnn_tensor* find_state(const cnn_model& model, std::string_view name)
{
  for (int i = 0; i < model.state_count; ++i)
    if (model.states[i].name == name)
      return &model.states[i];
  return nullptr;
}

// The model, once it and the options have been looked at: before anything is started for them.
const cnn_model& checked(const cnn_model& model, const TrainOptions& o)
{
  check_version(model);
  auto wrong = [](const std::string& text) { return Error({}, text, {}, 2); };
  if (o.epochs < 1)
    throw wrong(fmt::format("{} epochs: at least 1 is wanted", o.epochs));
  if (o.batch < 1)
    throw wrong(fmt::format("a batch of {}: at least 1 is wanted", o.batch));
  if (o.limit < 0)
    throw wrong(fmt::format("a limit of {} images: at least 1 is wanted", o.limit));
  if (o.learning_rate && !(std::isfinite(*o.learning_rate) && *o.learning_rate > 0))
    throw wrong(fmt::format("a learning rate of {}: a number above 0 is wanted", *o.learning_rate));
  if (o.step_epochs < 1 || !(std::isfinite(o.step_factor) && o.step_factor > 0))
    throw wrong("the steps of the learning rate: at least 1 epoch and a factor above 0 are wanted");
  return model;
}

// Numbers in metadata, in a form that reads back equal.
std::string hex(double value)
{
  return fmt::format("{:a}", value);
}

} // namespace

std::vector<int64_t> shuffled(int64_t count, uint64_t seed, int epoch)
{
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  uint64_t key = stream_key(seed, epoch, Purpose::order);
  for (size_t i = order.size(); i > 1; --i) {
    // 64 bits scaled to [0, i): the bias is below i / 2^64.
    uint64_t bits = uint64_t{random_bits(key, 2 * i)} << 32 | random_bits(key, 2 * i + 1);
    __extension__ using Wide = unsigned __int128;
    std::swap(order[i - 1], order[static_cast<size_t>((static_cast<Wide>(bits) * i) >> 64)]);
  }
  return order;
}

Trainer::Trainer(const cnn_model& model, const Dataset& dataset, TrainOptions options)
    : model_(checked(model, options)),
      dataset_(dataset),
      options_(std::move(options)),
      threads_(model, options_.threads),
      reader_(dataset.train, options_.scaling, options_.augmentation)
{
  if (!model.train_step)
    throw Error({}, fmt::format("{}: was compiled without training", model.name));
  check_images(model, dataset.train.dims());
  const cnn_tensor* inputs = model.train_inputs;
  if (model.train_input_count != 2 || inputs[0].dtype != CNN_F32 || elements_of(inputs[0], 1) != reader_.size())
    throw Error({},
                fmt::format("{}: to be trained on examples it should read f32 images and their labels", model.name));
  if (dtype_of(inputs[1]) != dataset.train.label_type() || elements_of(inputs[1], 1) != dataset.train.label_size())
    throw Error({}, fmt::format("{}: its loss wants {} {} an image, the labels of {} are {} {}", model.name,
                                elements_of(inputs[1], 1), to_string(dtype_of(inputs[1])), dataset.name,
                                dataset.train.label_size(), to_string(dataset.train.label_type())));
  int64_t classes = classes_of(model) / (dataset.train.has_classes() ? dataset.train.label_size() : 1);
  if (int64_t limit = inputs[1].limit; limit > 0)
    classes = std::min(classes, limit);
  check_labels(dataset.train, classes, fmt::format("{}, training", dataset.name));
  check_labels(dataset.test, classes, fmt::format("{}, test", dataset.name));

  images_ = options_.limit > 0 ? std::min(options_.limit, dataset.train.count()) : dataset.train.count();
  options_.batch = std::min(options_.batch, images_);

  parameters_ = first_parameters(model, options_.seed);
  state_ = Block(model.state_bytes);
  check(model, model.init_state(state_.data(), options_.seed), "initialise the state");

  rate_ = find_state(model, learning_rate_state);
  if (rate_ && (elements_of(*rate_, 1) != 1 || (rate_->dtype != CNN_F32 && rate_->dtype != CNN_F64)))
    throw Error({}, fmt::format("{}: its state '{}' should be one float", model.name, learning_rate_state));
  if (!rate_ && (options_.learning_rate || options_.schedule != Schedule::constant))
    throw Error({}, fmt::format("{}: its learning rate is compiled in and cannot be changed", model.name));
  if (rate_) {
    Tensor value(dtype_of(*rate_), {});
    check(model, model.get_state(state_.data(), rate_->name, value.bytes.data(), 1), "read the learning rate");
    first_rate_ = options_.learning_rate.value_or(value.get(0));
  }
}

double Trainer::rate_now() const
{
  double done = epoch_ + static_cast<double>(step_) / static_cast<double>(steps());
  switch (options_.schedule) {
  case Schedule::constant: return first_rate_;
  case Schedule::step: return first_rate_ * std::pow(options_.step_factor, epoch_ / options_.step_epochs);
  case Schedule::cosine: return first_rate_ * (1 + std::cos(std::numbers::pi * done / options_.epochs)) / 2;
  }
  throw InternalError("Trainer: no such schedule");
}

void Trainer::set_rate(double rate)
{
  if (!rate_ || rate == set_rate_)
    return;
  Tensor value(dtype_of(*rate_), {});
  value.set(0, rate);
  check(model_, model_.set_state(state_.data(), rate_->name, value.bytes.data(), 1), "set the learning rate");
  set_rate_ = rate;
}

TrainResult Trainer::run()
{
  using Clock = std::chrono::steady_clock;
  Block images(options_.batch * reader_.size() * static_cast<int64_t>(sizeof(float)));
  const int64_t label_bytes = dataset_.train.label_size() * bytes_of(dataset_.train.label_type());
  Block labels(options_.batch * label_bytes);
  Block workspace = workspace_of(model_, options_.batch, threads_.count(), CNN_TRAIN);
  const void* inputs[] = {images.data(), labels.data()};
  auto interrupted = [&] { return options_.interrupt && options_.interrupt->load(std::memory_order_relaxed); };

  TrainResult result;
  int64_t trained = 0; // images, in `training` seconds
  double training = 0, evaluating = 0;
  int evaluations = 0;
  while (epoch_ < options_.epochs) {
    auto epoch_start = Clock::now();
    std::vector<int64_t> order = shuffled(images_, options_.seed, epoch_);
    uint64_t key = stream_key(options_.seed, epoch_, Purpose::augmentation);
    while (step_ < steps()) {
      if (interrupted()) {
        result.interrupted = true;
        return result;
      }
      auto step_start = Clock::now();
      int64_t first = step_ * options_.batch, n = std::min(options_.batch, images_ - first);
      const int64_t* which = order.data() + first;
      auto* out = static_cast<float*>(images.data());
      threads_.each(n, [&](int64_t i) {
        reader_.read(which[i], key, out + i * reader_.size());
        dataset_.train.read_label(which[i], static_cast<std::byte*>(labels.data()) + i * label_bytes);
      });
      double rate = rate_now();
      set_rate(rate);
      float loss = 0;
      check(model_,
            model_.train_step(parameters_.data(), state_.data(), n, inputs, &loss, workspace.data(), threads_.get()),
            "train");
      if (!std::isfinite(loss))
        throw Error({}, fmt::format("the loss became {} in epoch {}, step {} of {}; {}", loss, epoch_ + 1, step_ + 1,
                                    steps(),
                                    rate_ ? fmt::format("try a learning rate below {}", rate)
                                          : std::string("try a smaller learning rate")));
      ++step_;
      loss_sum_ += static_cast<double>(loss) * static_cast<double>(n);
      smooth_loss_ = smoothing * smooth_loss_ + (1 - smoothing) * loss;
      smooth_weight_ = smoothing * smooth_weight_ + (1 - smoothing);
      trained += n;
      training += seconds_since(step_start);
      if (options_.on_step) {
        TrainProgress progress;
        progress.epoch = epoch_ + 1;
        progress.epochs = options_.epochs;
        progress.step = step_;
        progress.steps = steps();
        progress.loss = smooth_loss_ / smooth_weight_;
        progress.learning_rate = rate_ ? rate : 0;
        progress.images_per_second = training > 0 ? static_cast<double>(trained) / training : 0;
        if (progress.images_per_second > 0) {
          int64_t left = images_ - std::min(images_, step_ * options_.batch);
          int epochs_left = options_.epochs - epoch_ - 1;
          progress.remaining_seconds =
              (static_cast<double>(left) + static_cast<double>(images_) * epochs_left) / progress.images_per_second;
          if (evaluations > 0)
            progress.remaining_seconds += evaluating / evaluations * (epochs_left + 1);
        }
        options_.on_step(progress);
      }
    }
    EpochReport report;
    report.epoch = ++epoch_;
    report.loss = loss_sum_ / static_cast<double>(images_);
    step_ = 0;
    loss_sum_ = 0;
    auto evaluation_start = Clock::now();
    Evaluation evaluation = evaluate_test();
    if (evaluation.interrupted) {
      result.interrupted = true;
      return result;
    }
    evaluating += seconds_since(evaluation_start);
    ++evaluations;
    report.accuracy = evaluation.accuracy();
    report.has_classes = evaluation.has_classes;
    report.deviation = evaluation.deviation;
    report.seconds = seconds_since(epoch_start);
    result.epochs.push_back(report);
    if (options_.on_epoch)
      options_.on_epoch(report);
  }
  return result;
}

Evaluation Trainer::evaluate_test() const
{
  return evaluate(model_, parameters_.data(), dataset_.test, options_.scaling, threads_,
                  std::clamp(evaluation_floats / reader_.size(), int64_t{1}, evaluation_batch), 0, options_.interrupt);
}

void Trainer::load_parameters(const std::string& path)
{
  load_weights(model_, parameters_.data(), path);
}

void Trainer::save_parameters(const std::string& path) const
{
  check(model_, model_.save_parameters(parameters_.data(), path.c_str()), "save " + path);
}

void Trainer::save_checkpoint(const std::string& path) const
{
  std::vector<Tensor> tensors;
  std::vector<std::string> names;
  for (int i = 0; i < model_.parameter_count; ++i) {
    const cnn_tensor& p = model_.parameters[i];
    Tensor& t = tensors.emplace_back(dtype_of(p), dims_of(p, 1));
    check(model_, model_.get_parameter(parameters_.data(), p.name, t.bytes.data(), t.size()), "read a parameter");
    names.push_back(p.name);
  }
  for (int i = 0; i < model_.state_count; ++i) {
    const cnn_tensor& s = model_.states[i];
    Tensor& t = tensors.emplace_back(dtype_of(s), dims_of(s, 1));
    check(model_, model_.get_state(state_.data(), s.name, t.bytes.data(), t.size()), "read a state");
    names.push_back(std::string("state.") + s.name);
  }
  std::vector<std::pair<std::string, const Tensor*>> list;
  for (size_t i = 0; i < names.size(); ++i)
    list.emplace_back(names[i], &tensors[i]);
  write_safetensors(path, list,
                    {{"network", model_.name},
                     {"seed", std::to_string(options_.seed)},
                     {"batch", std::to_string(options_.batch)},
                     {"images", std::to_string(images_)},
                     {"epoch", std::to_string(epoch_)},
                     {"step", std::to_string(step_)},
                     {"first_learning_rate", hex(first_rate_)},
                     {"loss_sum", hex(loss_sum_)},
                     {"smooth_loss", hex(smooth_loss_)},
                     {"smooth_weight", hex(smooth_weight_)}});
}

void Trainer::load_checkpoint(const std::string& path)
{
  SafetensorsFile file(path);
  auto text = [&](const std::string& key) {
    auto it = file.metadata().find(key);
    if (it == file.metadata().end())
      throw bad_file(
          path, fmt::format("is not a checkpoint: '{}' is missing (a weights file has no place in a training)", key));
    return it->second;
  };
  auto same = [&](const std::string& key, const std::string& ours) {
    if (std::string theirs = text(key); theirs != ours)
      throw bad_file(path, fmt::format("the checkpoint was made with {} {}, this training has {}", key, theirs, ours));
  };
  auto number = [&](const std::string& key, double most) {
    std::string value = text(key);
    char* end = nullptr;
    double result = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0' || !std::isfinite(result) || std::abs(result) > most)
      throw bad_file(path, fmt::format("the checkpoint's {} is '{}'", key, value));
    return result;
  };
  auto count = [&](const std::string& key, int64_t most) {
    double value = number(key, static_cast<double>(most));
    if (value < 0 || value != std::floor(value))
      throw bad_file(path, fmt::format("the checkpoint's {} is '{}'", key, text(key)));
    return static_cast<int64_t>(value);
  };
  same("network", model_.name);
  same("seed", std::to_string(options_.seed));
  same("batch", std::to_string(options_.batch));
  same("images", std::to_string(images_));

  auto tensor = [&](const std::string& name, const cnn_tensor& like) {
    const SafetensorsFile::Entry* entry = file.find(name);
    if (!entry)
      throw bad_file(path, fmt::format("'{}' is missing", name));
    if (entry->dtype != dtype_of(like) || entry->dims != dims_of(like, 1))
      throw bad_file(path, fmt::format("'{}' is {} [{}], the network wants {} [{}]", name, entry->stored_as,
                                       fmt::join(entry->dims, ","), to_string(dtype_of(like)),
                                       fmt::join(dims_of(like, 1), ",")));
    return file.read(*entry);
  };
  // Into new blocks: after an error this trainer is as it was.
  Block parameters(model_.parameter_bytes), state(model_.state_bytes);
  check(model_, model_.init_parameters(parameters.data(), options_.seed), "initialise the parameters");
  check(model_, model_.init_state(state.data(), options_.seed), "initialise the state");
  for (int i = 0; i < model_.parameter_count; ++i) {
    const cnn_tensor& p = model_.parameters[i];
    Tensor t = tensor(p.name, p);
    check(model_, model_.set_parameter(parameters.data(), p.name, t.bytes.data(), t.size()), "set a parameter");
  }
  for (int i = 0; i < model_.state_count; ++i) {
    const cnn_tensor& s = model_.states[i];
    Tensor t = tensor(std::string("state.") + s.name, s);
    check(model_, model_.set_state(state.data(), s.name, t.bytes.data(), t.size()), "set a state");
  }
  constexpr double any = std::numeric_limits<double>::max();
  auto epoch = static_cast<int>(count("epoch", 1'000'000'000));
  int64_t step = count("step", steps());
  double first_rate = number("first_learning_rate", any), loss_sum = number("loss_sum", any);
  double smooth_loss = number("smooth_loss", any), smooth_weight = std::max(0.0, number("smooth_weight", 1));

  parameters_ = std::move(parameters);
  state_ = std::move(state);
  epoch_ = epoch;
  step_ = step;
  loss_sum_ = loss_sum;
  smooth_loss_ = smooth_loss;
  smooth_weight_ = smooth_weight;
  first_rate_ = options_.learning_rate.value_or(first_rate);
  set_rate_ = -1;
}

} // namespace cnnc
