#include "runtime/trainer.h"

#include "fixture.h"
#include "logistic.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <numeric>

using namespace cnnc;
using namespace cnnc::test;

namespace {

using Small = Logistic<4, 3>;

// Class k is brighter in row k; 47 training and 30 test images.
Dataset rows()
{
  Dataset d;
  d.name = "rows";
  d.classes = 3;
  uint64_t key = seed_key(5), counter = 0;
  for (auto [part, count] : {std::pair(&d.train, 47), std::pair(&d.test, 30)}) {
    part->images = Tensor(DType::u8, {count, 1, 4, 4});
    for (int n = 0; n < count; ++n) {
      part->labels.push_back(n % 3);
      for (int i = 0; i < 16; ++i)
        part->images.set(n * 16 + i, (i / 4 == n % 3 ? 120 : 40) + random_bits(key, counter++) % 100);
    }
  }
  return d;
}

std::vector<std::byte> bytes_of(const Trainer& trainer)
{
  const auto* begin = static_cast<const std::byte*>(trainer.parameters());
  return {begin, begin + sizeof(Small::Parameters)};
}

TrainOptions options()
{
  TrainOptions o;
  o.epochs = 3;
  o.batch = 8;
  return o;
}

} // namespace

TEST_CASE("every epoch visits each image once, in an order of its own that only the seed decides")
{
  std::vector<int64_t> sorted(1000);
  std::iota(sorted.begin(), sorted.end(), 0);
  std::vector<int64_t> first = shuffled(1000, 7, 0), again = shuffled(1000, 7, 0), next = shuffled(1000, 7, 1),
                       other = shuffled(1000, 8, 0);
  CHECK(first == again);
  CHECK(first != next);
  CHECK(first != other);
  CHECK(first != sorted);
  int fixed = 0;
  for (size_t i = 0; i < first.size(); ++i)
    fixed += first[i] == sorted[i];
  CHECK(fixed < 10); // 1 is expected
  std::sort(first.begin(), first.end());
  CHECK(first == sorted);
  CHECK(shuffled(1, 7, 0) == std::vector<int64_t>{0});
  CHECK(shuffled(0, 7, 0).empty());

  // Each image is equally often in each place: chi-square over 6 places, 30 degrees of freedom below its 99.99 % point.
  int counts[6][6] = {};
  constexpr int epochs = 6000;
  for (int e = 0; e < epochs; ++e) {
    std::vector<int64_t> order = shuffled(6, 1, e);
    for (size_t i = 0; i < 6; ++i)
      ++counts[i][order[i]];
  }
  double chi = 0;
  for (auto& row : counts)
    for (int c : row)
      chi += (c - epochs / 6.0) * (c - epochs / 6.0) / (epochs / 6.0);
  CHECK(chi < 67.6);
}

TEST_CASE("training learns, reports, and uses the last, smaller batch")
{
  cnn_model model = Small::model();
  Dataset data = rows();
  TrainOptions o = options();
  o.epochs = 30;
  std::vector<TrainProgress> steps;
  std::vector<EpochReport> epochs;
  o.on_step = [&](const TrainProgress& p) { steps.push_back(p); };
  o.on_epoch = [&](const EpochReport& r) { epochs.push_back(r); };
  Trainer trainer(model, data, o);
  double before = trainer.evaluate_test().accuracy();
  Small::batches.clear();
  TrainResult result = trainer.run();
  CHECK_FALSE(result.interrupted);
  REQUIRE(result.epochs.size() == 30);
  CHECK(epochs.size() == 30);
  CHECK(before < 0.5);
  CHECK(result.epochs.back().accuracy > 0.9);
  CHECK(result.epochs.back().loss < result.epochs.front().loss * 0.7);
  REQUIRE(steps.size() == 180);
  CHECK(Small::batches.size() == 180);
  CHECK(Small::batches[4] == 8);
  CHECK(Small::batches[5] == 7);
  CHECK(std::accumulate(Small::batches.begin(), Small::batches.end(), int64_t{0}) == 30 * 47);
  CHECK(steps[0].step == 1);
  CHECK(steps[0].steps == 6);
  CHECK(steps[6].epoch == 2);
  CHECK(steps[0].loss == doctest::Approx(std::log(3.0)).epsilon(0.01)); // nothing is learnt yet: 3 equal classes
  CHECK(steps[0].remaining_seconds > 0);
  CHECK(steps[179].epochs == 30);
  CHECK(steps[0].learning_rate == doctest::Approx(0.1));
}

