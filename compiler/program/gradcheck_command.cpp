#include "compiler/program/commands.h"
#include "compiler/program/model.h"
#include "compiler/program/terminal.h"
#include "ir/random.h"
#include "passes/convert_precision.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>

namespace cnnc {

namespace {

constexpr double tolerance = 1e-5;
constexpr int64_t all_below = 10000;

// A network without a loss gets one: a sum of its outputs with irregular weights, so that nothing cancels.
Graph with_sum(Graph graph)
{
  const int output = graph.outputs.at(0);
  const Shape& shape = graph.values[static_cast<size_t>(output)].type.shape;
  std::string subscripts, weight = "0.5";
  for (size_t d = 0; d < shape.size(); ++d) {
    subscripts += fmt::format("{}i{}", d ? "," : "", d);
    weight += fmt::format(" + i{}*{}", d, 0.37 / static_cast<double>(d + 1));
  }
  const std::string text = fmt::format("loss[] += x[{}] * (exp(0 - ({})) + 0.1)", subscripts, weight);
  const int op = graph.add_op(
      op_formula, "loss", {output},
      {{"inputs", std::vector<std::string>{"x[...]"}}, {"outputs", std::vector<std::string>{"loss[]"}}, {"text", text}},
      graph.location);
  graph.outputs = {graph.ops[static_cast<size_t>(op)].outputs[0]};
  graph.training = Training{graph.outputs[0], nullptr, {}, {}};
  return graph;
}

// Where an element of a parameter lies in its block, in elements behind the tensor's offset.
int64_t place_of(const cnn_tensor& tensor, int64_t element)
{
  std::vector<int64_t> at(static_cast<size_t>(tensor.rank));
  for (int32_t d = tensor.rank; d-- > 0;) {
    at[static_cast<size_t>(d)] = element % tensor.dims[d];
    element /= tensor.dims[d];
  }
  int64_t place = 0;
  for (int32_t a = 0; a < tensor.axis_count; ++a) {
    const cnn_axis& axis = tensor.axes[a];
    const int64_t from = at[static_cast<size_t>(axis.dim)] + axis.before;
    place += (axis.modulo ? from / axis.divide % axis.modulo : from / axis.divide) * axis.stride;
  }
  return place;
}

struct Checked {
  std::string name, shape;
  int64_t elements = 0, samples = 0;
  double worst = 0;
  int64_t worst_at = 0;
  double analytic = 0, numeric = 0; // there
};

class Gradcheck {
public:
  Gradcheck(const Network& network, CompileOptions options, int64_t batch, int threads, uint64_t seed)
      : batch(batch),
        key(seed_key(seed))
  {
    if (!network.forward.kernels.empty())
      throw Error({network.source, 1, 1}, "gradcheck wants a network as it is before the passes");
    Graph graph = network.loss ? *network.loss : with_sum(network.forward);
    graph.name = network.name;
    const auto users = users_of(graph);
    std::vector<std::string> parameter_names, input_names;
    for (size_t v = 0; v < graph.values.size(); ++v)
      if (is_float(graph.values[v].type.dtype) && !users[v].empty()) {
        if (graph.values[v].kind == ValueKind::parameter)
          parameter_names.push_back(graph.values[v].name);
        if (graph.values[v].kind == ValueKind::input)
          input_names.push_back(graph.values[v].name);
      }
    names = parameter_names;
    names.insert(names.end(), input_names.begin(), input_names.end());

    convert_precision(graph, DType::f32, DType::f64);
    graph.training->optimizer = nullptr;
    graph.training->attributes.clear();
    Graph value = graph, of_parameters = graph, of_inputs = graph;
    value.training.reset();
    of_parameters.name += ".gradients";
    of_parameters.training->gradients = parameter_names;
    of_inputs.training->gradients = input_names;
    Program program;
    program.functions.push_back(std::move(value));
    if (!parameter_names.empty())
      program.functions.push_back(std::move(of_parameters));
    loaded = load(compile(std::move(program), options));
    const cnn_model& model = *loaded->model;

    parameters = first_parameters(model, seed);
    for (int32_t p = 0; p < model.parameter_count; ++p)
      fill_zeros(model.parameters[p]);
    make_inputs(model);
    workspace = workspace_of(model, batch, 1, CNN_FORWARD);
    if (!parameter_names.empty())
      find_parameter_gradients(model, threads);
    if (!input_names.empty())
      find_input_gradients(std::move(of_inputs), options, threads);
  }

  int64_t elements() const
  {
    int64_t sum = 0;
    for (size_t t = 0; t < names.size(); ++t)
      sum += results[t].size();
    return sum;
  }

