#include "compiler/onnx/builder.h"
#include "ir/interpret.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace cnnc {

namespace {

// What reading may compute, in points of the formulas' index spaces: some for shapes, masks and position tables that a
// small file spells out, and a few turns over the tensors in the file.
constexpr int64_t free_points = int64_t{1} << 23, points_an_element = 8;
// To multiply an element takes so much less time than a point.
constexpr int64_t merged_a_point = 8;
// The standard's light models fill all their weights: 575 MB in VGG-19's.
constexpr int64_t filled_limit = int64_t{1} << 30;

// Saturates.
int64_t points_of(const Formula& formula)
{
  int64_t total = 0;
  for (const Statement& statement : formula.statements) {
    int64_t points = 1;
    for (const Index& index : statement.indices)
      if (__builtin_mul_overflow(points, index.extent.size, &points))
        return INT64_MAX;
    if (__builtin_add_overflow(total, points, &total))
      return INT64_MAX;
  }
  return total;
}

bool is_parameter(const OpDef& def, const std::string& operand)
{
  return std::any_of(def.parameters.begin(), def.parameters.end(),
                     [&](const ParameterDef& parameter) { return parameter.name == operand; });
}

bool is_learnt(const OpDef& def, const std::string& operand)
{
  return std::any_of(def.parameters.begin(), def.parameters.end(),
                     [&](const ParameterDef& parameter) { return parameter.name == operand && parameter.is_learnt; });
}

std::string initial_of(const OpDef& def, const std::string& operand)
{
  for (const ParameterDef& parameter : def.parameters)
    if (parameter.name == operand && (parameter.initial == "one" || parameter.initial == "zero"))
      return parameter.initial;
  return "zero";
}

// The dims of operand k of a variadic list.
const OperandSpec& spec_of(const std::vector<OperandSpec>& specs, size_t k)
{
  return specs.at(std::min(k, specs.size() - 1));
}

} // namespace

bool Operand::is_empty() const
{
  return std::any_of(type.shape.begin(), type.shape.end(), [](const Dim& dim) { return dim.size == 0; });
}

std::string onnx_identifier(const std::string& name)
{
  std::string text;
  for (const char c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (plain)
      text += c;
    else if (!text.empty() && text.back() != '_')
      text += '_';
  }
  while (!text.empty() && text.back() == '_')
    text.pop_back();
  if (!text.empty() && std::isdigit(static_cast<unsigned char>(text[0])))
    text.insert(0, "t");
  return text.substr(0, 56);
}

int64_t axis_of(int64_t axis, int64_t rank)
{
  if (axis < -rank || axis >= rank)
    throw Error({}, fmt::format("the axis {} is not one of {} dimensions", axis, rank));
  return axis < 0 ? axis + rank : axis;
}

Shape shape_of(const Tensor& tensor)
{
  Shape shape;
  for (const int64_t dim : tensor.dims)
    shape.push_back({dim, false});
  return shape;
}

std::vector<int64_t> integers_of(const Tensor& tensor)
{
  std::vector<int64_t> result;
  for (int64_t i = 0; i < tensor.size(); ++i)
    result.push_back(tensor.dtype == DType::i64 ? tensor.data<int64_t>()[i] : static_cast<int64_t>(tensor.get(i)));
  return result;
}

Shape broadcast(const Shape& a, const Shape& b)
{
  Shape result(std::max(a.size(), b.size()));
  for (size_t i = 0; i < result.size(); ++i) {
    const Dim one{1, false};
    const Dim& from_a = i < a.size() ? a[a.size() - 1 - i] : one;
    const Dim& from_b = i < b.size() ? b[b.size() - 1 - i] : one;
    if (from_a != from_b && from_a != one && from_b != one)
      throw Error({}, fmt::format("{} and {} do not broadcast", to_string(a), to_string(b)));
    result[result.size() - 1 - i] = from_a == one ? from_b : from_a;
  }
  return result;
}

OnnxBuilder::OnnxBuilder(const std::string& name, int64_t given) : allowance(free_points + points_an_element * given)
{
  graph.name = name;
}

void OnnxBuilder::count_known(int64_t points) const
{
  if (points > allowance)
    throw Error({}, "to compute its constants takes too long: they are much larger than what is in the file");
  allowance -= points;
}

Operand OnnxBuilder::known(Tensor tensor, const std::string& name) const
{
  Operand operand;
  operand.name = name;
  operand.type = {tensor.dtype, shape_of(tensor)};
  operand.data = std::make_shared<const Tensor>(std::move(tensor));
  return operand;
}

