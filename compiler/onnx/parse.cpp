#include "compiler/onnx/tensor.h"
#include "runtime/files.h"

#include <cmath>
#include <fmt/format.h>
#include <set>

namespace cnnc {

namespace {

constexpr int64_t file_limit = int64_t{2} << 30; // protobuf's own
constexpr int depth_limit = 32;
constexpr size_t message_limit = 2'000'000;

// Small messages take some hundred times their bytes in memory: they are counted in the raw bytes before protobuf gets
// them.
class Wire {
public:
  explicit Wire(std::string_view bytes) : bytes(bytes) {}

  bool next(uint64_t& field, std::string_view& content)
  {
    uint64_t key = 0, size = 0;
    while (at < bytes.size()) {
      if (!varint(key))
        return false;
      field = key >> 3;
      switch (key & 7) {
      case 0:
        if (!varint(size))
          return false;
        break;
      case 1: at += 8; break;
      case 5: at += 4; break;
      case 2:
        if (!varint(size) || size > bytes.size() - at)
          return false;
        content = bytes.substr(at, size);
        at += size;
        return true;
      default: return false;
      }
    }
    return false;
  }

private:
  std::string_view bytes;
  size_t at = 0;

  bool varint(uint64_t& value)
  {
    value = 0;
    for (int shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes[at++]);
      value |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128)
        return true;
    }
    return false;
  }
};

// The messages that hold others, by the field's number.
enum class Part : uint8_t { model, function, graph, node, attribute, info, other };

Part part_of(Part whole, uint64_t field)
{
  switch (whole) {
  case Part::model: return field == 7 ? Part::graph : field == 25 ? Part::function : Part::other;
  case Part::function: return field == 7 ? Part::node : Part::other;
  case Part::graph: return field == 1 ? Part::node : field >= 11 && field <= 13 ? Part::info : Part::other;
  case Part::node: return field == 5 ? Part::attribute : Part::other;
  case Part::attribute: return field == 6 || field == 11 ? Part::graph : Part::other;
  case Part::info: // a type, its shape, the extents
    return Part::info;
  default: return Part::other;
  }
}

void count_messages(std::string_view bytes, Part whole, int depth, size_t& count)
{
  Wire wire(bytes);
  uint64_t field = 0;
  std::string_view content;
  while (count <= message_limit && wire.next(field, content)) {
    ++count;
    if (const Part part = part_of(whole, field); part != Part::other && depth < depth_limit)
      count_messages(content, part, depth + 1, count);
  }
}

template<class Message>
void parse_bytes(Message& message, const std::string& bytes, const std::string& path, const char* what)
{
  size_t count = 0;
  count_messages(bytes, Part::model, 0, count);
  if (count > message_limit)
    throw bad_file(path, "it has more parts than any network needs");
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t*>(bytes.data()),
                                                static_cast<int>(bytes.size()));
  stream.SetTotalBytesLimit(INT32_MAX);
  stream.SetRecursionLimit(depth_limit);
  if (!message.ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage())
    throw bad_file(path, fmt::format("this is not {}, or it is damaged or cut off", what));
}

OnnxInfo info_of(const onnx::ValueInfoProto& proto, const std::string& path)
{
  OnnxInfo info;
  info.name = proto.name();
  if (!proto.has_type() || !proto.type().has_tensor_type())
    throw bad_file(path,
                   fmt::format("'{}' is not a tensor (sequences, maps and optionals are not supported)", proto.name()));
  const auto& type = proto.type().tensor_type();
  info.dtype = dtype_of_onnx(type.elem_type());
  if (!info.dtype && type.elem_type() != onnx::TensorProto::UNDEFINED)
    throw bad_file(
        path, fmt::format("'{}' has elements of type {}, which cnnc does not know", proto.name(), type.elem_type()));
  if (!type.has_shape())
    return info;
  info.shape.emplace();
  for (const auto& dim : type.shape().dim()) {
    OnnxExtent extent;
    if (dim.has_dim_value())
      extent.size = dim.dim_value();
    else
      extent.symbol = dim.dim_param();
    info.shape->push_back(extent);
  }
  return info;
}

// The number that somebody wrote and an f32 came near: 0.01, not 0.009999999776482582.
double shortest(float number)
{
  return std::isfinite(number) ? std::stod(fmt::format("{}", number)) : static_cast<double>(number);
}

