#include "compiler/program/calibrate.h"

#include "compiler/program/calibration_inputs.h"
#include "compiler/program/rounding_switch.h"
#include "compiler/program/run_input.h"
#include "compiler/program/watched_values.h"
#include "compiler/program/wide_values.h"
#include "runtime/model.h"
#include "runtime/weights.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fmt/format.h>
#include <utility>

namespace cnnc {

namespace {

constexpr size_t inputs_wanted = 64;
constexpr size_t inputs_for_each = 8; // value whose rounding is tried

class Runner {
public:
  Runner(Compiled program, const std::string& weights, uint64_t seed)
      : compiled(std::move(program)),
        loaded(load(compiled)),
        parameters(first_parameters(*loaded.model, seed))
  {
    if (!weights.empty())
      load_weights(*loaded.model, parameters.data(), weights);
  }

  const cnn_model& model() const { return *loaded.model; }

  // `others`: inputs by name; `input` is for the one that is not among them.
  std::vector<Tensor> run(const Tensor& input, const NamedTensors& others = {}) const
  {
    const int64_t batch = has_images(model().inputs[0]) ? input.dims[0] / -model().inputs[0].dims[0] : 1;
    std::vector<Tensor> outputs;
    std::vector<void*> out;
    for (int32_t o = 0; o < model().output_count; ++o)
      outputs.emplace_back(dtype_of(model().outputs[o]), dims_of(model().outputs[o], batch));
    for (Tensor& output : outputs)
      out.push_back(output.bytes.data());
    std::vector<const void*> in;
    for (int32_t i = 0; i < model().input_count; ++i) {
      const auto other = others.find(model().inputs[i].name);
      in.push_back((other == others.end() ? input : other->second).bytes.data());
    }
    const Block workspace = workspace_of(model(), batch, 1, CNN_FORWARD);
    check(model(), model().forward(parameters.data(), batch, in.data(), out.data(), workspace.data(), nullptr),
          "run forward");
    return outputs;
  }

private:
  Compiled compiled;
  LoadedModel loaded;
  Block parameters;
};

// Forward, here and now.
CompileOptions to_run(CompileOptions options)
{
  options.march = "native";
  options.targets.clear();
  options.train = false;
  options.print_after.clear();
  return options;
}

// The pipeline up to lower_precision, or from there on.
std::vector<std::string> passes(int level, bool before)
{
  std::vector<std::string> names;
  bool is_before = true;
  for (const PassDef& pass : pipeline()) {
    is_before = is_before && pass.name != "lower_precision";
    if (is_before == before && pass.level <= level)
      names.push_back(pass.name);
  }
  return names;
}

// What the network says, for comparisons: of probabilities, what they were made from, as those of sure answers are one or
// zero whatever happens.
std::vector<int> scores_of(const Graph& graph)
{
  std::vector<int> scores;
  for (int output : graph.outputs) {
    const Value& value = graph.values[static_cast<size_t>(output)];
    const Op& op = graph.ops[static_cast<size_t>(value.op)];
    const bool is_softmax = op.def == find_op("softmax") || op.def == find_op("log_softmax");
    const int score = is_softmax ? op.inputs[0] : output;
    if (graph.values[static_cast<size_t>(score)].type.dtype == DType::f32 &&
        graph.values[static_cast<size_t>(score)].kind == ValueKind::result)
      scores.push_back(score);
  }
  return scores;
}

struct Difference {
  double square = 0, square_of_difference = 0, largest = 0;