Operand OnnxBuilder::scalar(DType dtype, double value) const
{
  Tensor tensor(dtype, {});
  tensor.set(0, value);
  return known(std::move(tensor));
}

Operand OnnxBuilder::filled(DType dtype, const Shape& shape, double value) const
{
  std::vector<int64_t> dims;
  for (const Dim& dim : shape) {
    if (dim.batch)
      throw Error({}, fmt::format("a constant of the shape {} depends on the batch", to_string(shape)));
    dims.push_back(dim.size);
  }
  filled_bytes += elements(shape) * bytes_of(dtype); // 2^40 elements are the most
  if (filled_bytes > filled_limit)
    throw Error({}, "the file asks for more than 1 GiB of constants that are not in it");
  Tensor tensor(dtype, dims);
  if (value != 0 && tensor.size() > 0) {
    tensor.set(0, value);
    std::byte* const data = tensor.bytes.data();
    const size_t size = tensor.bytes.size();
    for (size_t done = static_cast<size_t>(bytes_of(dtype)); done < size; done *= 2)
      std::memcpy(data + done, data, std::min(done, size - done));
  }
  return known(std::move(tensor));
}

Operand OnnxBuilder::integers(const std::vector<Dim>& extents, bool is_scalar) const
{
  Operand operand;
  operand.type = {DType::i64, is_scalar ? Shape{} : Shape{{static_cast<int64_t>(extents.size()), false}}};
  operand.extents = extents;
  if (std::any_of(extents.begin(), extents.end(), [](const Dim& dim) { return dim.batch; }))
    return operand;
  Tensor tensor(DType::i64,
                is_scalar ? std::vector<int64_t>{} : std::vector<int64_t>{static_cast<int64_t>(extents.size())});
  for (size_t i = 0; i < extents.size(); ++i)
    tensor.data<int64_t>()[i] = extents[i].size;
  operand.data = std::make_shared<const Tensor>(std::move(tensor));
  return operand;
}

int OnnxBuilder::value_of(const Operand& operand)
{
  if (operand.value >= 0)
    return operand.value;
  if (!operand.data)
    throw Error({}, fmt::format("'{}' depends on the batch, and is used as a tensor", operand.name));
  if (operand.is_empty())
    throw Error({}, fmt::format("'{}' has no elements", operand.name));
  Value value;
  const std::string name = onnx_identifier(operand.name);
  value.name = unique_name(name.empty() ? (node_name.empty() ? "constant" : node_name + "_constant") : name);
  value.kind = ValueKind::constant;
  value.type = operand.type;
  value.data = operand.data;
  value.location = where;
  return graph.add_value(std::move(value));
}

void OnnxBuilder::check_batch(const OpDef& def, const Op& op) const
{
  const auto at = [&](int value) -> const Value& { return graph.values[static_cast<size_t>(value)]; };
  const std::vector<OperandSpec> specs = input_specs(def, op.attributes);
  for (size_t i = 0; i < op.inputs.size(); ++i)
    if (op.inputs[i] >= 0 && is_parameter(def, spec_of(specs, i).name) && has_batch(at(op.inputs[i]).type.shape))
      throw Error({}, fmt::format("the {} of {} depends on the batch", spec_of(specs, i).name, def.name));
  for (const int output : op.outputs) {
    const Shape& shape = at(output).type.shape;
    for (size_t d = 1; d < shape.size(); ++d)
      if (shape[d].batch)
        throw Error({},
                    fmt::format("{} makes {}: only the first dimension can be the batch", def.name, to_string(shape)));
  }
}

