#include "compiler/onnx/tensor.h"
#include "runtime/files.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

void fill_info(onnx::ValueInfoProto& proto, const OnnxInfo& info)
{
  proto.set_name(info.name);
  auto& type = *proto.mutable_type()->mutable_tensor_type();
  type.set_elem_type(static_cast<int>(onnx_number_of(info.dtype.value_or(DType::f32))));
  if (!info.shape)
    return;
  auto& shape = *type.mutable_shape();
  for (const OnnxExtent& extent : *info.shape) {
    auto& dim = *shape.add_dim();
    if (extent.size)
      dim.set_dim_value(*extent.size);
    else if (!extent.symbol.empty())
      dim.set_dim_param(extent.symbol);
  }
}

void fill_attribute(onnx::AttributeProto& proto, const std::string& name, const OnnxValue& value)
{
  using A = onnx::AttributeProto;
  proto.set_name(name);
  if (const auto* i = std::get_if<int64_t>(&value)) {
    proto.set_type(A::INT);
    proto.set_i(*i);
  } else if (const auto* f = std::get_if<double>(&value)) {
    proto.set_type(A::FLOAT);
    proto.set_f(static_cast<float>(*f));
  } else if (const auto* s = std::get_if<std::string>(&value)) {
    proto.set_type(A::STRING);
    proto.set_s(*s);
  } else if (const auto* ints = std::get_if<std::vector<int64_t>>(&value)) {
    proto.set_type(A::INTS);
    for (const int64_t v : *ints)
      proto.add_ints(v);
  } else if (const auto* floats = std::get_if<std::vector<double>>(&value)) {
    proto.set_type(A::FLOATS);
    for (const double v : *floats)
      proto.add_floats(static_cast<float>(v));
  } else if (const auto* strings = std::get_if<std::vector<std::string>>(&value)) {
    proto.set_type(A::STRINGS);
    for (const std::string& v : *strings)
      proto.add_strings(v);
  } else {
    proto.set_type(A::TENSOR);
    fill_tensor(*proto.mutable_t(), "", *std::get<OnnxTensor>(value));
  }
}

} // namespace

void write_onnx(const std::string& path, const OnnxModel& model)
{
  onnx::ModelProto proto;
  proto.set_ir_version(8);
  proto.set_producer_name(model.producer);
  auto& opset = *proto.add_opset_import();
  opset.set_domain("");
  opset.set_version(model.opset);
  onnx::GraphProto& graph = *proto.mutable_graph();
  graph.set_name(model.name);
  for (const OnnxInfo& info : model.inputs)
    fill_info(*graph.add_input(), info);
  for (const OnnxInfo& info : model.outputs)
    fill_info(*graph.add_output(), info);
  int64_t bytes = 0;
  for (const auto& [name, tensor] : model.initializers) {
    bytes += static_cast<int64_t>(tensor->bytes.size());
    if (bytes > INT32_MAX - (1 << 20))
      throw Error({}, fmt::format("{}: the weights take more than the 2 GiB that an .onnx file can hold", path));
    fill_tensor(*graph.add_initializer(), name, *tensor);
  }
  for (const OnnxNode& node : model.nodes) {
    onnx::NodeProto& to = *graph.add_node();
    to.set_op_type(node.op);
    to.set_domain(node.domain);
    to.set_name(node.name);
    for (const std::string& input : node.inputs)
      to.add_input(input);
    for (const std::string& output : node.outputs)
      to.add_output(output);
    for (const auto& [name, value] : node.attributes)
      fill_attribute(*to.add_attribute(), name, value);
  }
  std::string text;
  if (!proto.SerializeToString(&text))
    throw Error({}, fmt::format("{}: the model is too large for an .onnx file", path));
  write_file_atomically(path, text);
}

} // namespace cnnc