TEST_CASE("the same seed gives the same bits for 1, 2 and 4 threads; another seed gives others")
{
  cnn_model model = Small::model();
  Dataset data = rows();
  auto train = [&](int threads, uint64_t seed) {
    TrainOptions o = options();
    o.threads = threads;
    o.seed = seed;
    o.augmentation = {true, 1};
    Trainer trainer(model, data, o);
    trainer.run();
    return bytes_of(trainer);
  };
  auto one = train(1, 9);
  CHECK(one == train(1, 9));
  CHECK(one == train(2, 9));
  CHECK(one == train(4, 9));
  CHECK(one != train(1, 10));
  CHECK(Small::live_threads == 0);
}

TEST_CASE("interrupted anywhere and resumed from its checkpoint, a training ends with the same bits")
{
  Folder dir;
  cnn_model model = Small::model();
  Dataset data = rows();
  TrainOptions o = options();
  o.schedule = Schedule::cosine;
  o.learning_rate = 0.3;
  Trainer whole(model, data, o);
  TrainResult whole_result = whole.run();

  for (int stop_after : {1, 5, 6, 7, 13}) {
    CAPTURE(stop_after);
    std::atomic<bool> stop = false;
    int done = 0;
    TrainOptions with_stop = o;
    with_stop.interrupt = &stop;
    with_stop.on_step = [&](const TrainProgress&) { stop = ++done == stop_after; };
    Trainer first(model, data, with_stop);
    CHECK(first.run().interrupted);
    CHECK(done == stop_after);
    first.save_checkpoint(dir / "c.safetensors");

    Trainer second(model, data, o);
    second.load_checkpoint(dir / "c.safetensors");
    TrainResult result = second.run();
    CHECK_FALSE(result.interrupted);
    CHECK(bytes_of(second) == bytes_of(whole));
    REQUIRE_FALSE(result.epochs.empty());
    CHECK(result.epochs.back().epoch == 3);
    CHECK(result.epochs.back().loss == whole_result.epochs.back().loss);
    CHECK(result.epochs.back().accuracy == whole_result.epochs.back().accuracy);
  }

  // A checkpoint is a weights file; a weights file is no checkpoint.
  whole.save_checkpoint(dir / "c.safetensors");
  whole.save_parameters(dir / "w.safetensors");
  for (const char* name : {"c.safetensors", "w.safetensors"}) {
    Trainer other(model, data, o);
    other.load_parameters(dir / name);
    CHECK(bytes_of(other) == bytes_of(whole));
  }
  Trainer other(model, data, o);
  CHECK(error_of([&] { other.load_checkpoint(dir / "w.safetensors"); }).find("is not a checkpoint") !=
        std::string::npos);
}

TEST_CASE("a checkpoint of another training is refused, a damaged one changes nothing")
{
  Folder dir;
  cnn_model model = Small::model();
  Dataset data = rows();
  Trainer trainer(model, data, options());
  trainer.run();
  trainer.save_checkpoint(dir / "c");
  for (auto change : {+[](TrainOptions& o) { o.seed = 2; }, +[](TrainOptions& o) { o.batch = 9; },
                      +[](TrainOptions& o) { o.limit = 20; }}) {
    TrainOptions o = options();
    change(o);
    Trainer other(model, data, o);
    CHECK(error_of([&] { other.load_checkpoint(dir / "c"); }).find("the checkpoint was made with") !=
          std::string::npos);
  }
  cnn_model renamed = model;
  renamed.name = "other";
  Trainer other(renamed, data, options());
  CHECK(exit_code_of([&] { other.load_checkpoint(dir / "c"); }) == 1);
  CHECK(exit_code_of([&] { trainer.load_checkpoint(dir / "none"); }) == 3);
  CHECK(exit_code_of([&] { trainer.load_parameters(dir / "none"); }) == 3);
  CHECK(exit_code_of([&] { trainer.save_parameters(dir / "none/w"); }) == 3);
  CHECK(exit_code_of([&] { trainer.save_checkpoint(dir / "none/c"); }) == 3);

  std::string bytes = get(dir / "c");
  Trainer fresh(model, data, options());
  auto before = bytes_of(fresh);
  Damage result = damage(bytes, 1000, 6, [&](const std::string& damaged) {
    put(dir / "x", damaged);
    try {
      fresh.load_checkpoint(dir / "x");
    } catch (const Error&) {
      CHECK(bytes_of(fresh) == before);
      throw;
    }
    before = bytes_of(fresh);
  });
  CHECK(result.refused > 500);
}

