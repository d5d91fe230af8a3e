#include "compiler/onnx/reader.h"
#include "compiler/interface.h"
#include "compiler/onnx/node.h"
#include "compiler/yaml_writer.h"

#include <algorithm>
#include <fmt/format.h>
#include <functional>
#include <set>

namespace cnnc {

namespace {

constexpr int64_t extent_limit = int64_t{1} << 31;

std::string title_of(const OnnxModel& model, const OnnxNode& node)
{
  return fmt::format("{}: node {}{} ({}{}{}, opset {})", model.path, node.number,
                     node.name.empty() ? "" : fmt::format(" '{}'", node.name), node.domain,
                     node.domain.empty() ? "" : ".", node.op, model.opset);
}

// The nodes in an order in which operands come before their users, without those that no output needs.
class Order {
public:
  explicit Order(const OnnxModel& model) : model(model)
  {
    for (const OnnxInfo& input : model.inputs)
      define(input.name, -1, fmt::format("{}: the input", model.path));
    for (const auto& [name, tensor] : model.initializers)
      define(name, -1, fmt::format("{}: the initializer", model.path));
    for (size_t i = 0; i < model.nodes.size(); ++i)
      for (const std::string& output : model.nodes[i].outputs)
        if (!output.empty())
          define(output, static_cast<int>(i), title_of(model, model.nodes[i]));
  }

  std::vector<const OnnxNode*> run()
  {
    state.assign(model.nodes.size(), 0);
    for (const OnnxInfo& output : model.outputs) {
      const auto at = maker.find(output.name);
      if (at == maker.end())
        throw Error({}, fmt::format("{}: nothing makes the output '{}'", model.path, output.name));
      if (at->second >= 0)
        visit(static_cast<size_t>(at->second));
    }
    return std::move(order);
  }

  // The graph's inputs that a tensor depends on.
  std::set<std::string> inputs_of(const std::string& name) const
  {
    std::set<std::string> inputs, seen;
    std::vector<std::string> open{name};
    while (!open.empty()) {
      const std::string at = open.back();
      open.pop_back();
      const auto found = maker.find(at);
      if (found == maker.end() || !seen.insert(at).second)
        continue;
      if (found->second >= 0)
        for (const std::string& input : model.nodes[static_cast<size_t>(found->second)].inputs)
          open.push_back(input);
      else if (!model.initializers.contains(at))
        inputs.insert(at);
    }
    return inputs;
  }

private:
  const OnnxModel& model;
  std::map<std::string, int, std::less<>> maker; // node, or -1
  std::vector<char> state;                       // 0 new, 1 open, 2 done
  std::vector<const OnnxNode*> order;

  void define(const std::string& name, int node, const std::string& what)
  {
    if (!maker.emplace(name, node).second)
      throw Error({}, fmt::format("{}: there is a tensor '{}' already", what, name));
  }

  // Depth first, without recursion: files are as deep as they like.
  void visit(size_t first)
  {
    std::vector<std::pair<size_t, size_t>> stack{{first, 0}};
    if (state[first] != 0)
      return;
    state[first] = 1;
    while (!stack.empty()) {
      auto& [at, next] = stack.back();
      const OnnxNode& node = model.nodes[at];
      if (next == node.inputs.size()) {
        state[at] = 2;
        order.push_back(&node);
        stack.pop_back();
        continue;
      }
      const std::string& input = node.inputs[next++];
      if (input.empty())
        continue;
      const auto found = maker.find(input);
      if (found == maker.end())
        throw Error({}, fmt::format("{}: nothing makes its input '{}'", title_of(model, node), input));
      if (found->second < 0)
        continue;
      const auto to = static_cast<size_t>(found->second);
      if (state[to] == 1)
        throw Error(
            {}, fmt::format("{}: a cycle: it depends on its own result, through '{}'", title_of(model, node), input));
      if (state[to] == 0) {
        state[to] = 1;
        stack.emplace_back(to, 0);
      }
    }
  }
};

// What is read as the run-time number n: first dimensions that have a name; those that are 1, where all inputs' are;
// none.
enum class Batch : uint8_t { named, one, fixed };

class Reader {
public:
  Reader(const OnnxModel& model, const std::vector<const OnnxNode*>& order, const NamedTensors& values, Batch batch)
      : model(model),
        order(order),
        values(values),
        batch(batch),
        build(network_name(model), elements_of(model)),
        source(std::make_shared<const Source>(Source{model.path, ""}))
  {
  }

