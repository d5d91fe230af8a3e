#include "compiler/onnx/node.h"

#include <algorithm>
#include <fmt/format.h>

namespace cnnc {

namespace {

constexpr OnnxOp table[] = {
#define NODE(name) {#name, onnx_##name},
#include "compiler/onnx/nodes.def"
#undef NODE
};

} // namespace

const OnnxOp* find_onnx_op(std::string_view name)
{
  const auto at = std::find_if(std::begin(table), std::end(table), [&](const OnnxOp& op) { return op.name == name; });
  return at == std::end(table) ? nullptr : at;
}

std::vector<std::string> onnx_op_names()
{
  std::vector<std::string> names;
  for (const OnnxOp& op : table)
    names.emplace_back(op.name);
  return names;
}

const Operand& OnnxCall::in(size_t input) const
{
  if (!has(input))
    throw Error({}, fmt::format("its input {} is missing", input));
  return *operands[input];
}

const OnnxValue* OnnxCall::find(const std::string& name) const
{
  read.insert(name);
  const auto at = node.attributes.find(name);
  return at == node.attributes.end() ? nullptr : &at->second;
}

bool OnnxCall::has_attribute(const std::string& name) const
{
  return find(name) != nullptr;
}

namespace {

template<class T>
const T& as(const OnnxValue& value, const std::string& name, const char* kind)
{
  const T* given = std::get_if<T>(&value);
  if (!given)
    throw Error({}, fmt::format("its attribute '{}' is not {}", name, kind));
  return *given;
}

[[noreturn]] void missing(const std::string& name)
{
  throw Error({}, fmt::format("its attribute '{}' is missing", name));
}

} // namespace

int64_t OnnxCall::integer(const std::string& name, std::optional<int64_t> otherwise) const
{
  const OnnxValue* value = find(name);
  if (!value && !otherwise)
    missing(name);
  return value ? as<int64_t>(*value, name, "an integer") : *otherwise;
}

double OnnxCall::real(const std::string& name, std::optional<double> otherwise) const
{
  const OnnxValue* value = find(name);
  if (!value && !otherwise)
    missing(name);
  return value ? as<double>(*value, name, "a number") : *otherwise;
}

std::string OnnxCall::text(const std::string& name, const std::string& otherwise) const
{
  const OnnxValue* value = find(name);
  return value ? as<std::string>(*value, name, "a text") : otherwise;
}

std::optional<std::vector<int64_t>> OnnxCall::integers(const std::string& name) const
{
  const OnnxValue* value = find(name);
  return value ? std::optional(as<std::vector<int64_t>>(*value, name, "a list of integers")) : std::nullopt;
}

OnnxTensor OnnxCall::tensor(const std::string& name) const
{
  const OnnxValue* value = find(name);
  return value ? as<OnnxTensor>(*value, name, "a tensor") : nullptr;
}

std::vector<std::string> OnnxCall::unread_attributes() const
{
  std::vector<std::string> names;
  for (const auto& [name, value] : node.attributes)
    if (!read.contains(name))
      names.push_back(name);
  return names;
}

std::vector<int64_t> OnnxCall::known_integers(size_t input, const std::string& what) const
{
  const Operand& operand = in(input);
  if (!operand.is_known())
    throw UnknownValue{node.inputs[input], what};
  if (operand.rank() > 1 || is_float(operand.type.dtype))
    throw Error({}, fmt::format("{} must be a list of integers, not {}", what, to_string(operand.type)));
  return integers_of(*operand.data);
}

std::vector<double> OnnxCall::known_reals(size_t input, const std::string& what) const
{
  const Operand& operand = in(input);
  if (!operand.is_known())
    throw UnknownValue{node.inputs[input], what};
  std::vector<double> result;
  for (int64_t i = 0; i < operand.data->size(); ++i)
    result.push_back(operand.data->get(i));
  return result;
}

double OnnxCall::known_real(size_t input, const std::string& what) const
{
  const std::vector<double> values = known_reals(input, what);
  if (values.size() != 1)
    throw Error({}, fmt::format("{} must be one number, not {}", what, to_string(in(input).type)));
  return values[0];
}

std::vector<Dim> OnnxCall::known_extents(size_t input, const std::string& what) const
{
  if (in(input).extents)
    return *in(input).extents;
  std::vector<Dim> result;
  for (const int64_t extent : known_integers(input, what))
    result.push_back({extent, false});
  return result;
}

std::optional<std::vector<int64_t>> OnnxCall::integers_since(int64_t since, const std::string& name, size_t input) const
{
  if (opset < since)
    return integers(name);
  return has(input) ? std::optional(known_integers(input, name)) : std::nullopt;
}

void OnnxCall::give(size_t output, Operand y)
{
  if (output < results.size())
    results[output] = std::move(y);
}

void OnnxCall::refuse(const std::string& text) const
{
  throw Error({}, text);
}

} // namespace cnnc