TEST_CASE("the learning rate follows its schedule, in the network's state")
{
  cnn_model model = Small::model();
  Dataset data = rows();
  auto rates = [&](Schedule schedule) {
    std::vector<double> list;
    TrainOptions o = options();
    o.epochs = 4;
    o.learning_rate = 0.2;
    o.schedule = schedule;
    o.step_epochs = 2;
    o.on_step = [&](const TrainProgress& p) { list.push_back(p.learning_rate); };
    Trainer(model, data, o).run();
    return list;
  };
  auto constant = rates(Schedule::constant), step = rates(Schedule::step), cosine = rates(Schedule::cosine);
  REQUIRE(cosine.size() == 24);
  CHECK(constant[23] == 0.2);
  CHECK(step[11] == 0.2);
  CHECK(step[12] == doctest::Approx(0.02));
  CHECK(cosine[0] == 0.2);
  CHECK(cosine[12] == doctest::Approx(0.1));
  CHECK(std::is_sorted(cosine.rbegin(), cosine.rend()));

  // Without that state the network's own rate is used, and no other can be asked for.
  model.state_count = 2;
  Trainer own(model, data, options());
  CHECK(own.run().epochs.size() == 3);
  TrainOptions o = options();
  o.schedule = Schedule::cosine;
  CHECK(error_of([&] { Trainer t(model, data, o); }).find("compiled in") != std::string::npos);
}

TEST_CASE("a loss that is no number stops the training and says where")
{
  cnn_model model = Small::model();
  Dataset data = rows();
  Small::poison_at_step = 8;
  std::string error = error_of([&] { Trainer(model, data, options()).run(); });
  Small::poison_at_step = -1;
  CHECK(error.find("epoch 2, step 3 of 6") != std::string::npos);
  CHECK(error.find("learning rate below 0.1") != std::string::npos);
}

TEST_CASE("a limit uses the first images only, and a batch is no larger than that")
{
  cnn_model model = Small::model();
  Dataset data = rows();
  TrainOptions o = options();
  o.limit = 5;
  o.epochs = 2;
  Small::batches.clear();
  Trainer(model, data, o).run();
  CHECK(Small::batches == std::vector<int64_t>{5, 5});
}

TEST_CASE("what does not fit is refused before anything runs")
{
  cnn_model model = Small::model();
  Dataset data = rows();
  auto refused = [&](const cnn_model& m, const Dataset& d, const TrainOptions& o) {
    return error_of([&] { Trainer t(m, d, o); });
  };
  CHECK(refused(model, data, options()) == "");

  cnn_model old = model;
  old.abi_version = 0;
  CHECK(refused(old, data, options()).find("version 0") != std::string::npos);
  cnn_model only_forward = model;
  only_forward.train_step = nullptr;
  CHECK(refused(only_forward, data, options()).find("without training") != std::string::npos);

  Dataset labels = rows();
  labels.test.labels[4] = 3;
  CHECK(refused(model, labels, options()).find("rows, test: image 4 has the label 3, there are 3 classes") !=
        std::string::npos);
  labels.test.labels[4] = -1;
  CHECK(refused(model, labels, options()) != "");

  cnn_model large = Logistic<5, 3>::model();
  CHECK(refused(large, data, options()).find("is [1,5,5], the images are [1,4,4]") != std::string::npos);

  for (auto change : {+[](TrainOptions& o) { o.epochs = 0; }, +[](TrainOptions& o) { o.batch = 0; },
                      +[](TrainOptions& o) { o.limit = -1; }, +[](TrainOptions& o) { o.learning_rate = -1; },
                      +[](TrainOptions& o) { o.learning_rate = NAN; }, +[](TrainOptions& o) { o.threads = 0; },
                      +[](TrainOptions& o) { o.step_epochs = 0; }}) {
    TrainOptions o = options();
    change(o);
    CHECK(exit_code_of([&] { Trainer t(model, data, o); }) == 2);
  }
  TrainOptions shift = options();
  shift.augmentation.shift = 4;
  CHECK(refused(model, data, shift) != "");
  TrainOptions scaling = options();
  scaling.scaling.deviation = {0};
  CHECK(refused(model, data, scaling) != "");
}

TEST_CASE("Fashion-MNIST: one epoch of logistic regression, on all images")
{
  if (!std::filesystem::exists("/usr/share/datasets/fashion-mnist")) {
    MESSAGE("skipped: dataset-fashion-mnist is not installed");
    return;
  }
  Dataset data = load_dataset("fashion-mnist");
  cnn_model model = Logistic<28, 10>::model();
  TrainOptions o;
  o.epochs = 1;
  o.limit = 12000; // the sanitizers are slow
  o.learning_rate = 0.01;
  o.scaling = measure(data.train);
  TrainResult result = Trainer(model, data, o).run();
  REQUIRE(result.epochs.size() == 1);
  CHECK(result.epochs[0].accuracy > 0.78);
}