  Network read()
  {
    for (const OnnxInfo& input : model.inputs)
      add_input(input);
    for (const auto& [name, tensor] : model.initializers) {
      Operand operand;
      operand.name = name;
      operand.type = {tensor->dtype, shape_of(*tensor)};
      operand.data = tensor;
      operands[name] = std::move(operand);
    }
    for (const OnnxNode* node : order)
      for (const std::string& input : node->inputs)
        ++uses[input];
    for (const OnnxInfo& output : model.outputs)
      ++uses[output.name];
    for (const OnnxNode* node : order)
      add_node(*node);
    add_outputs();
    return finish();
  }

private:
  const OnnxModel& model;
  const std::vector<const OnnxNode*>& order;
  const NamedTensors& values;
  const Batch batch;
  OnnxBuilder build;
  std::shared_ptr<const Source> source;
  std::map<std::string, Operand, std::less<>> operands;
  std::map<std::string, int, std::less<>> uses;
  std::vector<Warning> warnings;
  bool was_one = false; // the batch is 1 in the file

  void warn(std::string text)
  {
    Warning warning;
    warning.where = Location{source, 1, 1};
    warning.text = std::move(text);
    warnings.push_back(std::move(warning));
  }

  static int64_t elements_of(const OnnxModel& model)
  {
    int64_t total = 0;
    for (const auto& [name, tensor] : model.initializers)
      total += tensor->size();
    for (const OnnxNode& node : model.nodes)
      for (const auto& [name, value] : node.attributes)
        if (const auto* tensor = std::get_if<OnnxTensor>(&value))
          total += *tensor ? (*tensor)->size() : 0;
    return total;
  }

  static std::string network_name(const OnnxModel& model)
  {
    std::string stem = model.path.substr(model.path.rfind('/') == model.path.npos ? 0 : model.path.rfind('/') + 1);
    stem = onnx_identifier(stem.substr(0, stem.rfind('.')));
    // Functions of that name are exported.
    const bool reserved = stem != c_identifier(stem) || stem == "main" || stem == "cnn";
    return stem.empty() ? "network" : reserved ? "net_" + stem : stem;
  }

  void add_input(const OnnxInfo& input)
  {
    const std::string what = fmt::format("{}: the input '{}'", model.path, input.name);
    if (!input.dtype || !input.shape)
      throw Error({}, fmt::format("{} has no type or no shape", what));
    Operand operand;
    operand.name = input.name;
    operand.type.dtype = *input.dtype;
    for (size_t d = 0; d < input.shape->size(); ++d) {
      const OnnxExtent& extent = (*input.shape)[d];
      if (!extent.size && d > 0)
        throw Error({}, fmt::format("{} has a dimension '{}' that is not known: only the first one may be", what,
                                    extent.symbol));
      const bool is_batch = d == 0 && (batch == Batch::named ? !extent.size : batch == Batch::one);
      was_one = was_one || (is_batch && extent.size);
      const int64_t size = is_batch ? 1 : extent.size.value_or(1);
      if (size < 0 || size > extent_limit)
        throw Error({}, fmt::format("{} has a dimension of {}", what, size));
      operand.type.shape.push_back({size, is_batch});
    }
    if (operand.rank() > 15)
      throw Error({}, fmt::format("{} has {} dimensions", what, operand.rank()));
    try {
      elements(operand.type.shape);
    } catch (const Error& e) {
      throw Error({}, fmt::format("{}: {}", what, e.what()));
    }
    if (const auto known = values.find(input.name); known != values.end()) {
      if (known->second.dtype != operand.type.dtype || shape_of(known->second) != operand.type.shape)
        throw Error({}, fmt::format("{} is {}; the given value is not", what, to_string(operand.type)));
      operand.data = std::make_shared<const Tensor>(known->second);
    } else if (operand.is_empty()) {
      // Nothing can be read from it.
      operand.data = build.filled(operand.type.dtype, operand.type.shape, 0).data;
      warn(fmt::format("the input '{}' has no elements: it is left out", input.name));
    } else {
      Value value;
      const std::string name = onnx_identifier(input.name);
      value.name = build.unique_name(name.empty() ? "input" : name);
      value.kind = ValueKind::input;
      value.type = operand.type;
      value.location = {source, 1, 1};
      operand.value = build.graph.add_value(std::move(value));
    }
    operands[input.name] = std::move(operand);
  }