  // All elements of the tensor, or so many of them.
  Checked check_tensor(size_t t, int64_t samples)
  {
    const Tensor& gradient = results[t];
    Checked checked{names[t], fmt::format("[{}]", fmt::join(gradient.dims, ",")), gradient.size(), 0, 0, 0, 0, 0};
    double largest = 0;
    for (int64_t i = 0; i < gradient.size(); ++i)
      largest = std::max(largest, std::abs(gradient.get(i)));
    checked.samples = std::min(samples, gradient.size());
    for (int64_t s = 0; s < checked.samples; ++s) {
      const int64_t at = checked.samples == gradient.size()
                             ? s
                             : static_cast<int64_t>(random_unit(key + 2 * t + 2, static_cast<uint64_t>(s)) *
                                                    static_cast<double>(gradient.size()));
      const double analytic = gradient.get(at);
      double* element = place(names[t], at);
      double best = INFINITY, numeric = 0;
      // A step across a kink (ReLU, max) is no derivative; shorter ones miss it. A wrong gradient is wrong at each.
      for (const double step : {1e-5, 1e-4, 1e-6, 1e-7}) {
        const double difference = slope(*element, step);
        const double scale = std::max({std::abs(analytic), std::abs(difference), 1e-3 * largest, 1e-7});
        const double error = std::abs(analytic - difference) / scale;
        if (!(error >= best)) {
          best = error;
          numeric = difference;
        }
        if (error <= tolerance)
          break;
      }
      if (!(best <= checked.worst)) {
        checked.worst = best;
        checked.worst_at = at;
        checked.analytic = analytic;
        checked.numeric = numeric;
      }
    }
    return checked;
  }

  std::vector<std::string> names; // what is checked: parameters, then inputs
  std::vector<Tensor> results;    // their gradients, likewise

private:
  int64_t batch;
  uint64_t key;
  std::optional<LoadedModel> loaded;
  Block parameters, workspace;
  std::vector<Tensor> inputs;
  std::vector<const void*> pointers;

  // Zeros sit on the kinks of many functions.
  void fill_zeros(const cnn_tensor& tensor)
  {
    if (std::strcmp(tensor.initial, "zero") != 0)
      return;
    for (int64_t i = 0; i < elements_of(tensor, 1); ++i)
      element(tensor, i) = 0.2 * random_unit(key, static_cast<uint64_t>(tensor.offset + i)) - 0.1;
  }

  double& element(const cnn_tensor& tensor, int64_t i)
  {
    auto* bytes = static_cast<char*>(parameters.data()) + tensor.offset;
    return reinterpret_cast<double*>(bytes)[place_of(tensor, i)];
  }

  void make_inputs(const cnn_model& model)
  {
    for (int32_t i = 0; i < model.input_count; ++i) {
      const cnn_tensor& input = model.inputs[i];
      Tensor tensor(dtype_of(input), dims_of(input, batch));
      for (int64_t e = 0; e < tensor.size(); ++e) {
        const double unit = random_unit(key + 1, static_cast<uint64_t>(i) << 40 | static_cast<uint64_t>(e));
        tensor.set(e, is_float(tensor.dtype)
                          ? 2 * unit - 1
                          : std::floor(unit * static_cast<double>(std::max<int64_t>(1, input.limit))));
      }
      inputs.push_back(std::move(tensor));
    }
    for (const Tensor& input : inputs)
      pointers.push_back(input.bytes.data());
  }

  void find_parameter_gradients(const cnn_model& model, int threads)
  {
    const ModelThreads pool(model, threads);
    const Block space = workspace_of(model, batch, threads, CNN_GRADIENTS), state(model.state_bytes),
                block(model.parameter_bytes);
    check(model, model.init_state(state.data(), 0), "init_state");
    // The loss has the type of the network: here it is a double.
    double loss = 0;
    void* where = &loss;
    check(model,
          model.gradients(parameters.data(), state.data(), batch, pointers.data(), static_cast<float*>(where),
                          block.data(), space.data(), pool.get()),
          "the way back");
    for (const std::string& name : names)
      for (int32_t p = 0; p < model.parameter_count; ++p)
        if (name == model.parameters[p].name) {
          results.emplace_back(DType::f64, dims_of(model.parameters[p], 1));
          check(model,
                model.get_parameter(block.data(), name.c_str(), results.back().bytes.data(), results.back().size()),
                "get_parameter");
        }
  }