  void add(const std::vector<Tensor>& expected, const std::vector<Tensor>& found)
  {
    for (size_t o = 0; o < expected.size(); ++o)
      for (int64_t i = 0; i < expected[o].size(); ++i) {
        const double e = expected[o].get(i), d = found[o].get(i) - e;
        square += e * e;
        square_of_difference += d * d;
        largest = std::max(largest, std::abs(d));
      }
  }
  double relative_square() const { return square > 0 ? square_of_difference / square : 0; }
};

// That its contractions take, in multiplications: reading a weight from memory takes as long as eight.
double time_of(const ToCalibrate& value)
{
  return static_cast<double>(value.multiplications + 8 * value.weight_elements);
}

// What 8 bits for each value that is multiplied do to what the network says, by what they do alone: the data is rounded
// in a network that is else f32, and what rounding the weights does to the same results is in proportion.
std::set<std::string> values_to_widen(const Runner& runner, const std::vector<Tensor>& inputs,
                                      const std::vector<WatchedValue>& watched, const std::vector<double>& of_weights,
                                      const std::map<std::string, LowPrecision::Ranges>& ranges)
{
  NamedTensors codes;
  for (const WatchedValue& of_value : watched)
    if (of_value.value.multiplications > 0)
      codes[code_name(of_value.value.name)] = code_of(LowPrecision::Ranges(of_value.channels.size()));
  std::vector<std::vector<Tensor>> expected;
  for (const Tensor& input : inputs)
    expected.push_back(runner.run(input, codes));
  std::vector<NarrowValue> narrow;
  std::vector<std::string> names;
  for (size_t v = 0; v < watched.size(); ++v) {
    const ToCalibrate& value = watched[v].value;
    if (value.multiplications == 0)
      continue;
    Tensor& code = codes.at(code_name(value.name));
    const Tensor none = std::exchange(code, code_of(ranges.at(value.name)));
    Difference difference;
    for (size_t i = 0; i < inputs.size(); ++i)
      difference.add(expected[i], runner.run(inputs[i], codes));
    code = none;
    narrow.push_back({difference.relative_square() * (1 + of_weights[v]), time_of(value)});
    names.push_back(value.name);
  }
  std::set<std::string> wide;
  for (size_t i : wide_values(narrow))
    wide.insert(names[i]);
  return wide;
}

} // namespace

void calibrate(const Network& network, CompileOptions& options, const std::string& weights, uint64_t seed)
{
  if (!options.low_precision && !options.calibration.empty())
    throw Error({}, "--calibrate is for --precision int8, or to compare another precision with f32", {}, 2);
  if (!options.low_precision || options.low_precision->type != DType::i8 || !options.low_precision->ranges.empty())
    return;
  CompileOptions first = to_run(options);
  first.passes = passes(options.level, true);
  Compiled compiled = compile(network, first);
  Graph& graph = compiled.program.functions[0];
  const std::vector<ToCalibrate> values = values_to_calibrate(graph);
  graph.precision.reset();
  if (values.empty())
    std::fprintf(stderr, "note: %s: no range has to be found; layers without integers stay f32 (--explain)\n",
                 network.forward.name.c_str());
  if (values.empty() && options.calibration.empty())
    return;
  // Before more is compiled.
  const std::vector<std::string> files = calibration_files(options.calibration);
  const auto finish = [&](Program program, bool prepared) {
    CompileOptions second = first;
    second.low_precision.reset();
    second.passes = passes(options.level, false);
    if (!prepared)
      std::erase(second.passes, "prepare_parameters");
    Compiled rest = compile(std::move(program), second);
    if (second.weights.empty())
      rest.weights = compiled.weights;
    return Runner(std::move(rest), weights, seed);
  };
  Program watching = compiled.program;
  std::vector<WatchedValue> watched = watch(watching.functions[0], values);
  find_weights_to_round(watched, program_of(network, {}).functions[0], compiled.weights);
  const Runner runner = finish(std::move(watching), false); // what follows from parameters is an output here
  std::vector<Tensor> inputs = calibration_inputs(network, runner.model(), files, inputs_wanted), outputs;
  for (const Tensor& input : inputs) {
    outputs = runner.run(input);
    look_at(watched, outputs);
  }
  std::map<std::string, LowPrecision::Ranges>& ranges = options.low_precision->ranges;
  std::vector<double> of_weights;
  std::vector<std::string> multiplied;
  for (const WatchedValue& of_value : watched) {
    const std::vector<ChannelWeights> behind = weights_of(of_value, outputs);
    ranges[of_value.value.name] = balanced_ranges(of_value.channels, behind);
    of_weights.push_back(error_of_weights(ranges[of_value.value.name], of_value.channels, behind));
    if (of_value.value.multiplications > 0)
      multiplied.push_back(of_value.value.name);
  }
  graph.outputs = scores_of(graph);
  if (!multiplied.empty() && !graph.outputs.empty()) {
    add_rounding_switches(graph, multiplied);
    std::vector<Tensor> some;
    for (size_t i = 0; i < inputs.size(); i += std::max<size_t>(inputs.size() / inputs_for_each, 1))
      some.push_back(std::move(inputs[i]));
    options.low_precision->wide = values_to_widen(finish(compiled.program, true), some, watched, of_weights, ranges);
    for (const std::string& name : options.low_precision->wide)
      ranges.erase(name);
  }
  options.rounded = rounded_weights(watched, outputs, ranges);
}

std::string accuracy_report(const Network& network, const CompileOptions& options, const std::string& weights,
                            uint64_t seed)
{
  const CompileOptions narrow = to_run(options);
  CompileOptions wide = narrow;
  wide.low_precision.reset();
  wide.rounded.clear();
  const Runner reference(compile(network, wide), weights, seed), runner(compile(network, narrow), weights, seed);
  Difference difference;
  int64_t pictures = 0, agree = 0;
  const std::vector<std::string> files = calibration_files(options.calibration);
  for (const Tensor& input : calibration_inputs(network, reference.model(), files)) {
    const std::vector<Tensor> expected = reference.run(input), found = runner.run(input);
    difference.add(expected, found);
    const int64_t count = expected[0].dims.empty() ? 1 : expected[0].dims[0],
                  size = expected[0].size() / std::max<int64_t>(count, 1);
    const auto top = [&](const Tensor& tensor, int64_t image) {
      int64_t best = 0;
      for (int64_t i = 1; i < size; ++i)
        if (tensor.get(image * size + i) > tensor.get(image * size + best))
          best = i;
      return best;
    };
    for (int64_t image = 0; image < count; ++image, ++pictures)
      agree += top(expected[0], image) == top(found[0], image);
  }
  return fmt::format("{} against f32 on {} pictures: {} have the same largest output; outputs differ by {:.2g} (L2, "
                     "relative), at most by {:.2g}\n",
                     name_of(*options.low_precision), pictures, agree, std::sqrt(difference.relative_square()),
                     difference.largest);
}

} // namespace cnnc
