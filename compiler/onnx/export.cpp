#include "compiler/onnx/export.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <functional>
#include <limits>

namespace cnnc {

namespace {

constexpr int64_t export_opset = 20; // the first that has every op below (Gelu)

class Exporter;
struct Layer {
  Exporter& to;
  const Op& op;
  std::vector<std::string> inputs;
  std::string output;

  int64_t integer(const std::string& name) const
  {
    const AttributeValue& value = op.attributes.at(name);
    return std::holds_alternative<bool>(value) ? std::get<bool>(value) : std::get<int64_t>(value);
  }
  double real(const std::string& name) const { return std::get<double>(op.attributes.at(name)); }
  const std::string& text(const std::string& name) const { return std::get<std::string>(op.attributes.at(name)); }
  const std::vector<int64_t>& integers(const std::string& name) const
  {
    return std::get<std::vector<int64_t>>(op.attributes.at(name));
  }
  const std::vector<double>& reals(const std::string& name) const
  {
    return std::get<std::vector<double>>(op.attributes.at(name));
  }
  bool has(const std::string& name) const { return op.attributes.contains(name); }

  void node(const std::string& onnx, std::vector<std::string> operands,
            std::map<std::string, OnnxValue, std::less<>> attributes = {}) const;
  // A step on the way.
  std::string step(const std::string& onnx, std::vector<std::string> operands,
                   std::map<std::string, OnnxValue, std::less<>> attributes = {}) const;
  std::string constant(Tensor tensor) const;
  std::string integers_input(const std::vector<int64_t>& values) const;
  std::string scalar_input(double value) const;
  const Shape& shape(size_t input) const;
  const Shape& result() const;
  DType dtype() const;
  OnnxTensor data(size_t input) const;
  [[noreturn]] void refuse(const std::string& why) const
  {
    throw Error(op.location, fmt::format("{} '{}': {}", op.def->name, op.name, why));
  }
};

using Write = std::function<void(const Layer&)>;

class Exporter {
public:
  Exporter(const Network& network, const NamedTensors& weights, int64_t batch)
      : network(network),
        weights(weights),
        batch(batch)
  {
  }

  OnnxModel run();

  const Network& network;
  const NamedTensors& weights;
  const int64_t batch;
  OnnxModel model;
  std::map<int, std::string> names;