std::vector<Operand> OnnxBuilder::ops(const std::string& row, const std::vector<MaybeOperand>& inputs,
                                      const Attributes& attributes)
{
  const OpDef* def = row == op_formula.name ? &op_formula : find_op(row);
  if (!def)
    throw Error({}, fmt::format("cnnc has no op '{}'", row));
  std::vector<std::optional<TensorType>> types;
  bool all_known = true;
  for (const MaybeOperand& input : inputs) {
    types.push_back(input ? std::optional(input->type) : std::nullopt);
    all_known = all_known && (!input || input->is_known());
  }
  std::vector<Operand> results;
  if (all_known) {
    const Attributes checked = check_attributes(*def, attributes, false, {});
    const Formula meaning = cnnc::bind(*def, types, checked, {});
    std::vector<const Tensor*> tensors;
    for (const int number : meaning.input_numbers)
      tensors.push_back(inputs.at(static_cast<size_t>(number))->data.get());
    count_known(points_of(meaning));
    for (Tensor& tensor : interpret(meaning, tensors))
      results.push_back(known(std::move(tensor)));
    return results;
  }
  std::vector<int> values;
  const std::vector<OperandSpec> specs = input_specs(*def, attributes);
  const size_t first_value = graph.values.size();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i]) {
      values.push_back(-1);
      continue;
    }
    const std::string& operand = spec_of(specs, i).name;
    if (inputs[i]->value < 0 && inputs[i]->is_known() && is_parameter(*def, operand) && !inputs[i]->is_empty()) {
      Value value;
      value.name = "." + operand; // the layer's name is put before it: end_node()
      value.kind = ValueKind::parameter;
      value.type = inputs[i]->type;
      value.data = inputs[i]->data;
      value.initial = initial_of(*def, operand);
      value.rate = is_learnt(*def, operand) ? 1 : 0;
      value.location = where;
      values.push_back(graph.add_value(std::move(value)));
    } else {
      values.push_back(value_of(*inputs[i]));
    }
  }
  const size_t number = static_cast<size_t>(graph.add_op(*def, "", values, attributes, where));
  const Op& op = graph.ops[number];
  check_batch(*def, op);
  // The parameters' names until the op has one.
  for (size_t v = first_value; v < graph.values.size(); ++v)
    if (graph.values[v].kind == ValueKind::parameter) {
      std::string& name = graph.values[v].name;
      name = fmt::format("#{}{}", number, name.substr(0, name.find('.', 1)));
    }
  for (const int output : op.outputs) {
    Operand result;
    result.type = graph.values[static_cast<size_t>(output)].type;
    result.value = output;
    results.push_back(std::move(result));
  }
  return results;
}

Operand OnnxBuilder::op(const std::string& row, const std::vector<MaybeOperand>& inputs, const Attributes& attributes)
{
  return ops(row, inputs, attributes).at(0);
}

std::vector<Operand> OnnxBuilder::formula(const std::vector<std::string>& inputs,
                                          const std::vector<std::string>& outputs, const std::string& text,
                                          const std::vector<MaybeOperand>& operands)
{
  return ops(op_formula.name, operands, {{"inputs", inputs}, {"outputs", outputs}, {"text", text}});
}

Operand OnnxBuilder::reshape(const Operand& x, const Shape& to)
{
  if (elements(x.shape()) != elements(to) || has_batch(x.shape()) != has_batch(to))
    throw Error({}, fmt::format("{} cannot be reshaped to {}", to_string(x.type), to_string(to)));
  if (x.shape() == to)
    return x;
  if (x.is_known()) {
    Tensor tensor = *x.data;
    tensor.dims.clear();
    for (const Dim& dim : to)
      tensor.dims.push_back(dim.size);
    Operand result = known(std::move(tensor), x.name);
    result.type.dtype = x.type.dtype;
    return result;
  }
  if (x.extents && to.size() <= 1)
    return integers(*x.extents, to.empty());
  std::vector<int64_t> dims;
  for (size_t d = 0; d < to.size(); ++d)
    dims.push_back(!to[d].batch ? to[d].size : d < x.shape().size() && x.shape()[d] == to[d] ? 0 : -1);
  return op("reshape", {x}, {{"shape", dims}});
}

Operand OnnxBuilder::cast(const Operand& x, DType to)
{
  if (x.type.dtype == to)
    return x;
  if (x.extents && !x.data)
    return x;
  return op("cast", {x}, {{"to", std::string(to_string(to))}});
}

Operand OnnxBuilder::transpose(const Operand& x, const std::vector<int64_t>& perm)
{
  bool moves = false;
  for (size_t i = 0; i < perm.size(); ++i)
    moves = moves || perm[i] != static_cast<int64_t>(i);
  return moves ? op("transpose", {x}, {{"perm", perm}}) : x;
}