  void find_input_gradients(Graph graph, const CompileOptions& options, int threads)
  {
    const LoadedModel gradients = load(compile(Program{{std::move(graph)}, {}}, options));
    const cnn_model& model = *gradients.model;
    // The two programs may lay their parameters out in different ways.
    Block block = first_parameters(model, 0);
    for (int32_t p = 0; p < model.parameter_count; ++p) {
      const char* name = model.parameters[p].name;
      std::vector<double> values(static_cast<size_t>(elements_of(model.parameters[p], 1)));
      const auto count = static_cast<int64_t>(values.size());
      check(model, loaded->model->get_parameter(parameters.data(), name, values.data(), count), "get_parameter");
      check(model, model.set_parameter(block.data(), name, values.data(), count), "set_parameter");
    }
    std::vector<Tensor> outputs;
    std::vector<void*> out;
    for (int32_t o = 0; o < model.output_count; ++o)
      outputs.emplace_back(DType::f64, dims_of(model.outputs[o], batch));
    for (Tensor& output : outputs)
      out.push_back(output.bytes.data());
    const ModelThreads pool(model, threads);
    const Block space = workspace_of(model, batch, threads, CNN_FORWARD);
    check(model, model.forward(block.data(), batch, pointers.data(), out.data(), space.data(), pool.get()),
          "the way back");
    results.insert(results.end(), outputs.begin() + 1, outputs.end()); // behind the loss
  }

  double* place(const std::string& name, int64_t at)
  {
    const cnn_model& model = *loaded->model;
    for (int32_t i = 0; i < model.input_count; ++i)
      if (name == model.inputs[i].name)
        return inputs[static_cast<size_t>(i)].data<double>() + at;
    for (int32_t p = 0; p < model.parameter_count; ++p)
      if (name == model.parameters[p].name)
        return &element(model.parameters[p], at);
    throw InternalError("gradcheck: no tensor " + name);
  }

  double loss()
  {
    double value = 0;
    void* output = &value;
    const cnn_model& model = *loaded->model;
    check(model, model.forward(parameters.data(), batch, pointers.data(), &output, workspace.data(), nullptr),
          "forward");
    return value;
  }

  double slope(double& element, double step)
  {
    const double value = element;
    element = value + step;
    const double above = loss(), high = element;
    element = value - step;
    const double below = loss(), low = element;
    element = value;
    return (above - below) / (high - low);
  }
};

} // namespace

int gradcheck_command(const Arguments& arguments)
{
  Parser parser(
      "cnnc gradcheck NETWORK",
      "Holds the compiled gradients, in double precision, against central differences of the compiled loss: every "
      "parameter and every input; above 10,000 numbers a sample of them.",
      {"cnnc gradcheck lenet5.yaml", "cnnc gradcheck lenet5.yaml --samples 5000 -O3 --batch 4"});
  std::string path;
  CompileOptions options;
  options.precision = DType::f64;
  int64_t batch = 2, samples = 2000;
  int threads = available_threads();
  uint64_t seed = 1;
  CLI::App& app = parser.app;
  app.add_option("network", path, "a .yaml, .onnx or .ir file")->required();
  app.add_option("--samples", samples, "how many numbers are checked where there are more than 10,000 (2000)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  app.add_option("--batch", batch, "images (2)")->check(CLI::Range(1, 1 << 16));
  app.add_option("--seed", seed, "of values and sample (1)");
  app.add_option("--threads", threads, "for the way back (all that there are)")->check(CLI::Range(1, 1024));
  add_compile_options(parser, options);
  parser.parse(arguments);

  const Network network = read_network(path);
  Gradcheck gradcheck(network, options, batch, threads, seed);
  const int64_t all = gradcheck.elements();
  Table table;
  table.add_column("tensor", false, 5);
  table.add_column("shape", false, 1);
  table.add_column("checked", true, 3);
  table.add_column("largest error", true, 4);
  table.add_column("", false, 2);
  bool good = true;
  for (size_t t = 0; t < gradcheck.names.size(); ++t) {
    // A sample in proportion, of small tensors at least a few.
    const int64_t size = gradcheck.results[t].size();
    const int64_t share =
        static_cast<int64_t>(static_cast<double>(samples) * static_cast<double>(size) / static_cast<double>(all));
    const Checked checked = gradcheck.check_tensor(t, all <= all_below ? size : std::max<int64_t>(64, share));
    const bool bad = !(checked.worst <= tolerance);
    good = good && !bad;
    table.add_row({checked.name, checked.shape,
                   checked.samples == checked.elements
                       ? with_commas(checked.elements)
                       : fmt::format("{} of {}", with_commas(checked.samples), with_commas(checked.elements)),
                   fmt::format("{:.1e}", checked.worst),
                   bad ? fmt::format("BAD: element {}: {:.9g}, by differences {:.9g}", checked.worst_at,
                                     checked.analytic, checked.numeric)
                       : "good"});
  }
  print(table.text(0));
  print(good ? fmt::format("all gradients agree (relative error at most {:g})\n", tolerance)
             : fmt::format("gradients are wrong: relative error above {:g}\n", tolerance));
  return good ? 0 : 1;
}

} // namespace cnnc
