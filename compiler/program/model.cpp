#include "compiler/program/model.h"
#include "compiler/program/calibrate.h"
#include "compiler/targets.h"
#include "runtime/weights.h"

#include <cstdio>
#include <fmt/format.h>

namespace cnnc {

namespace {

// A library carries the text that it was made of. It is a help, no more: whatever is wrong with it counts for nothing.
std::optional<Network> network_in(const cnn_model& model)
{
  if (!model.source)
    return {};
  return read_text(std::make_shared<Source>(Source{model.name, model.source}));
}

bool knows_all(const Graph& graph)
{
  for (const int parameter : values_of(graph, ValueKind::parameter))
    if (!graph.values[static_cast<size_t>(parameter)].data)
      return false;
  return true;
}

// Here, and not by the first call that cannot run: what is missing has names.
void check_machine(const cnn_model& model)
{
  if (model.target())
    return;
  Target least;
  least.march = split(model.march, ',').back();
  least.cpu = split(model.cpu, ',').back();
  least.features = split(model.features, ';').back();
  throw Error({}, fmt::format("{} was compiled for {}, and this machine lacks {}{}", model.name, model.march,
                              fmt::join(lacking(feature_names(needs_of(least))), ", "),
                              least.march == model.march ? "" : fmt::format(" even for {}", least.march)));
}

} // namespace

void add_model_options(Parser& parser, ModelOptions& options)
{
  parser.app.add_option("network", options.path, "a .yaml, .onnx or .ir file, or a compiled .so")->required();
  parser.app.add_option("--weights", options.weights, "parameters: .safetensors, .npz, or a folder of .npy files")
      ->type_name("FILE");
  parser.app.add_option("--threads", options.threads, "how many to run on (all that there are)")
      ->check(CLI::Range(1, 1024));
  add_without_option(parser, options.without);
  add_compile_options(parser, options.compile);
  add_precision_option(parser, options.compile);
  add_tuning_options(parser, options.tuning);
}

OpenModel open_model(const ModelOptions& options, bool train)
{
  if (options.path.ends_with(".so")) {
    if (!options.without.empty())
      throw Error({}, fmt::format("{} is compiled: layers are taken out of its .yaml", options.path), {}, 2);
    if (options.compile.low_precision)
      throw Error({}, fmt::format("{} is compiled: --precision is for networks", options.path), {}, 2);
    OpenModel open{LoadedModel::from_library(options.path), {}, {}, false};
    check_version(open.model());
    check_machine(open.model());
    if (train && open.model().train_input_count == 0)
      throw Error({}, fmt::format("{} was compiled without the training step: cnnc net.yaml --train", options.path));
    if (const std::optional<Network> network = network_in(open.model())) {
      open.config = network->config;
      open.preprocessing = network->preprocessing;
    }
    open.has_weights = open.model().embedded != nullptr || !options.weights.empty();
    return open;
  }
  const Network network = read_network(options.path, options.without);
  print_warnings(network.warnings);
  CompileOptions compile_options = options.compile;
  compile_options.train = train;
  if (!compile_options.calibration.empty() &&
      (!compile_options.low_precision || compile_options.low_precision->type != DType::i8))
    throw Error({}, "--calibrate is for --precision int8", {}, 2);
  calibrate(network, compile_options, options.weights, options.seed.value_or(network.config.seed));
  compile_options.tuning = options.tuning.tuning_of(options.path);
  const Compiled compiled = compile(network, compile_options);
  print_warnings(compiled.warnings);
  OpenModel open{load(compiled), network.config, network.preprocessing, false};
  check_version(open.model());
  check_machine(open.model());
  open.has_weights = !options.weights.empty() || !network.weights.empty() || knows_all(network.forward);
  return open;
}

PictureFormat picture_format(const OpenModel& open)
{
  const cnn_model& model = open.model();
  PictureFormat format;
  if (model.input_count < 1 || model.inputs[0].rank < 1)
    return format;
  const std::vector<int64_t> dims = dims_of(model.inputs[0], 1);
  format.dims.assign(dims.begin() + 1, dims.end());
  const auto found = open.preprocessing.find(model.inputs[0].name);
  format.preprocessing = found == open.preprocessing.end() ? default_preprocessing(format.dims) : found->second;
  return format;
}

Block parameters_of(const OpenModel& open, const ModelOptions& options)
{
  if (options.weights.empty() && open.model().embedded)
    return Block::view(open.model().embedded, open.model().parameter_bytes);
  Block parameters = first_parameters(open.model(), options.seed.value_or(open.config.seed));
  if (!options.weights.empty())
    load_weights(open.model(), parameters.data(), options.weights);
  else if (!open.has_weights)
    std::fputs("note: no weights were given (--weights): these are random ones\n", stderr);
  return parameters;
}

} // namespace cnnc
