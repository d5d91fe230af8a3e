#include "compiler/program/commands.h"
#include "compiler/program/interrupt.h"
#include "compiler/program/model.h"
#include "compiler/program/terminal.h"
#include "runtime/files.h"
#include "runtime/progress.h"
#include "runtime/trainer.h"

#include <filesystem>
#include <fmt/format.h>

namespace cnnc {

namespace {

std::string score_text(bool has_classes, double accuracy, double deviation)
{
  return has_classes ? fmt::format("test accuracy {:.2f} %", 100 * accuracy)
                     : fmt::format("test outputs {:.5g} from their labels", deviation);
}

} // namespace

int train_command(const Arguments& arguments)
{
  Parser parser("cnnc train NETWORK [-o weights.safetensors]",
                "Trains a network on its data set with compiled forward, backward and update code.",
                {"cnnc train lenet5.yaml", "cnnc train lenet5.yaml -o w.safetensors --epochs 10 --seed 7",
                 "cnnc train lenet5.so --data ./my-images    # compiled with --train",
                 "cnnc train lenet5.yaml --resume lenet5.safetensors   # after Ctrl-C"});
  ModelOptions options;
  std::string output, data, resume;
  std::optional<int64_t> batch, epochs;
  std::optional<double> learning_rate;
  int64_t limit = 0;
  bool force = false;
  add_model_options(parser, options);
  CLI::App& app = parser.app;
  app.add_option("-o,--output", output,
                 "where the weights go, also over an older file; default: the network's name and .safetensors, here")
      ->type_name("FILE");
  app.add_flag("--force", force, "replace an older file of the default name, too");
  app.add_option("--data", data, "a known data set or a folder, instead of the file's")->type_name("NAME");
  app.add_option("--epochs", epochs, "instead of the file's")->check(CLI::Range(1, 1000000));
  app.add_option("--batch", batch, "instead of the file's")->check(CLI::Range(1, 1 << 20));
  app.add_option("--seed", options.seed, "of first values, order and dropout; instead of the file's");
  app.add_option("--learning-rate", learning_rate, "instead of the file's")->check(CLI::Range(0.0, 1e9));
  app.add_option("--limit", limit, "train on the first so many images")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  app.add_option("--resume", resume, "go on from what an interrupted training saved")->type_name("FILE");
  parser.parse(arguments);

  const OpenModel open = open_model(options, true);
  const TrainConfig& config = open.config;
  const std::string source = data.empty() ? config.data : data;
  if (source.empty())
    throw Error(config.data_location, "which data set? `data:` in the file's `train:`, or --data");
  // Whoever named a file meant it; a name that cnnc chose must not cost somebody's earlier training.
  if (output.empty()) {
    output = std::string(open.model().name) + ".safetensors";
    if (!force && !same_file(output, resume) && std::filesystem::exists(output))
      throw Error(
          {},
          fmt::format("{} is there already, perhaps from an earlier training: -o FILE, or --force to replace it",
                      output),
          {}, 2);
  }
  if (same_file(output, options.path))
    throw Error({}, fmt::format("'{}' is the input: writing there would lose it", output), {}, 2);
  check_writable(output);
  Dataset dataset;
  try {
    dataset = load_dataset(source, picture_format(open));
  } catch (const Error& e) {
    throw Error(data.empty() && e.exit_code == 1 ? config.data_location : e.where, e.what(), e.notes, e.exit_code);
  }

  Interruptible interruptible;
  ProgressBar bar;
  TrainOptions train;
  train.scaling = scaling_of(picture_format(open).preprocessing);
  train.epochs = static_cast<int>(epochs.value_or(config.epochs));
  train.batch = batch.value_or(config.batch);
  train.learning_rate = learning_rate;
  train.schedule = config.schedule;
  train.step_epochs = static_cast<int>(config.step_epochs);
  train.step_factor = config.step_factor;
  train.seed = options.seed.value_or(config.seed);
  train.threads = options.threads;
  train.limit = limit;
  train.interrupt = &interrupted();
  train.on_step = [&](const TrainProgress& p) {
    const double done = static_cast<double>(p.step) / static_cast<double>(std::max<int64_t>(1, p.steps));
    std::string details = fmt::format("loss {:.4f}  {} images/s", p.loss, count_text(p.images_per_second));
    if (p.remaining_seconds >= 0)
      details += fmt::format("  {} left", duration_text(p.remaining_seconds));
    bar.update(done, fmt::format("epoch {}/{}", p.epoch, p.epochs), details);
  };
  train.on_epoch = [&](const EpochReport& e) {
    bar.print(fmt::format("epoch {}: loss {:.4f}, {}, {:.1f} s", e.epoch, e.loss,
                          score_text(e.has_classes, e.accuracy, e.deviation), e.seconds));
  };

  Trainer trainer(open.model(), dataset, train);
  if (!options.weights.empty())
    trainer.load_parameters(options.weights);
  if (!resume.empty())
    trainer.load_checkpoint(resume);
  print(fmt::format("{}: {} training and {}, {}, batches of {}, {}\n", dataset.name, with_commas(dataset.train.count()),
                    counted(dataset.test.count(), "test image"), counted(train.epochs, "epoch"), train.batch,
                    counted(train.threads, "thread")));
  flush_output();
  const TrainResult result = trainer.run();
  bar.end();
  if (result.interrupted) {
    // The state is in there too, so that it can go on; it serves as weights as well.
    trainer.save_checkpoint(output);
    print(fmt::format("interrupted; what was learnt is in {}: go on with --resume {}\n", output, output));
    return 130;
  }
  trainer.save_parameters(output);
  std::string score;
  if (result.epochs.empty()) {
    const Evaluation last = trainer.evaluate_test();
    score = score_text(last.has_classes, last.accuracy(), last.deviation);
  } else {
    const EpochReport& last = result.epochs.back();
    score = score_text(last.has_classes, last.accuracy, last.deviation);
  }
  print(fmt::format("{}; weights in {}\n", score, output));
  return 0;
}

} // namespace cnnc
