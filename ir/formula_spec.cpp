// "x[N,C,...]:f32"  <=>  OperandSpec
#include "ir/formula.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

std::string_view trim(std::string_view text)
{
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
    text.remove_suffix(1);
  return text;
}

bool is_name(std::string_view text)
{
  return !text.empty() && !(text[0] >= '0' && text[0] <= '9') && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// The commas outside of parentheses part the dimensions: "N, max(C, 1)".
std::vector<std::string> parts(std::string_view text)
{
  std::vector<std::string> result;
  size_t begin = 0;
  int depth = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    char c = i < text.size() ? text[i] : ',';
    depth += c == '(';
    depth -= c == ')';
    if (i == text.size() || (c == ',' && depth == 0)) {
      result.emplace_back(trim(text.substr(begin, i - begin)));
      begin = i + 1;
    }
  }
  return result;
}

constexpr size_t most_dimensions = 16;

} // namespace

OperandSpec parse_operand_spec(std::string_view text)
{
  auto refuse = [&](std::string_view why) {
    throw InternalError(fmt::format("operand '{}': {}", text.substr(0, 200), why));
  };
  std::string_view rest = trim(text);
  OperandSpec spec;
  size_t end = rest.find_first_of("[?*: \t");
  spec.name = rest.substr(0, end);
  if (!is_name(spec.name))
    refuse("begins with no name");
  rest = trim(rest.substr(spec.name.size()));
  if (rest.starts_with('[')) {
    size_t close = rest.find(']');
    if (close == rest.npos)
      refuse("']' is missing");
    std::string_view inner = trim(rest.substr(1, close - 1));
    if (!inner.empty())
      spec.dims = parts(inner);
    if (!spec.dims.empty() && spec.dims.back() == "...") {
      spec.any_rank = true;
      spec.dims.pop_back();
    }
    for (const std::string& dim : spec.dims)
      if (dim.empty() || dim == "...")
        refuse("a dimension is empty, or `...` is not the last");
    if (spec.dims.size() > most_dimensions)
      refuse("too many dimensions");
    rest = trim(rest.substr(close + 1));
  } else {
    spec.any_rank = true;
  }
  while (!rest.empty()) {
    char c = rest.front();
    rest = trim(rest.substr(1));
    if (c == '?' && !spec.optional) {
      spec.optional = true;
    } else if (c == '*' && !spec.variadic) {
      spec.variadic = true;
    } else if (c == ':' && !spec.dtype) {
      std::string_view name = rest.substr(0, rest.find_first_of("?* \t"));
      spec.dtype = parse_dtype(name);
      if (!spec.dtype)
        refuse(fmt::format("'{}' is not an element type", name));
      rest = trim(rest.substr(name.size()));
    } else {
      refuse(fmt::format("unexpected '{}'", c));
    }
  }
  return spec;
}

std::string to_string(const OperandSpec& spec)
{
  std::string text = spec.name;
  if (!spec.any_rank || !spec.dims.empty()) {
    text += "[";
    for (const std::string& dim : spec.dims)
      text += (text.back() == '[' ? "" : ",") + dim;
    if (spec.any_rank)
      text += ",...";
    text += "]";
  }
  if (spec.optional)
    text += "?";
  if (spec.variadic)
    text += "*";
  if (spec.dtype)
    text += fmt::format(":{}", to_string(*spec.dtype));
  return text;
}

std::vector<OperandSpec> operand_specs(const Formula& formula, Role role)
{
  std::vector<OperandSpec> specs;
  for (const FormulaTensor& tensor : formula.tensors) {
    if (tensor.role != role)
      continue;
    OperandSpec spec;
    spec.name = tensor.name;
    for (const Dim& d : tensor.type.shape)
      spec.dims.push_back(!d.batch ? std::to_string(d.size) : d.size == 1 ? "N" : fmt::format("{}*N", d.size));
    spec.dtype = tensor.type.dtype;
    specs.push_back(std::move(spec));
  }
  return specs;
}

} // namespace cnnc
