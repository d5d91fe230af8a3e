#include "passes/convert_precision.h"

#include <cctype>

namespace cnnc {

namespace {

// The type's name as a whole word: "x[N,f32_a]:f32" has one.
std::string with_type(std::string_view text, std::string_view from, std::string_view to)
{
  auto is_part = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  std::string result;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && is_part(text[end]))
      end++;
    std::string_view word = text.substr(i, end - i);
    result += word == from ? to : word;
    if (end < text.size())
      result += text[end++];
    i = end;
  }
  return result;
}

} // namespace

void convert_precision(Graph& graph, DType from, DType to)
{
  for (Value& value : graph.values) {
    if (value.type.dtype == from)
      value.type.dtype = to;
    if (value.data && value.data->dtype == from)
      value.data = std::make_shared<const Tensor>(convert(*value.data, to));
  }
  for (Op& op : graph.ops) {
    if (op.def != &op_formula)
      continue;
    for (auto& [name, attribute] : op.attributes)
      if (auto* text = std::get_if<std::string>(&attribute))
        *text = with_type(*text, to_string(from), to_string(to));
      else if (auto* texts = std::get_if<std::vector<std::string>>(&attribute))
        for (std::string& t : *texts)
          t = with_type(t, to_string(from), to_string(to));
  }
}

} // namespace cnnc
