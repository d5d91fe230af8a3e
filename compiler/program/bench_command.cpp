// How long one call takes: each is timed by itself, on the same random inputs, after some that are not counted.
//
//   median   half of the calls took less          spread   between the fastest tenth and the slowest tenth
//   minimum  the fastest call                              (90th percentile - 10th percentile)
#include "compiler/machine.h"
#include "compiler/program/commands.h"
#include "compiler/program/model.h"
#include "compiler/program/profile.h"
#include "compiler/program/random_inputs.h"
#include "compiler/program/terminal.h"
#include "runtime/weights.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cnnc {

int bench_command(const Arguments& arguments)
{
  Parser parser(
      "cnnc bench NETWORK [--batch N] [--threads N]",
      "How many milliseconds forward, or a training step, takes on random inputs: median, minimum, and the spread\n"
      "between the fastest tenth of the calls and the slowest; and each kernel's part in it.",
      {"cnnc bench lenet5.so --threads 1", "cnnc bench resnet50.yaml --batch 8 --threads 2 --json",
       "cnnc bench lenet5.yaml --train --batch 64"});
  ModelOptions options;
  int64_t batch = 1;
  double seconds = 1;
  bool train = false, json = false;
  add_model_options(parser, options);
  CLI::App& app = parser.app;
  app.add_option("--batch", batch, "images in a call (1)")->check(CLI::Range(1, 1 << 20));
  app.add_flag("--train", train, "the training step: forward, loss, backward and update");
  app.add_option("--seconds", seconds, "how long to measure (1)")->check(CLI::Range(0.0, 3600.0));
  app.add_option("--seed", options.seed, "of inputs, and of first values (1)");
  app.add_flag("--json", json, "the numbers as JSON");
  parser.parse(arguments);

  if (options.weights.empty() && !options.seed)
    options.seed = 1;
  const OpenModel open = open_model(options, train);
  const cnn_model& model = open.model();
  const uint64_t seed = options.seed.value_or(1);
  Block parameters = first_parameters(model, seed);
  if (!options.weights.empty())
    load_weights(model, parameters.data(), options.weights);
  const ModelThreads threads(model, options.threads);
  const Block workspace = workspace_of(model, batch, threads.count(), train ? CNN_TRAIN : CNN_FORWARD);
  Profile measured;
  if (train) {
    const Block state(model.state_bytes);
    check(model, model.init_state(state.data(), seed), "initialise the state");
    const std::vector<Tensor> inputs = random_inputs(model.train_inputs, model.train_input_count, batch, seed);
    const std::vector<const void*> in = data_of(inputs);
    float loss = 0;
    const auto step = [&](const cnn_threads* on) {
      check(model, model.train_step(parameters.data(), state.data(), batch, in.data(), &loss, workspace.data(), on),
            "run a training step");
    };
    measured = profile(threads, seconds, step);
  } else {
    const std::vector<Tensor> inputs = random_inputs(model.inputs, model.input_count, batch, seed);
    std::vector<Tensor> outputs;
    std::vector<void*> out;
    for (int32_t o = 0; o < model.output_count; ++o)
      outputs.emplace_back(dtype_of(model.outputs[o]), dims_of(model.outputs[o], batch));
    for (Tensor& output : outputs)
      out.push_back(output.bytes.data());
    const std::vector<const void*> in = data_of(inputs);
    const auto forward = [&](const cnn_threads* on) {
      check(model, model.forward(parameters.data(), batch, in.data(), out.data(), workspace.data(), on), "run forward");
    };
    measured = profile(threads, seconds, forward);
  }

  const Times& times = measured.times;
  const std::vector<KernelTime>& kernels = measured.kernels;
  const MachineRates machine = measure_machine(host_target(), threads.count());
  const char* what = train ? "train_step" : "forward";
  const double images = static_cast<double>(batch) / times.median() * 1000;
  if (json) {
    nlohmann::ordered_json parts = nlohmann::json::array();
    for (const KernelTime& kernel : kernels)
      parts.push_back({{"layers", kernel.layers},
                       {"line", kernel.line},
                       {"ms", kernel.ms},
                       {"operations", kernel.operations},
                       {"bytes", kernel.bytes},
                       {"bound_by", bound_by(kernel, machine)}});
    const nlohmann::ordered_json result{{"network", model.name},
                                        {"function", what},
                                        {"batch", batch},
                                        {"threads", threads.count()},
                                        {"median_ms", times.median()},
                                        {"minimum_ms", times.minimum()},
                                        {"spread_ms", times.spread()},
                                        {"calls", times.ms.size()},
                                        {"images_per_second", images},
                                        {"march", model.march},
                                        {"flags", model.flags},
                                        {"peak_gflops", machine.gflops},
                                        {"l2_gb_per_second", machine.cache_rate},
                                        {"dram_gb_per_second", machine.memory_rate},
                                        {"kernels", parts}};
    print(result.dump(2) + "\n");
  } else {
    print(fmt::format("{} {}, batch {}, {}: median {:.4g} ms, minimum {:.4g} ms, spread {:.2g} ms ({}, {} images/s)\n",
                      model.name, what, batch, counted(threads.count(), "thread"), times.median(), times.minimum(),
                      times.spread(), counted(static_cast<int64_t>(times.ms.size()), "call"),
                      images < 100 ? fmt::format("{:.3g}", images) : with_commas(static_cast<int64_t>(images))));
    print(profile_text(kernels, machine, terminal_columns()));
  }
  return 0;
}

} // namespace cnnc