bool OnnxBuilder::merge_scale(const Operand& x, const std::vector<double>& scale, const std::vector<double>& shift)
{
  if (x.scale.op < 0)
    return false;
  Op& op = graph.ops[static_cast<size_t>(x.scale.op)];
  const auto filters = static_cast<int64_t>(scale.size());
  if (op.inputs.size() < 3 || op.inputs[1] < 0)
    return false;
  const size_t weight = static_cast<size_t>(op.inputs[1]);
  if (!graph.values[weight].data || x.shape().size() < 2 || x.shape()[1].size != filters)
    return false;
  if (op.inputs[2] >= 0 && !graph.values[static_cast<size_t>(op.inputs[2])].data)
    return false;
  count_known(graph.values[weight].data->size() / merged_a_point);
  auto scaled = std::make_shared<Tensor>(*graph.values[weight].data);
  // [filter, ...], or [channel, filter of the channel's group, ...]
  int64_t inner = 1;
  for (size_t d = 1; d < scaled->dims.size(); ++d)
    inner *= scaled->dims[d];
  const bool behind = x.scale.filter_axis == 1;
  const int64_t of_group = behind ? scaled->dims[1] : 0, channels = behind ? scaled->dims[0] / x.scale.groups : 0;
  for (int64_t i = 0; i < scaled->size(); ++i) {
    int64_t filter = i / inner;
    if (behind)
      filter = (i / inner / channels) * of_group + i % inner / (inner / of_group);
    scaled->set(i, scaled->get(i) * scale[static_cast<size_t>(filter)]);
  }
  auto bias = std::make_shared<Tensor>(scaled->dtype, std::vector<int64_t>{filters});
  const Value* old = op.inputs[2] >= 0 ? &graph.values[static_cast<size_t>(op.inputs[2])] : nullptr;
  for (int64_t f = 0; f < filters; ++f)
    bias->set(f, (old ? old->data->get(f) : 0) * scale[static_cast<size_t>(f)] + shift[static_cast<size_t>(f)]);
  graph.values[weight].data = scaled;
  if (old) {
    graph.values[static_cast<size_t>(op.inputs[2])].data = bias;
    return true;
  }
  Value value;
  value.name = op.name + ".bias";
  value.kind = ValueKind::parameter;
  value.type = {bias->dtype, {{filters, false}}};
  value.initial = "zero";
  value.data = bias;
  value.location = op.location;
  const int added = graph.add_value(std::move(value));
  graph.ops[static_cast<size_t>(x.scale.op)].inputs[2] = added;
  return true;
}

std::string OnnxBuilder::unique_name(const std::string& wanted)
{
  std::string name = wanted.empty() ? "layer" : wanted;
  for (int k = 1; !names.insert(name).second; ++k)
    name = fmt::format("{}_{}", wanted.empty() ? "layer" : wanted, k);
  return name;
}

void OnnxBuilder::rename(int number, const std::string& wanted)
{
  const Value& value = graph.values[static_cast<size_t>(number)];
  Op& op = graph.ops.at(static_cast<size_t>(value.op));
  if (wanted.empty() || value.output != 0 || op.name == wanted)
    return;
  const std::string old = op.name;
  op.name = unique_name(wanted);
  const auto follow = [&](int at) {
    std::string& name = graph.values[static_cast<size_t>(at)].name;
    if (name == old || name.starts_with(old + "."))
      name = op.name + name.substr(old.size());
  };
  for (const int output : op.outputs)
    follow(output);
  for (const int input : op.inputs)
    if (input >= 0 && graph.values[static_cast<size_t>(input)].kind == ValueKind::parameter)
      follow(input);
}

void OnnxBuilder::begin_node(const std::string& name, Location location)
{
  node_name = name;
  where = std::move(location);
  first_op = graph.ops.size();
}

void OnnxBuilder::end_node(const Operand* result)
{
  for (size_t o = first_op; o < graph.ops.size(); ++o) {
    Op& op = graph.ops[o];
    const bool is_result = result && std::find(op.outputs.begin(), op.outputs.end(), result->value) != op.outputs.end();
    op.name = unique_name(is_result || graph.ops.size() == first_op + 1 ? node_name : node_name + "_" + op.def->name);
    for (size_t k = 0; k < op.outputs.size(); ++k) {
      Value& value = graph.values[static_cast<size_t>(op.outputs[k])];
      const size_t dot = value.name.rfind('.');
      value.name = k == 0 ? op.name : op.name + (dot == value.name.npos ? "." + value.name : value.name.substr(dot));
    }
    const std::string prefix = fmt::format("#{}.", o);
    for (const int input : op.inputs)
      if (input >= 0 && graph.values[static_cast<size_t>(input)].name.starts_with(prefix)) {
        std::string& name = graph.values[static_cast<size_t>(input)].name;
        name = op.name + name.substr(prefix.size() - 1);
      }
  }
  first_op = graph.ops.size();
}

} // namespace cnnc
