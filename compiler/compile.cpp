#include "compiler/compile.h"
#include "compiler/interface.h"
#include "compiler/targets.h"
#include "passes/convert_precision.h"
#include "runtime/weights.h"

#include <algorithm>
#include <fmt/format.h>

namespace cnnc {

namespace {

// The gradient of every parameter that the loss can reach.
Graph gradients_of_parameters(const Graph& train, const std::string& name)
{
  Graph graph = train;
  graph.name = name;
  graph.training->optimizer = nullptr;
  graph.training->attributes.clear();
  // What an op renews itself (running statistics) has none.
  const auto is_renewed = [&](int value) {
    return std::any_of(graph.updates.begin(), graph.updates.end(), [&](const auto& u) { return u.target == value; });
  };
  for (const int parameter : values_of(graph, ValueKind::parameter))
    if (!is_renewed(parameter))
      graph.training->gradients.push_back(graph.values[static_cast<size_t>(parameter)].name);
  return graph;
}

void check_pass(const std::string& name)
{
  if (name.empty() || name == "all" || find_pass(name))
    return;
  std::vector<std::string> known{"all"};
  for (const PassDef& pass : pipeline())
    known.push_back(pass.name);
  const std::string near = nearest(name, known);
  throw Error({},
              fmt::format("unknown pass '{}'{}", name,
                          near.empty() ? "; `cnnc passes` lists them" : fmt::format("; did you mean '{}'?", near)),
              {}, 2);
}

// Runs what every target has for itself, and gives its nests names that no other target's have.
void run_own_passes(Variant& variant, RunOptions run, const CompileOptions& options, Compiled& compiled)
{
  const std::string& march = variant.target.march;
  run.part = RunOptions::Part::own;
  if (run.dump)
    run.dump = [dump = run.dump, march](std::string_view text) { dump(fmt::format("# for {}\n{}", march, text)); };
  const size_t remarks = compiled.remarks.all.size();
  for (PassTime& time : run_passes(variant.program, variant.target, run, compiled.remarks))
    compiled.times.push_back({fmt::format("{} ({})", time.pass, march), time.ms, time.changed});
  for (size_t i = remarks; i < compiled.remarks.all.size(); ++i)
    compiled.remarks.all[i].pass += fmt::format(" ({})", march);
  if (!variant.target.tuned.empty())
    warn_of_unknown(*options.tuning, variant.program, compiled.warnings);
  for (Nest& nest : variant.program.nests)
    nest.name += "_" + c_identifier(march);
}

// Graphs and layouts once, for the best machine; nests and the plan of the memory for each.
void compile_for(const std::vector<Target>& targets, RunOptions run, const CompileOptions& options, Compiled& compiled)
{
  run.part = RunOptions::Part::shared;
  compiled.times = run_passes(compiled.program, targets[0], run, compiled.remarks);
  Variant best{compiled.program, targets[0]};
  run_own_passes(best, run, options, compiled);
  for (size_t i = 1; i < targets.size(); ++i) {
    compiled.lesser.push_back({compiled.program, targets[i]});
    run_own_passes(compiled.lesser.back(), run, options, compiled);
  }
  compiled.program = std::move(best.program);
}

} // namespace

ArtefactInfo Compiled::info() const
{
  std::string march = target.march;
  for (const Variant& variant : lesser)
    march += "," + variant.target.march;
  return {name, source_text, march, flags, weights.empty() ? nullptr : &weights, lesser};
}

Program program_of(const Network& network, const CompileOptions& options)
{
  if (options.train && !network.train)
    throw Error({network.source, 1, 1},
                network.program ? fmt::format("no function '{}.train': there is nothing to train", network.name)
                                : "there is no `train:` section: the loss and the optimizer are not known");
  Program program;
  if (network.program) {
    program = *network.program;
    if (!options.train && !network.program->functions.empty())
      std::erase_if(program.functions, [&](const Graph& graph) {
        return graph.name == network.name + ".train" || graph.name == network.name + ".gradients";
      });
  } else {
    program.functions.push_back(network.forward);
    if (options.train) {
      program.functions.push_back(*network.train);
      program.functions.push_back(gradients_of_parameters(*network.train, network.name + ".gradients"));
    }
  }
  if (options.precision != DType::f32)
    for (Graph& function : program.functions)
      convert_precision(function, DType::f32, options.precision);
  if (options.low_precision && !program.functions.empty())
    program.functions[0].precision = options.low_precision;
  for (const auto& [name, tensor] : options.rounded)
    if (const int number = program.functions[0].find(name); number >= 0)
      program.functions[0].values[static_cast<size_t>(number)].data = std::make_shared<const Tensor>(tensor);
  return program;
}

std::string name_of(const LowPrecision& precision)
{
  return precision.type == DType::i8 ? "int8" : precision.weights_only ? "bf16-weights" : "bf16";
}

Compiled compile(Program program, const CompileOptions& options)
{
  check_pass(options.print_after);
  for (const std::string& pass : options.passes)
    check_pass(pass);
  Compiled compiled;
  std::vector<Target> targets =
      options.targets.empty() ? std::vector{make_target(options.march)} : make_targets(options.targets);
  if (targets.size() > 1 && (!options.passes.empty() || !program.nests.empty()))
    throw Error({},
                options.passes.empty() ? "loops that are text already are for one machine: -march, not --targets"
                                       : "--passes shows what they leave for one machine: -march, not --targets",
                {}, 2);
  for (Target& target : targets) {
    target.winograd_tile = options.winograd_tile;
    target.winograd_bytes = options.winograd_bytes.value_or(target.winograd_bytes);
  }
  if (options.tuning && options.level >= 2 && options.passes.empty() && program.nests.empty())
    use_tuning(*options.tuning, targets, compiled.warnings);
  compiled.target = targets[0];
  compiled.program = std::move(program);
  compiled.name = compiled.program.functions.at(0).name;
  compiled.flags = fmt::format("-O{}{}", options.level, options.train ? " --train" : "");
  if (options.winograd_tile != CompileOptions().winograd_tile)
    compiled.flags += fmt::format(" --winograd {}", options.winograd_tile);
  if (options.winograd_bytes)
    compiled.flags += fmt::format(" --winograd-memory {}", *options.winograd_bytes);
  if (options.low_precision)
    compiled.flags += " --precision " + name_of(*options.low_precision);
  if (!options.weights.empty())
    compiled.weights = read_weights(options.weights, compiled.program.functions[0]);
  for (const auto& [name, tensor] : options.rounded)
    if (const auto found = compiled.weights.find(name); found != compiled.weights.end())
      found->second = tensor;
  RunOptions run;
  run.level = options.level;
  run.verify_each = options.verify;
  run.print_after = options.print_after;
  run.time = true;
  run.dump = options.dump;
  run.only = options.passes;
  // Loops that come as text are compiled as they stand; but what the text says of places in memory is not trusted.
  if (run.only.empty() && !compiled.program.nests.empty())
    run.only = {"plan_memory"};
  if (targets.size() > 1)
    compile_for(targets, run, options, compiled);
  else {
    compiled.times = run_passes(compiled.program, compiled.target, run, compiled.remarks);
    if (!compiled.target.tuned.empty())
      warn_of_unknown(*options.tuning, compiled.program, compiled.warnings);
  }
  return compiled;
}

Compiled compile(const Network& network, const CompileOptions& options)
{
  CompileOptions with_weights = options;
  if (with_weights.weights.empty())
    with_weights.weights = network.weights;
  Compiled compiled = compile(program_of(network, options), with_weights);
  compiled.source_text = network.source ? network.source->text : "";
  return compiled;
}

LoadedModel load(const Compiled& compiled)
{
  return LoadedModel::from_program(compiled.program, compiled.target, compiled.info());
}

NamedTensors read_weights(const std::string& path, const Graph& graph)
{
  NamedTensors weights;
  std::vector<WantedTensor> wanted;
  for (const int number : values_of(graph, ValueKind::parameter)) {
    const Value& value = graph.values[static_cast<size_t>(number)];
    std::vector<int64_t> dims;
    for (const Dim& dim : value.type.shape)
      dims.push_back(dim.size);
    wanted.push_back({value.name, value.type.dtype, dims, value.data != nullptr});
    if (value.data) // the network's own file has it
      weights.emplace(value.name, *value.data);
  }
  for (auto& [name, tensor] : read_wanted(Weights(path), wanted))
    weights.insert_or_assign(name, std::move(tensor));
  return weights;
}

} // namespace cnnc
