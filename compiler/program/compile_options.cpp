#include "compiler/program/compile_options.h"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <sched.h>

namespace cnnc {

void add_compile_options(Parser& parser, CompileOptions& options)
{
  parser.app.add_option("-O", options.level, "0 to 3: how much is fused, tiled and unrolled (2)")
      ->check(CLI::Range(0, 3))
      ->type_name("LEVEL");
  parser.app
      .add_option("--march", options.march, "native (this machine), x86-64-v3, a processor's name ...; also -march=")
      ->type_name("NAME");
  parser.app
      .add_option("--winograd", options.winograd_tile,
                  "how large the tiles of 3 x 3 convolutions are: 4, or 6 (fewer products, rounded coarser); 0: none")
      ->check(CLI::IsMember({0, 4, 6}))
      ->type_name("TILE");
  parser.app
      .add_option("--winograd-memory", options.winograd_bytes,
                  "the most that weights in tiles may take, such as 40M: they are four times as large (no limit)")
      ->transform(CLI::AsSizeValue(false) & CLI::Range(int64_t{0}, int64_t{1} << 50))
      ->type_name("SIZE");
}

void add_precision_option(Parser& parser, CompileOptions& options)
{
  parser.app
      .add_option_function<std::string>(
          "--precision",
          [&](const std::string& name) {
            options.low_precision.reset();
            if (name == "bf16")
              options.low_precision = LowPrecision{};
            else if (name == "bf16-weights")
              options.low_precision = LowPrecision{.weights_only = true};
            else if (name == "int8")
              options.low_precision = LowPrecision{.type = DType::i8};
          },
          "what forward multiplies: f32, bf16, bf16-weights (only large weights), or int8, with --calibrate")
      ->check(CLI::IsMember({"f32", "bf16", "bf16-weights", "int8"}))
      ->type_name("TYPE");
  parser.app
      .add_option(
          "--calibrate", options.calibration,
          "pictures (files, or folders of them): int8 takes its ranges from them, and the result is compared with "
          "f32 on them")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name("PATH");
}

void add_tuning_options(Parser& parser, TuningOptions& options)
{
  parser.app.add_option("--tune", options.file, "take this file of `cnnc tune`, not the one beside the network")
      ->type_name("FILE");
  parser.app.add_flag("--no-tune", options.is_off, "take none");
}

std::optional<Tuning> TuningOptions::tuning_of(const std::string& network_path) const
{
  if (is_off && !file.empty())
    throw Error({}, fmt::format("--tune {} and --no-tune say different things", file), {}, 2);
  if (is_off)
    return std::nullopt;
  return file.empty() ? tuning_beside(network_path) : read_tuning(file);
}

void add_without_option(Parser& parser, std::vector<std::string>& layers)
{
  parser.app
      .add_option("--without", layers, "take these layers out: what reads them reads what they read (.yaml only)")
      ->delimiter(',')
      ->type_name("A,B");
}

void print_warnings(const std::vector<Warning>& warnings)
{
  for (const Warning& warning : warnings)
    std::fputs((render(warning.where, "warning", warning.text) + "\n").c_str(), stderr);
}

int available_threads()
{
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

} // namespace cnnc
