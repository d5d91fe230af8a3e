#include "compiler/artefact.h"
#include "compiler/program/compile_options.h"
#include "compiler/program/interrupt.h"
#include "compiler/program/terminal.h"
#include "compiler/program/tuner.h"
#include "runtime/files.h"

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>

namespace cnnc {

namespace {

// "60s", "2m", "500ms" in seconds.
double budget_of(const std::string& text)
{
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(rest, static_cast<size_t>(text.data() + text.size() - rest));
  const double factor = unit == "ms" ? 0.001 : unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : 0;
  if (error != std::errc() || factor == 0 || !(number > 0) || number * factor > 24 * 3600)
    throw Error({}, fmt::format("--budget: '{}' is no time of at most a day, such as 60s, 2m or 500ms", text), {}, 2);
  return number * factor;
}

// A name in a comment stays in its line.
std::string in_one_line(std::string text)
{
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == 127)
      c = '?';
  return text;
}

std::string why_none(const TuneResult& result)
{
  return result.is_whole_faster
             ? "no schedule was clearly faster than the planned one"
             : fmt::format("single kernels were faster, the whole call was not clearly: {:.3f} times "
                           "the planned one; none is kept",
                           result.ratio);
}

std::string file_text(const TuneResult& result, const std::string& network, const std::string& name,
                      const std::string& how)
{
  std::string text = fmt::format("# {}\n", in_one_line(how));
  text += fmt::format("# by {}. cnnc reads this beside {}, and --no-tune does without; docs/tuning.md.\n",
                      compiler_version(), in_one_line(std::filesystem::path(network).filename().string()));
  text += fmt::format("cnnc-tune 1\nnetwork {}\nmachine {} {}\n", name, result.target.cpu, features_key(result.target));
  text += fmt::format("\n# a call: {:.4g} ms, as planned {:.4g} ms\n", result.ms, result.planned_ms);
  if (result.kernels.empty())
    text += "# " + why_none(result) + "\n";
  for (const TunedKernel& kernel : result.kernels)
    text += fmt::format("\n# {}: {:.4g} ms, as planned {:.4g} ms\nkernel {} {}\n", in_one_line(kernel.layers),
                        kernel.ms, kernel.planned_ms, kernel.nest, kernel.schedule);
  return text;
}

} // namespace

int tune_command(const Arguments& arguments)
{
  Parser parser(
      "cnnc tune NETWORK [--budget 60s] [-o FILE]",
      "Measures other schedules than the planned ones and writes those that are faster into a file beside the\n"
      "network: net.yaml, net.tune. Compiling, run, bench, train and test use it from then on.",
      {"cnnc tune resnet50.yaml", "cnnc tune resnet50.yaml --budget 5m --threads 1 --batch 8",
       "cnnc bench resnet50.yaml; cnnc bench resnet50.yaml --no-tune    # with it and without"});
  TuneOptions options;
  std::string path, output, budget = "60s";
  std::vector<std::string> without;
  options.threads = available_threads();
  CLI::App& app = parser.app;
  app.add_option("network", path, "a .yaml, .onnx or .ir file")->required();
  app.add_option("--budget", budget, "how long it may take in all, such as 2m or 500ms (60s)")->type_name("TIME");
  app.add_option("--batch", options.batch, "images in a call (1)")->check(CLI::Range(1, 1 << 20));
  app.add_option("--threads", options.threads, "how many to run on (all that there are)")->check(CLI::Range(1, 1024));
  app.add_option("--weights", options.weights, "parameters: .safetensors, .npz, or a folder of .npy files")
      ->type_name("FILE");
  app.add_option("-o,--output", output, "where to; default: the network's name and .tune, beside it")
      ->type_name("FILE");
  add_without_option(parser, without);
  add_compile_options(parser, options.compile);
  parser.parse(arguments);
  options.seconds = budget_of(budget);
  if (path.ends_with(".so"))
    throw Error({}, fmt::format("{} is compiled: tune its .yaml, and compile that again", path), {}, 2);
  if (output.empty())
    output = tuning_path(path);
  if (same_file(output, path) || (!options.weights.empty() && same_file(output, options.weights)))
    throw Error({}, fmt::format("'{}' is the input: writing there would lose it", output), {}, 2);
  check_writable(output);

  const Network network = read_network(path, without);
  print_warnings(network.warnings);
  const Interruptible interruptible;
  options.interrupt = &interrupted();
  options.say = [](const std::string& line) {
    print(line + "\n");
    flush_output();
  };
  const TuneResult result = tune(network, options);
  if (result.was_interrupted) {
    print("interrupted; nothing is written\n");
    return 130;
  }
  if (result.rounds == 0)
    throw Error({},
                fmt::format("--budget: {} is too short to compile and measure {} even once; nothing is written", budget,
                            network.name),
                {}, 2);
  const std::string how =
      fmt::format("cnnc tune: batch {}, {}, {} of {} schedules in {} kernels kept", options.batch,
                  counted(options.threads, "thread"), result.kernels.size(), result.schedules, result.all_kernels);
  write_file_atomically(output, file_text(result, path, network.name, how));
  for (const TunedKernel& kernel : result.kernels)
    print(fmt::format("{}: {:.4g} ms, as planned {:.4g} ms: {}\n", kernel.layers, kernel.ms, kernel.planned_ms,
                      kernel.schedule));
  if (result.kernels.empty())
    print(why_none(result) + "\n");
  print(fmt::format("{}: {:.4g} ms, as planned {:.4g} ms; {}, {} kept; wrote {}\n", network.name, result.ms,
                    result.planned_ms, counted(result.schedules, "schedule"), result.kernels.size(), output));
  return 0;
}

} // namespace cnnc
