#include "tests/compiler/draw.h"

#include "runtime/model.h"
#include "tests/compiler/guarded.h"
#include "tests/ir/formula_fixture.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

namespace cnnc::test {

namespace {

Shape shape_of(const std::vector<int64_t>& dims)
{
  Shape shape;
  for (const int64_t dim : dims)
    shape.push_back(dim < 0 ? Dim{-dim, true} : Dim{dim, false});
  return shape;
}

size_t aligned(int64_t bytes)
{
  return static_cast<size_t>((bytes + CNN_ALIGNMENT - 1) / CNN_ALIGNMENT * CNN_ALIGNMENT);
}

// Three threads that take tasks one by one, the last first: whoever reads what another task writes sees it.
void backwards(void*, int64_t tasks, cnn_body body, void* context)
{
  for (int64_t i = tasks; i-- > 0;)
    body(context, i, i + 1, static_cast<int>(i % 3));
}

cnn_threads backward_threads()
{
  return {CNN_ABI_VERSION, sizeof(cnn_threads), 3, 0, backwards, nullptr, nullptr};
}

std::string compare(const std::string& name, const Tensor& got, const Tensor& want, double tolerance)
{
  if (got.dims != want.dims)
    return fmt::format("{}: dimensions {} instead of {}\n", name, got.dims, want.dims);
  double largest = 0;
  for (int64_t i = 0; i < want.size(); ++i)
    largest = std::max(largest, std::abs(want.get(i)));
  int64_t bad = 0, first = -1;
  double worst = 0;
  for (int64_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(got.get(i) - want.get(i)) / (1 + largest);
    if (error <= tolerance)
      continue;
    first = first < 0 ? i : first;
    worst = std::max(worst, error);
    ++bad;
  }
  if (bad == 0)
    return "";
  return fmt::format("{} {}: {} of {} elements differ, by {:g} at most; the first is {}: {:.9g} instead of {:.9g}\n",
                     name, want.dims, bad, want.size(), worst, first, got.get(first), want.get(first));
}

// A model with its blocks, as a caller would have them.
class Caller {
public:
  Caller(const cnn_model& model, cnn_mode mode, int64_t batch, bool at_end)
      : model(model),
        batch(batch),
        at_end(at_end),
        threads(backward_threads()),
        parameters(aligned(model.parameter_bytes), at_end),
        state(aligned(model.state_bytes), at_end),
        workspace(aligned(std::max<int64_t>(0, model.workspace_bytes(batch, 3, mode))), at_end)
  {
    check(model, model.init_parameters(parameters.data, 1), "init_parameters");
    check(model, model.init_state(state.data, 1), "init_state");
    std::memset(workspace.data, 0xff, workspace.size);
  }

  void set_parameters(const NamedTensors& values)
  {
    for (int32_t p = 0; p < model.parameter_count; ++p) {
      const Tensor& value = values.find(model.parameters[p].name)->second;
      check(model, model.set_parameter(parameters.data, model.parameters[p].name, value.bytes.data(), value.size()),
            "set_parameter");
    }
  }

  void set_inputs(const cnn_tensor* tensors, int32_t count, const NamedTensors& values)
  {
    for (int32_t i = 0; i < count; ++i)
      add(inputs, values.find(tensors[i].name)->second.bytes);
  }

  std::byte* add(std::vector<std::unique_ptr<Guarded>>& list, const std::vector<std::byte>& bytes)
  {
    list.push_back(std::make_unique<Guarded>(bytes.size(), at_end));
    std::copy(bytes.begin(), bytes.end(), list.back()->data);
    return list.back()->data;
  }