OnnxValue attribute_of(const onnx::AttributeProto& proto, const std::string& node, const std::string& path)
{
  using A = onnx::AttributeProto;
  // Files of the first versions have no type: what is set says it.
  A::AttributeType type = proto.type();
  if (type == A::UNDEFINED)
    type = proto.has_f()              ? A::FLOAT
           : proto.has_i()            ? A::INT
           : proto.has_s()            ? A::STRING
           : proto.has_t()            ? A::TENSOR
           : proto.floats_size() > 0  ? A::FLOATS
           : proto.ints_size() > 0    ? A::INTS
           : proto.strings_size() > 0 ? A::STRINGS
                                      : A::UNDEFINED;
  switch (type) {
  case A::FLOAT: return shortest(proto.f());
  case A::INT: return static_cast<int64_t>(proto.i());
  case A::STRING: return proto.s();
  case A::TENSOR: return std::make_shared<const Tensor>(tensor_of(proto.t(), path));
  case A::FLOATS: {
    std::vector<double> list;
    for (const float number : proto.floats())
      list.push_back(shortest(number));
    return list;
  }
  case A::INTS: return std::vector<int64_t>(proto.ints().begin(), proto.ints().end());
  case A::STRINGS: return std::vector<std::string>(proto.strings().begin(), proto.strings().end());
  default:
    throw bad_file(path, fmt::format("{}: the attribute '{}' is of a kind that is not supported ({}; such as graphs "
                                     "inside of nodes and sparse tensors)",
                                     node, proto.name(), static_cast<int>(type)));
  }
}

OnnxNode node_of(const onnx::NodeProto& proto, int number, const std::string& path)
{
  OnnxNode node;
  node.op = proto.op_type();
  node.domain = proto.domain() == "ai.onnx" ? "" : proto.domain();
  node.name = proto.name();
  node.number = number;
  node.inputs.assign(proto.input().begin(), proto.input().end());
  node.outputs.assign(proto.output().begin(), proto.output().end());
  const std::string title = fmt::format("node {} '{}' ({})", number, node.name, node.op);
  for (const auto& attribute : proto.attribute()) {
    if (!attribute.ref_attr_name().empty())
      throw bad_file(path, fmt::format("{}: the attribute '{}' refers to a function's", title, attribute.name()));
    if (!node.attributes.emplace(attribute.name(), attribute_of(attribute, title, path)).second)
      throw bad_file(path, fmt::format("{}: two attributes '{}'", title, attribute.name()));
  }
  return node;
}

int64_t opset_of(const onnx::ModelProto& proto, const std::string& path)
{
  int64_t opset = 0;
  for (const auto& import : proto.opset_import())
    if (import.domain().empty() || import.domain() == "ai.onnx") {
      if (opset != 0 && opset != import.version())
        throw bad_file(
            path, fmt::format("it names two versions of the standard's operators, {} and {}", opset, import.version()));
      opset = import.version();
    }
  if (opset < first_opset || opset > last_opset)
    throw bad_file(path, fmt::format("it uses version {} of the standard's operators (opset); cnnc knows {} to {}",
                                     opset, first_opset, last_opset));
  return opset;
}

} // namespace

OnnxModel parse_onnx(const std::string& path)
{
  onnx::ModelProto proto;
  {
    const std::string bytes = read_file(path, file_limit - 1);
    if (bytes.empty())
      throw bad_file(path, "the file is empty");
    parse_bytes(proto, bytes, path, "an ONNX model");
  }
  if (!proto.has_graph())
    throw bad_file(path, "this is not an ONNX model: it has no graph");
  OnnxModel model;
  model.path = path;
  model.producer = proto.producer_name();
  model.opset = opset_of(proto, path);
  if (proto.functions_size() > 0)
    throw bad_file(path, fmt::format("it defines functions of its own ('{}'): inline them first "
                                     "(onnx.inliner.inline_local_functions)",
                                     proto.functions(0).name()));
  onnx::GraphProto& graph = *proto.mutable_graph();
  model.name = graph.name();
  if (graph.sparse_initializer_size() > 0)
    throw bad_file(path, "sparse initializers are not supported");
  for (int i = 0; i < graph.initializer_size(); ++i) {
    onnx::TensorProto& tensor = *graph.mutable_initializer(i);
    OnnxTensor data;
    try {
      data = std::make_shared<const Tensor>(tensor_of(tensor, path));
    } catch (const Error& e) {
      throw Error({}, fmt::format("{}: {}", path, e.what()), {}, e.exit_code);
    }
    if (tensor.name().empty() || !model.initializers.emplace(tensor.name(), std::move(data)).second)
      throw bad_file(path, fmt::format("two initializers '{}'", tensor.name()));
    tensor.clear_raw_data(); // both copies of all weights need not live
    tensor.clear_float_data();
  }
  for (const auto& input : graph.input())
    if (!model.initializers.contains(input.name()))
      model.inputs.push_back(info_of(input, path));
  for (const auto& output : graph.output())
    model.outputs.push_back(info_of(output, path));
  for (int i = 0; i < graph.node_size(); ++i) {
    try {
      model.nodes.push_back(node_of(graph.node(i), i + 1, path));
    } catch (const Error& e) {
      throw Error({}, std::string(e.what()).starts_with(path) ? e.what() : fmt::format("{}: {}", path, e.what()), {},
                  e.exit_code);
    }
  }
  return model;
}

Tensor parse_onnx_tensor(const std::string& path)
{
  onnx::TensorProto proto;
  parse_bytes(proto, read_file(path, file_limit - 1), path, "an ONNX tensor");
  return tensor_of(proto, path);
}

} // namespace cnnc