  std::string layer_name(const OnnxNode& node) const
  {
    const std::string output = node.outputs.empty() ? "" : node.outputs[0];
    for (const OnnxInfo& info : model.outputs)
      if (info.name == output)
        return onnx_identifier(output);
    const std::string name = onnx_identifier(node.name.empty() ? output : node.name);
    std::string stem = node.op;
    std::transform(stem.begin(), stem.end(), stem.begin(), [](unsigned char c) { return std::tolower(c); });
    // A bare number says nothing.
    return name.size() > 1 && name[0] == 't' && std::isdigit(static_cast<unsigned char>(name[1])) != 0
               ? stem + "_" + name.substr(1)
           : name.empty() ? stem
                          : name;
  }

  void add_node(const OnnxNode& node)
  {
    const std::string title = title_of(model, node);
    if (!node.domain.empty())
      throw Error({},
                  fmt::format("{}: its domain is not the standard's: operators of others are not supported", title));
    const OnnxOp* op = find_onnx_op(node.op);
    if (!op) {
      const std::string near = nearest(node.op, onnx_op_names());
      throw Error({}, fmt::format("{}: this operator is not supported{}", title,
                                  near.empty() ? "" : fmt::format(" (cnnc has {})", near)));
    }
    std::vector<MaybeOperand> inputs;
    for (const std::string& input : node.inputs) {
      inputs.push_back(input.empty() ? MaybeOperand() : operands.at(input));
      // Other readers want it as it is.
      if (!input.empty() && uses[input] > 1)
        inputs.back()->scale = {};
    }
    OnnxCall call(build, node, model.opset, std::move(inputs));
    for (size_t k = 0; k < node.outputs.size(); ++k)
      call.wanted[k] = uses.contains(node.outputs[k]) && !node.outputs[k].empty();
    build.begin_node(layer_name(node), {source, node.number, 1});
    try {
      if (!fold_extents(call))
        op->handler(call);
      if (const auto unread = call.unread_attributes(); !unread.empty())
        throw Error({}, fmt::format("its attribute '{}' is not known", unread[0]));
      for (size_t k = 0; k < node.outputs.size(); ++k)
        if (call.wants(k) && !call.results[k])
          throw Error({}, fmt::format("its result '{}' is not supported", node.outputs[k]));
      check_images();
    } catch (const Error& e) {
      throw Error({}, fmt::format("{}: {}", title, e.what()), e.notes);
    }
    const MaybeOperand first = call.results.empty() ? MaybeOperand() : call.results[0];
    build.end_node(first ? &*first : nullptr);
    for (size_t k = 0; k < node.outputs.size(); ++k)
      if (call.wants(k)) {
        Operand& result = *call.results[k];
        result.name = node.outputs[k];
        operands[node.outputs[k]] = std::move(result);
      }
  }

  size_t checked = 0; // ops of the graph

  // A batch that is 1 in the file may be any number only where no image sees another one.
  void check_images()
  {
    for (; checked < build.graph.ops.size(); ++checked) {
      if (!was_one)
        continue;
      const Op& op = build.graph.ops[checked];
      const Formula meaning = formula_of(build.graph, op);
      bool reads_batch = false, makes_batch = true;
      for (const FormulaTensor& tensor : meaning.tensors) {
        reads_batch = reads_batch || (tensor.role == Role::input && has_batch(tensor.type.shape));
        makes_batch = makes_batch && (tensor.role != Role::output || has_batch(tensor.type.shape));
      }
      bool mixes = reads_batch && !makes_batch;
      for (const Statement& statement : meaning.statements)
        for (size_t i = 0; i < statement.indices.size(); ++i)
          mixes = mixes || (statement.indices[i].extent.batch && !statement.is_output_index(static_cast<int>(i)));
      if (mixes)
        throw Error({}, "it mixes the images of a batch");
    }
  }