  std::string name_of(int value);
  OnnxInfo info_of(int value);
  const Value& at(int value) const { return network.forward.values[static_cast<size_t>(value)]; }
};

void Layer::node(const std::string& onnx, std::vector<std::string> operands,
                 std::map<std::string, OnnxValue, std::less<>> attributes) const
{
  OnnxNode node;
  node.op = onnx;
  node.name = op.name;
  node.inputs = std::move(operands);
  node.outputs = {output};
  node.attributes = std::move(attributes);
  to.model.nodes.push_back(std::move(node));
}

std::string Layer::step(const std::string& onnx, std::vector<std::string> operands,
                        std::map<std::string, OnnxValue, std::less<>> attributes) const
{
  const std::string name = fmt::format("{}.{}", output, to.model.nodes.size());
  node(onnx, std::move(operands), std::move(attributes));
  to.model.nodes.back().name = name;
  to.model.nodes.back().outputs = {name};
  return name;
}

std::string Layer::constant(Tensor tensor) const
{
  std::string name = fmt::format("{}.constant", output);
  for (int k = 1; to.model.initializers.contains(name); ++k)
    name = fmt::format("{}.constant{}", output, k);
  to.model.initializers[name] = std::make_shared<const Tensor>(std::move(tensor));
  return name;
}

std::string Layer::integers_input(const std::vector<int64_t>& values) const
{
  Tensor tensor(DType::i64, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.data<int64_t>());
  return constant(std::move(tensor));
}

std::string Layer::scalar_input(double value) const
{
  Tensor tensor(dtype(), {});
  tensor.set(0, value);
  return constant(std::move(tensor));
}

const Shape& Layer::shape(size_t input) const
{
  return to.at(op.inputs.at(input)).type.shape;
}

const Shape& Layer::result() const
{
  return to.at(op.outputs.at(0)).type.shape;
}

DType Layer::dtype() const
{
  return to.at(op.inputs.at(0)).type.dtype;
}

OnnxTensor Layer::data(size_t input) const
{
  const Value& value = to.at(op.inputs.at(input));
  const auto given = to.weights.find(value.name);
  return given != to.weights.end() ? std::make_shared<const Tensor>(given->second) : value.data;
}

Write renamed(const char* onnx, std::vector<std::pair<const char*, const char*>> reals = {})
{
  return [=](const Layer& layer) {
    std::map<std::string, OnnxValue, std::less<>> attributes;
    for (const auto& [row, name] : reals)
      attributes[name] = layer.real(row);
    layer.node(onnx, layer.inputs, attributes);
  };
}

std::map<std::string, OnnxValue, std::less<>> window(const Layer& layer, const std::vector<int64_t>& kernel)
{
  std::map<std::string, OnnxValue, std::less<>> attributes{
      {"kernel_shape", kernel}, {"strides", layer.integers("stride")}, {"pads", layer.integers("padding")}};
  if (layer.has("dilation"))
    attributes["dilations"] = layer.integers("dilation");
  return attributes;
}

std::vector<int64_t> kernel_of(const Shape& weight)
{
  std::vector<int64_t> kernel;
  for (size_t d = 2; d < weight.size(); ++d)
    kernel.push_back(weight[d].size);
  return kernel;
}

// Every filter backwards.
Tensor flipped(const Tensor& weight)
{
  Tensor result(weight.dtype, weight.dims);
  int64_t window = 1;
  for (size_t d = 2; d < weight.dims.size(); ++d)
    window *= weight.dims[d];
  for (int64_t i = 0; i < weight.size(); ++i)
    result.set(i / window * window + window - 1 - i % window, weight.get(i));
  return result;
}

void conv(const Layer& layer)
{
  auto attributes = window(layer, kernel_of(layer.shape(1)));
  attributes["group"] = layer.integer("groups");
  std::vector<std::string> inputs = layer.inputs;
  if (layer.has("flip") && layer.integer("flip") != 0) {
    const OnnxTensor weight = layer.data(1);
    if (!weight)
      layer.refuse("its reversed kernel is not known");
    inputs[1] = layer.constant(flipped(*weight));
  }
  layer.node("Conv", inputs, attributes);
}

void conv_transpose(const Layer& layer)
{
  auto attributes = window(layer, kernel_of(layer.shape(1)));
  attributes["group"] = layer.integer("groups");
  attributes["output_padding"] = layer.integers("output_padding");
  layer.node("ConvTranspose", layer.inputs, attributes);
}

Write pool(const char* onnx)
{
  return [=](const Layer& layer) {
    auto attributes = window(layer, layer.integers("kernel"));
    for (const auto& [row, name] :
         {std::pair("ceil_mode", "ceil_mode"), {"count_include_pad", "count_include_pad"}, {"p", "p"}})
      if (layer.has(row) && layer.op.attributes.at(row) != AttributeValue(false))
        attributes[name] =
            static_cast<int64_t>(std::string(row) == "p" && std::holds_alternative<double>(layer.op.attributes.at(row))
                                     ? std::llround(layer.real(row))
                                     : layer.integer(row));
    if (std::string(onnx) == "AveragePool" && attributes.contains("dilations")) {
      const auto& dilation = std::get<std::vector<int64_t>>(attributes.at("dilations"));
      if (std::all_of(dilation.begin(), dilation.end(), [](int64_t d) { return d == 1; }))
        attributes.erase("dilations"); // opset 19 brought them
    }
    layer.node(onnx, layer.inputs, attributes);
  };
}

// Axes are an attribute up to opset 17 and an input from then on.
Write reduction(const char* onnx)
{
  return [=](const Layer& layer) {
    std::vector<int64_t> axes = layer.integers("axes");
    if (axes.empty())
      for (size_t d = 1; d < layer.shape(0).size(); ++d)
        axes.push_back(static_cast<int64_t>(d));
    layer.node(onnx, {layer.inputs[0], layer.integers_input(axes)}, {{"keepdims", layer.integer("keep_dims")}});
  };
}

std::vector<int64_t> dims_of_result(const Layer& layer)
{
  std::vector<int64_t> dims;
  bool open = false;
  for (size_t d = 0; d < layer.result().size(); ++d) {
    const Dim& dim = layer.result()[d];
    const bool keeps = d < layer.shape(0).size() && layer.shape(0)[d] == dim;
    dims.push_back(!dim.batch ? dim.size : keeps ? 0 : -1);
    open = open || dims.back() == -1;
  }
  return dims;
}

void reshape(const Layer& layer)
{
  layer.node("Reshape", {layer.inputs[0], layer.integers_input(dims_of_result(layer))});
}

void clip(const Layer& layer, double low, double high)
{
  const bool none = std::isinf(high);
  std::vector<std::string> inputs{layer.inputs[0], std::isinf(low) ? "" : layer.scalar_input(low)};
  if (!none)
    inputs.push_back(layer.scalar_input(high));
  else if (std::isinf(low))
    inputs.resize(1);
  layer.node("Clip", inputs);
}

void slice(const Layer& layer)
{
  const std::vector<int64_t>&starts = layer.integers("starts"), &ends = layer.integers("ends");
  std::vector<int64_t> axes = layer.integers("axes"), steps = layer.integers("steps");
  if (axes.empty())
    for (size_t d = 0; d < starts.size(); ++d)
      axes.push_back(static_cast<int64_t>(d));
  if (steps.empty())
    steps.assign(starts.size(), 1);
  layer.node("Slice", {layer.inputs[0], layer.integers_input(starts), layer.integers_input(ends),
                       layer.integers_input(axes), layer.integers_input(steps)});
}

// One part a layer: a slice.
void split(const Layer& layer)
{
  const std::vector<int64_t>& sizes = layer.integers("sizes");
  const auto part = static_cast<size_t>(layer.integer("part"));
  int64_t begin = 0;
  for (size_t k = 0; k < part; ++k)
    begin += sizes[k];
  layer.node("Slice", {layer.inputs[0], layer.integers_input({begin}), layer.integers_input({begin + sizes[part]}),
                       layer.integers_input({layer.integer("axis")})});
}

void pad(const Layer& layer)
{
  layer.node(
      "Pad",
      {layer.inputs[0], layer.integers_input(layer.integers("padding")), layer.scalar_input(layer.real("value"))},
      {{"mode", layer.text("mode")}});
}

void resize(const Layer& layer)
{
  std::vector<int64_t> axes = layer.integers("axes");
  if (axes.empty())
    for (size_t d = 2; d < layer.shape(0).size(); ++d)
      axes.push_back(static_cast<int64_t>(d));
  // Every dimension: other programs know axes late. The sizes as they come out.
  std::vector<int64_t> sizes;
  std::vector<double> scales = layer.reals("scales");
  std::string scales_input, sizes_input;
  if (!scales.empty()) {
    Tensor all(DType::f32, {static_cast<int64_t>(layer.shape(0).size())});
    for (int64_t d = 0; d < all.size(); ++d)
      all.set(d, 1);
    for (size_t k = 0; k < axes.size(); ++k)
      all.set(axes[k] < 0 ? axes[k] + all.size() : axes[k], scales[scales.size() > 1 ? k : 0]);
    scales_input = layer.constant(std::move(all));
  } else {
    for (const int64_t axis : axes)
      sizes.push_back(
          layer.result()[static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(layer.result().size()) : axis)]
              .size);
    sizes_input = layer.integers_input(sizes);
  }
  std::map<std::string, OnnxValue, std::less<>> attributes{
      {"mode", layer.text("mode")}, {"coordinate_transformation_mode", layer.text("coordinates")}};
  if (layer.text("mode") == "nearest")
    attributes["nearest_mode"] = layer.text("rounding");
  if (layer.text("mode") == "cubic")
    attributes["cubic_coeff_a"] = layer.real("cubic_a");
  for (const char* flag : {"exclude_outside", "antialias"})
    if (layer.integer(flag) != 0)
      attributes[flag] = int64_t{1};
  if (scales.empty())
    attributes["axes"] = axes;
  std::string roi;
  if (layer.text("coordinates") == "tf_crop_and_resize")
    layer.refuse("cropping while resizing is not exported");
  std::vector<std::string> inputs{layer.inputs[0], roi, scales_input};
  if (!sizes_input.empty())
    inputs.push_back(sizes_input);
  layer.node("Resize", inputs, attributes);
}

const std::map<std::string, Write, std::less<>>& table()
{
  static const std::map<std::string, Write, std::less<>> writers{
      {"abs", renamed("Abs")},
      {"add", renamed("Add")},
      {"and", renamed("And")},
      {"avg_pool1d", pool("AveragePool")},
      {"avg_pool2d", pool("AveragePool")},
      {"avg_pool3d", pool("AveragePool")},
      {"cast",
       [](const Layer& l) {
         l.node("Cast", l.inputs, {{"to", onnx_number_of(*parse_dtype(l.text("to")))}});
       }},
      {"celu", renamed("Celu", {{"alpha", "alpha"}})},
      {"clip", [](const Layer& l) { clip(l, l.real("min"), l.real("max")); }},
      {"concat",
       [](const Layer& l) {
         l.node("Concat", l.inputs, {{"axis", l.integer("axis")}});
       }},
      {"conv1d", conv},
      {"conv2d", conv},
      {"conv3d", conv},
      {"conv_transpose1d", conv_transpose},
      {"conv_transpose2d", conv_transpose},
      {"conv_transpose3d", conv_transpose},
      {"copy", renamed("Identity")},
      {"dense",
       [](const Layer& l) {
         l.node("Gemm", l.inputs, {{"transB", int64_t{1}}});
       }},
      {"div", renamed("Div")},
      {"elu", renamed("Elu", {{"alpha", "alpha"}})},
      {"equal", renamed("Equal")},
      {"erf", renamed("Erf")},
      {"exp", renamed("Exp")},
      {"expand",
       [](const Layer& l) {
         l.node("Expand", {l.inputs[0], l.integers_input(l.integers("shape"))});
       }},
      {"flatten", reshape},
      {"floor", renamed("Floor")},
      {"gather",
       [](const Layer& l) {
         l.node("Gather", {l.inputs[0], l.integers_input(l.integers("indices"))}, {{"axis", l.integer("axis")}});
       }},
      {"gelu",
       [](const Layer& l) {
         l.node("Gelu", l.inputs, {{"approximate", l.text("approximate")}});
       }},
      {"gemm",
       [](const Layer& l) {
         l.node("Gemm", l.inputs,
                {{"alpha", l.real("alpha")},
                 {"beta", l.real("beta")},
                 {"transA", l.integer("trans_a")},
                 {"transB", l.integer("trans_b")}});
       }},
      {"global_avg_pool", renamed("GlobalAveragePool")},
      {"global_max_pool", renamed("GlobalMaxPool")},
      {"greater", renamed("Greater")},
      {"greater_equal", renamed("GreaterOrEqual")},
      {"hard_sigmoid", renamed("HardSigmoid", {{"alpha", "alpha"}, {"beta", "beta"}})},
      {"hard_swish", renamed("HardSwish")},
      {"identity", renamed("Identity")},
      {"instance_norm", renamed("InstanceNormalization", {{"epsilon", "epsilon"}})},
      {"layer_norm",
       [](const Layer& l) {
         l.node("LayerNormalization", l.inputs, {{"axis", l.integer("axis")}, {"epsilon", l.real("epsilon")}});
       }},
      {"batch_norm",
       [](const Layer& l) {
         if (l.integer("training") != 0)
           l.refuse("its training form is not exported");
         l.node("BatchNormalization", l.inputs, {{"epsilon", l.real("epsilon")}, {"momentum", l.real("momentum")}});
       }},
      {"leaky_relu", renamed("LeakyRelu", {{"slope", "alpha"}})},
      {"less", renamed("Less")},
      {"less_equal", renamed("LessOrEqual")},
      {"log", renamed("Log")},
      {"log_softmax",
       [](const Layer& l) {
         l.node("LogSoftmax", l.inputs, {{"axis", l.integer("axis")}});
       }},
      {"lp_pool1d", pool("LpPool")},
      {"lp_pool2d", pool("LpPool")},
      {"lp_pool3d", pool("LpPool")},
      {"lrn",
       [](const Layer& l) {
         l.node("LRN", l.inputs,
                {{"size", l.integer("size")},
                 {"alpha", l.real("alpha")},
                 {"beta", l.real("beta")},
                 {"bias", l.real("bias")}});
       }},
      {"matmul", renamed("MatMul")},
      {"max", renamed("Max")},
      {"max_pool1d", pool("MaxPool")},
      {"max_pool2d", pool("MaxPool")},
      {"max_pool3d", pool("MaxPool")},
      {"min", renamed("Min")},
      {"mish", renamed("Mish")},
      {"mul", renamed("Mul")},
      {"neg", renamed("Neg")},
      {"not", renamed("Not")},
      {"or", renamed("Or")},
      {"pad", pad},
      {"parameter", renamed("Identity")},
      {"pixel_shuffle",
       [](const Layer& l) {
         l.node("DepthToSpace", l.inputs,
                {{"blocksize", l.integer("factor")}, {"mode", std::string(l.text("order") == "dcr" ? "DCR" : "CRD")}});
       }},
      {"pow", renamed("Pow")},
      {"prelu",
       [](const Layer& l) {
         // The standard broadcasts as NumPy does: [C,1,1].
         std::vector<std::string> inputs = l.inputs;
         if (l.shape(1).size() == 1 && l.shape(0).size() > 2) {
           std::vector<int64_t> dims(l.shape(0).size() - 1, 1);
           dims[0] = -1;
           inputs[1] = l.step("Reshape", {inputs[1], l.integers_input(dims)});
         }
         l.node("PRelu", inputs);
       }},
      {"reciprocal", renamed("Reciprocal")},
      {"reduce_l1", reduction("ReduceL1")},
      {"reduce_l2", reduction("ReduceL2")},
      {"reduce_log_sum", reduction("ReduceLogSum")},
      {"reduce_log_sum_exp", reduction("ReduceLogSumExp")},
      {"reduce_max", reduction("ReduceMax")},
      {"reduce_mean", reduction("ReduceMean")},
      {"reduce_min", reduction("ReduceMin")},
      {"reduce_prod", reduction("ReduceProd")},
      {"reduce_sum", reduction("ReduceSum")},
      {"reduce_sum_square", reduction("ReduceSumSquare")},
      {"relu", renamed("Relu")},
      {"relu6", [](const Layer& l) { clip(l, 0, 6); }},
      {"reshape", reshape},
      {"resize", resize},
      {"rsqrt", [](const Layer& l) { l.node("Reciprocal", {l.step("Sqrt", l.inputs)}); }},
      {"selu", renamed("Selu", {{"alpha", "alpha"}, {"gamma", "gamma"}})},
      {"sigmoid", renamed("Sigmoid")},
      {"sign", renamed("Sign")},
      {"slice", slice},
      {"softmax",
       [](const Layer& l) {
         l.node("Softmax", l.inputs, {{"axis", l.integer("axis")}});
       }},
      {"softplus", renamed("Softplus")},
      {"softsign", renamed("Softsign")},
      {"split", split},
      {"sqrt", renamed("Sqrt")},
      {"squeeze", reshape},
      {"sub", renamed("Sub")},
      // Swish is of opset 24.
      {"swish",
       [](const Layer& l) {
         const std::string scaled =
             l.real("beta") == 1 ? l.inputs[0] : l.step("Mul", {l.inputs[0], l.scalar_input(l.real("beta"))});
         l.node("Mul", {l.inputs[0], l.step("Sigmoid", {scaled})});
       }},
      {"tanh", renamed("Tanh")},
      {"thresholded_relu", renamed("ThresholdedRelu", {{"alpha", "alpha"}})},
      {"tile",
       [](const Layer& l) {
         l.node("Tile", {l.inputs[0], l.integers_input(l.integers("repeats"))});
       }},
      {"transpose",
       [](const Layer& l) {
         std::vector<int64_t> perm = l.integers("perm");
         for (size_t d = l.shape(0).size(); perm.size() < l.shape(0).size();)
           perm.push_back(static_cast<int64_t>(--d));
         l.node("Transpose", l.inputs, {{"perm", perm}});
       }},
      {"unsqueeze", reshape},
      {"where", renamed("Where")},
  };
  return writers;
}

std::string Exporter::name_of(int value)
{
  if (value < 0)
    return "";
  if (const auto known = names.find(value); known != names.end())
    return known->second;
  const Value& v = at(value);
  if (v.kind == ValueKind::parameter || v.kind == ValueKind::constant || v.kind == ValueKind::state) {
    const auto given = weights.find(v.name);
    const OnnxTensor data = given != weights.end() ? std::make_shared<const Tensor>(given->second) : v.data;
    if (!data)
      throw Error(v.location, fmt::format("the parameter '{}' is not known: --weights", v.name));
    model.initializers[v.name] = data;
  }
  return names[value] = v.name;
}

OnnxInfo Exporter::info_of(int value)
{
  OnnxInfo info;
  info.name = name_of(value);
  info.dtype = at(value).type.dtype;
  info.shape.emplace();
  for (const Dim& dim : at(value).type.shape) {
    if (dim.batch && batch == 0)
      info.shape->push_back({{}, dim.size == 1 ? "N" : fmt::format("{}*N", dim.size)});
    else
      info.shape->push_back({dim.batch ? dim.size * batch : dim.size, ""});
  }
  return info;
}

OnnxModel Exporter::run()
{
  const Graph& graph = network.forward;
  model.name = network.name;
  model.producer = "cnnc";
  model.opset = export_opset;
  for (const int input : values_of(graph, ValueKind::input))
    model.inputs.push_back(info_of(input));
  for (const Op& op : graph.ops) {
    const auto writer = table().find(op.def->name);
    if (writer == table().end())
      throw Error(op.location, fmt::format("{} '{}': the ONNX standard has no such operator", op.def->name, op.name));
    Layer layer{*this, op, {}, name_of(op.outputs[0])};
    for (const int input : op.inputs)
      layer.inputs.push_back(name_of(input));
    while (!layer.inputs.empty() && layer.inputs.back().empty())
      layer.inputs.pop_back();
    for (size_t k = 1; k < op.outputs.size(); ++k)
      if (!at(op.outputs[k]).name.empty())
        for (const Op& reader : graph.ops)
          if (std::find(reader.inputs.begin(), reader.inputs.end(), op.outputs[k]) != reader.inputs.end())
            layer.refuse("its further results are not exported");
    writer->second(layer);
  }
  for (const int output : graph.outputs)
    model.outputs.push_back(info_of(output));
  // What only a reversed kernel read.
  std::map<std::string, OnnxTensor, std::less<>> used;
  for (const OnnxNode& node : model.nodes)
    for (const std::string& input : node.inputs)
      if (const auto found = model.initializers.find(input); found != model.initializers.end())
        used.insert(*found);
  model.initializers = std::move(used);
  return std::move(model);
}

} // namespace

OnnxModel export_onnx(const Network& network, const NamedTensors& weights, int64_t batch)
{
  return Exporter(network, weights, batch).run();
}

} // namespace cnnc