  const cnn_model& model;
  int64_t batch;
  bool at_end;
  cnn_threads threads;
  Guarded parameters, state, workspace;
  std::vector<std::unique_ptr<Guarded>> inputs, outputs;
};

template<class Pointer>
std::vector<Pointer> pointers(const std::vector<std::unique_ptr<Guarded>>& list)
{
  std::vector<Pointer> result;
  for (const auto& buffer : list)
    result.push_back(buffer->data);
  return result;
}

std::string told(const std::string& differences, const Graph& graph, int64_t batch, const CompileOptions& options)
{
  if (differences.empty())
    return "";
  return fmt::format("-O{} -march={} --batch {}\n{}{}", options.level, options.march, batch, differences,
                     to_string(graph));
}

} // namespace

Dice::Dice(uint64_t seed) : key(seed_key(seed)) {}

int64_t Dice::number(int64_t least, int64_t most)
{
  return least + static_cast<int64_t>(random_unit(key, counter++) * static_cast<double>(most - least + 1));
}

int DrawnGraph::input(const std::string& name, const std::vector<int64_t>& dims, DType dtype, int64_t limit)
{
  return graph.add_value({.name = name, .kind = ValueKind::input, .type = {dtype, shape_of(dims)}, .limit = limit});
}

int DrawnGraph::parameter(const std::string& name, const std::vector<int64_t>& dims, double rate)
{
  return graph.add_value({.name = name,
                          .kind = ValueKind::parameter,
                          .type = {DType::f32, shape_of(dims)},
                          .initial = "zero",
                          .rate = rate});
}

int DrawnGraph::op(const std::string& name, std::vector<int> inputs, Attributes attributes)
{
  const OpDef* def = find_op(name);
  if (!def)
    throw Error({}, "no op " + name);
  const int number = graph.add_op(*def, name, std::move(inputs), check_attributes(*def, attributes, false, {}), {});
  return graph.ops[static_cast<size_t>(number)].outputs[0];
}

int DrawnGraph::weighted_sum(int value)
{
  const int weights = graph.add_value({.name = "r",
                                       .kind = ValueKind::input,
                                       .type = {DType::f32, graph.values[static_cast<size_t>(value)].type.shape}});
  std::string subscripts;
  for (size_t d = 0; d < shape(value).size(); ++d)
    subscripts += fmt::format("{}i{}", d ? "," : "", d);
  const int number = graph.add_op(op_formula, "loss", {value, weights},
                                  {{"inputs", std::vector<std::string>{"y[...]", "r[...]"}},
                                   {"outputs", std::vector<std::string>{"loss[]"}},
                                   {"text", fmt::format("loss[] += y[{0}] * r[{0}]", subscripts)}},
                                  {});
  return graph.ops[static_cast<size_t>(number)].outputs[0];
}

// Of an integer that has no limit.
static int64_t any_number(Dice& dice, const Value& value)
{
  switch (value.type.dtype) {
  case DType::boolean: return dice.number(0, 1);
  case DType::u8: return dice.number(0, 9);
  default: return dice.number(-9, 9);
  }
}

NamedTensors drawn_values(const Graph& graph, int64_t batch, uint64_t seed)
{
  NamedTensors values;
  Dice dice(seed);
  for (const Value& value : graph.values) {
    if (value.kind != ValueKind::input && value.kind != ValueKind::parameter && value.kind != ValueKind::state)
      continue;
    Tensor tensor = separated_numbers(value.type, seed * 97 + values.size(), batch);
    const Shape& shape = value.type.shape;
    double scale = 1;
    if (value.kind == ValueKind::parameter && shape.size() >= 2)
      scale = std::sqrt(6 / (static_cast<double>(tensor.size()) / static_cast<double>(shape[0].size)));
    for (int64_t i = 0; i < tensor.size(); ++i) {
      if (value.name == "key")
        tensor.data<int64_t>()[i] = static_cast<int64_t>(seed_key(seed));
      else if (!is_float(value.type.dtype))
        tensor.set(i, static_cast<double>(value.limit > 0 ? dice.number(0, value.limit - 1) : any_number(dice, value)));
      else if (value.name.starts_with("square") || value.name == "rate" || value.name.starts_with("positive"))
        tensor.set(i, std::abs(tensor.get(i)));
      else if (value.name.starts_with("wide"))
        tensor.set(i, 8 * tensor.get(i));
      else
        tensor.set(i, scale * tensor.get(i));
      if (value.name == "step")
        tensor.set(i, static_cast<double>(dice.number(1, 1000)));
    }
    if (value.kind == ValueKind::state) // as init_state has them
      for (int64_t i = 0; i < tensor.size(); ++i)
        tensor.set(i, value.initial.starts_with("constant(") ? std::stod(value.initial.substr(9)) : 0);
    values.emplace(value.name, std::move(tensor));
  }
  return values;
}

Reference reference_for(const Graph& graph, int64_t batch, uint64_t seed)
{
  Program program{{graph}, {}};
  RunOptions only;
  only.only = {"differentiate"};
  Remarks remarks;
  if (graph.training)
    run_passes(program, Target{}, only, remarks);
  const Graph& whole = program.functions[0];
  Reference reference{graph, drawn_values(whole, batch, seed), {}, batch};
  reference.results = interpret(whole, reference.values, batch, true);
  return reference;
}

std::string difference(const Reference& reference, const CompileOptions& options, double tolerance)
{
  // Gradients of parameters lie in a block, those of inputs are outputs.
  Graph forward = reference.graph, backward = reference.graph;
  backward.name += ".gradients";
  if (forward.training) {
    const auto is_input = [&](const std::string& name) {
      return forward.values[static_cast<size_t>(forward.find(name))].kind == ValueKind::input;
    };
    std::erase_if(forward.training->gradients, [&](const std::string& name) { return !is_input(name); });
    std::erase_if(backward.training->gradients, is_input);
  }
  const bool has_block = backward.training && !backward.training->gradients.empty();
  if (forward.training && forward.training->gradients.empty())
    forward.training.reset();
  Program program{{std::move(forward)}, {}};
  if (has_block)
    program.functions.push_back(backward);
  const LoadedModel loaded = load(compile(std::move(program), options));
  const cnn_model& model = *loaded.model;
  std::string differences;
  for (const bool at_end : {true, false}) {
    Caller caller(model, CNN_FORWARD, reference.batch, at_end);
    caller.set_parameters(reference.values);
    caller.set_inputs(model.inputs, model.input_count, reference.values);
    std::vector<Tensor> outputs;
    for (int32_t o = 0; o < model.output_count; ++o) {
      outputs.emplace_back(dtype_of(model.outputs[o]), dims_of(model.outputs[o], reference.batch));
      std::memset(outputs.back().bytes.data(), 0xff, outputs.back().bytes.size());
      caller.add(caller.outputs, outputs.back().bytes);
    }
    const auto in = pointers<const void*>(caller.inputs);
    const auto out = pointers<void*>(caller.outputs);
    check(model,
          model.forward(caller.parameters.data, reference.batch, in.data(), out.data(), caller.workspace.data,
                        at_end ? nullptr : &caller.threads),
          "forward");
    for (size_t o = 0; o < outputs.size(); ++o) {
      std::memcpy(outputs[o].bytes.data(), out[o], outputs[o].bytes.size());
      const std::string name = model.outputs[o].name;
      // The weighted sum is the test's own, in f32, of thousands of terms that cancel.
      const Graph& of = reference.graph;
      const bool is_sum = of.training && o < of.outputs.size() && of.training->loss == of.outputs[o] &&
                          of.ops.back().def == &op_formula;
      differences +=
          compare(name, outputs[o], reference.results.find(name)->second, is_sum ? 10 * tolerance : tolerance);
    }
    if (!has_block)
      continue;
    Caller trainer(model, CNN_GRADIENTS, reference.batch, at_end);
    trainer.set_parameters(reference.values);
    trainer.set_inputs(model.train_inputs, model.train_input_count, reference.values);
    const auto train_in = pointers<const void*>(trainer.inputs);
    const Guarded block(aligned(model.parameter_bytes), at_end);
    std::memset(block.data, 0xff, block.size);
    float loss = 0;
    check(model,
          model.gradients(trainer.parameters.data, trainer.state.data, reference.batch, train_in.data(), &loss,
                          block.data, trainer.workspace.data, at_end ? nullptr : &trainer.threads),
          "gradients");
    for (int32_t p = 0; p < model.parameter_count; ++p) {
      const cnn_tensor& parameter = model.parameters[p];
      const auto wanted = reference.results.find(std::string(parameter.name) + ".gradient");
      if (wanted == reference.results.end())
        continue; // a running statistic
      Tensor got(DType::f32, dims_of(parameter, 1));
      check(model, model.get_parameter(block.data, parameter.name, got.bytes.data(), got.size()), "get_parameter");
      differences += compare(wanted->first, got, wanted->second, tolerance);
    }
  }
  return told(differences, reference.graph, reference.batch, options);
}

std::string train_difference(const Graph& forward, const Reference& train, const CompileOptions& options,
                             double tolerance)
{
  Graph step = train.graph;
  step.name = forward.name + ".train";
  const LoadedModel loaded = load(compile(Program{{forward, step}, {}}, options));
  const cnn_model& model = *loaded.model;
  std::string differences;
  for (const bool at_end : {true, false}) {
    Caller caller(model, CNN_TRAIN, train.batch, at_end);
    caller.set_parameters(train.values);
    caller.set_inputs(model.train_inputs, model.train_input_count, train.values);
    const auto in = pointers<const void*>(caller.inputs);
    Tensor loss(DType::f32, {});
    check(model,
          model.train_step(caller.parameters.data, caller.state.data, train.batch, in.data(), loss.data<float>(),
                           caller.workspace.data, at_end ? nullptr : &caller.threads),
          "train_step");
    const auto& name = train.graph.values[static_cast<size_t>(train.graph.training->loss)].name;
    differences += compare(name, loss, train.results.find(name)->second, tolerance);
    const auto compare_block = [&](const cnn_tensor* tensors, int32_t count, auto get, const void* block) {
      for (int32_t t = 0; t < count; ++t) {
        Tensor got(dtype_of(tensors[t]), dims_of(tensors[t], 1));
        check(model, get(block, tensors[t].name, got.bytes.data(), got.size()), "read a block");
        differences += compare(tensors[t].name, got, train.results.find(tensors[t].name)->second, tolerance);
      }
    };
    compare_block(model.parameters, model.parameter_count, model.get_parameter, caller.parameters.data);
    compare_block(model.states, model.state_count, model.get_state, caller.state.data);
  }
  return told(differences, train.graph, train.batch, options);
}

int64_t count_remarks(const Graph& graph, const CompileOptions& options, std::string_view pass, std::string_view text)
{
  const Compiled compiled = compile(Program{{graph}, {}}, options);
  return std::count_if(compiled.remarks.all.begin(), compiled.remarks.all.end(), [&](const Remark& remark) {
    return remark.pass == pass && remark.text.find(text) != remark.text.npos;
  });
}

} // namespace cnnc::test