  void add_outputs()
  {
    std::set<int> taken;
    for (const OnnxInfo& info : model.outputs) {
      Operand output = operands.at(info.name);
      if (output.is_empty()) {
        warn(fmt::format("the output '{}' has no elements: it is left out", info.name));
        continue;
      }
      const std::string name = onnx_identifier(info.name);
      const bool is_result =
          output.value >= 0 && build.graph.values[static_cast<size_t>(output.value)].kind == ValueKind::result;
      if (!is_result || !taken.insert(output.value).second) {
        build.begin_node(name.empty() ? "output" : name, {source, static_cast<int>(model.nodes.size()) + 1, 1});
        const OpDef* identity = find_op("identity");
        const int op = build.graph.add_op(*identity, "", {build.value_of(output)}, {}, {source, 1, 1});
        output.value = build.graph.ops[static_cast<size_t>(op)].outputs[0];
        build.end_node(&output);
        taken.insert(output.value);
      } else {
        build.rename(output.value, name);
      }
      build.graph.outputs.push_back(output.value);
    }
    if (was_one)
      for (const int output : build.graph.outputs)
        if (!has_batch(build.graph.values[static_cast<size_t>(output)].type.shape))
          throw Error({}, fmt::format("{}: an output does not depend on the batch", model.path));
    if (build.graph.outputs.empty())
      throw Error({}, fmt::format("{}: it has no output with elements", model.path));
  }

  Network finish()
  {
    Network network;
    compact(build.graph);
    // What nothing reads any more: compact() keeps it.
    drop_unread();
    verify(build.graph);
    network.name = build.graph.name;
    network.source = source;
    network.forward = std::move(build.graph);
    for (const Op& op : network.forward.ops)
      network.layers.push_back({op.name, op.def->name, op.location});
    network.warnings = std::move(warnings);
    // What a library shows of itself; some networks no .yaml can say.
    try {
      const std::string text = yaml_of(network, "", "from " + model.path.substr(model.path.rfind('/') + 1)).text;
      network.source = std::make_shared<const Source>(Source{model.path, text});
    } catch (const Error&) {
    }
    return network;
  }

  void drop_unread()
  {
    Graph& graph = build.graph;
    const std::vector<std::vector<int>> users = users_of(graph);
    std::vector<int> number(graph.values.size(), -1);
    std::vector<Value> kept;
    for (size_t v = 0; v < graph.values.size(); ++v)
      if (graph.values[v].kind != ValueKind::parameter || !users[v].empty()) {
        number[v] = static_cast<int>(kept.size());
        kept.push_back(std::move(graph.values[v]));
      }
    graph.values = std::move(kept);
    const auto renumber = [&](int& value) { value = value < 0 ? value : number[static_cast<size_t>(value)]; };
    for (Op& op : graph.ops) {
      std::for_each(op.inputs.begin(), op.inputs.end(), renumber);
      std::for_each(op.outputs.begin(), op.outputs.end(), renumber);
    }
    std::for_each(graph.outputs.begin(), graph.outputs.end(), renumber);
  }
};

// What the first dimensions of the inputs that remain to be given allow.
Batch batch_of(const OnnxModel& model, const NamedTensors& values)
{
  bool any = false, all_one = true;
  for (const OnnxInfo& input : model.inputs) {
    if (values.contains(input.name) || !input.shape)
      continue;
    if (!input.shape->empty() && !(*input.shape)[0].size)
      return Batch::named;
    all_one = all_one && !input.shape->empty() && *(*input.shape)[0].size == 1;
    any = true;
  }
  return any && all_one ? Batch::one : Batch::fixed;
}

} // namespace

Network read_onnx(const std::string& path, const OnnxOptions& options)
{
  const OnnxModel model = parse_onnx(path);
  if (model.outputs.empty())
    throw Error({}, fmt::format("{}: it has no outputs", path));
  Order order(model);
  const std::vector<const OnnxNode*> nodes = order.run();
  NamedTensors known;
  const auto read = [&](Batch batch) {
    // Each turn knows one more of the inputs that decide shapes.
    for (;;)
      try {
        return Reader(model, nodes, known, batch).read();
      } catch (const UnknownValue& unknown) {
        bool more = false;
        std::string missing;
        for (const std::string& input : order.inputs_of(unknown.name)) {
          const auto given = options.values.find(input);
          if (given == options.values.end())
            missing = input;
          else
            more = known.emplace(input, given->second).second || more;
        }
        if (!missing.empty() || !more)
          throw Error({}, fmt::format("{}: '{}' ({}) depends on {}: what decides shapes must be known when the network "
                                      "is compiled",
                                      path, unknown.name, unknown.what,
                                      missing.empty() ? "the batch" : fmt::format("the input '{}'", missing)));
      }
  };
  const Batch batch = options.run_time_batch ? batch_of(model, options.values) : Batch::fixed;
  if (batch != Batch::fixed)
    try {
      return read(batch);
    } catch (const Error&) {
      known.clear();
    }
  return read(Batch::fixed);
}

} // namespace cnnc
