#include "compiler/yaml_values.h"
#include "ir/tensor.h"

#include <charconv>
#include <cmath>
#include <fmt/format.h>

namespace cnnc {

namespace {

bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

bool looks_like_number(const YamlNode& node)
{
  if (node.kind != YamlKind::scalar || node.quoted || node.text.empty())
    return false;
  size_t first = node.text[0] == '-' || node.text[0] == '+' ? 1 : 0;
  if (first < node.text.size() && node.text[first] == '.')
    ++first;
  return node.text.size() > first && is_digit(node.text[first]);
}

[[noreturn]] void wrong_type(const YamlNode& node, const std::string& what, const std::string& wanted)
{
  throw Error(node.location, fmt::format("{} must be {}, not {}", what, wanted, describe(node)));
}

// from_chars takes no plus sign.
std::string_view digits_of(const YamlNode& node)
{
  std::string_view text = node.text;
  if (text.size() > 1 && text[0] == '+' && text[1] != '-')
    text.remove_prefix(1);
  return text;
}

std::string number_text(double value)
{
  return fmt::format("{}", value);
}

std::string bounds_text(double minimum, double maximum, double value)
{
  // The row's default upper bound says only "no sensible number is larger".
  return maximum >= 1e9 && value < minimum
             ? fmt::format("at least {}", number_text(minimum))
             : fmt::format("between {} and {}", number_text(minimum), number_text(maximum));
}

} // namespace

std::string describe(const YamlNode& node)
{
  if (node.kind == YamlKind::sequence && node.items.empty())
    return "an empty list";
  if (node.kind != YamlKind::scalar)
    return std::string(to_string(node.kind));
  const std::string text = node.text.size() > 40 ? node.text.substr(0, 40) + "..." : node.text;
  if (looks_like_number(node))
    return text;
  return node.quoted ? fmt::format("the text \"{}\"", text) : fmt::format("'{}'", text);
}

int64_t integer_of(const YamlNode& node, const std::string& what, int64_t minimum, int64_t maximum)
{
  if (!looks_like_number(node))
    wrong_type(node, what, "a whole number");
  const std::string_view text = digits_of(node);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool complete = end == text.data() + text.size();
  if (complete && error == std::errc::result_out_of_range)
    throw Error(node.location, fmt::format("{} is out of range: {} (at most {})", what, describe(node), maximum));
  if (!complete || error != std::errc())
    wrong_type(node, what, "a whole number");
  if (value < minimum || value > maximum)
    throw Error(node.location, fmt::format("{} must be {}, not {}", what,
                                           bounds_text(static_cast<double>(minimum), static_cast<double>(maximum),
                                                       static_cast<double>(value)),
                                           value));
  return value;
}

double real_of(const YamlNode& node, const std::string& what, double minimum, double maximum)
{
  if (!looks_like_number(node))
    wrong_type(node, what, "a number");
  const std::string_view text = digits_of(node);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size())
    wrong_type(node, what, "a number");
  if (error != std::errc() || !std::isfinite(value))
    throw Error(node.location, fmt::format("{} is out of range: {}", what, describe(node)));
  if (value < minimum || value > maximum)
    throw Error(node.location,
                fmt::format("{} must be {}, not {}", what, bounds_text(minimum, maximum, value), describe(node)));
  return value;
}

bool boolean_of(const YamlNode& node, const std::string& what)
{
  if (node.kind == YamlKind::scalar && !node.quoted) {
    if (node.text == "true" || node.text == "True")
      return true;
    if (node.text == "false" || node.text == "False")
      return false;
  }
  wrong_type(node, what, "true or false");
}

const std::string& text_of(const YamlNode& node, const std::string& what)
{
  if (node.kind != YamlKind::scalar || node.text.empty())
    wrong_type(node, what, "a text");
  return node.text;
}

const std::string& name_of(const YamlNode& node, const std::string& what)
{
  const std::string& text = text_of(node, what);
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  bool valid = is_letter(text[0]) && text.size() <= 64;
  for (const char c : text)
    valid = valid && (is_letter(c) || is_digit(c));
  if (!valid)
    throw Error(node.location,
                fmt::format("{} must be a name (a letter, then letters, digits and _, 64 at most), not {}", what,
                            describe(node)));
  return text;
}

std::vector<YamlPtr> items_of(const YamlPtr& node, const std::string& what)
{
  if (node->kind == YamlKind::sequence)
    return node->items;
  if (node->kind == YamlKind::scalar)
    return {node};
  wrong_type(*node, what, "a name or a list of names");
}

void expect_map(const YamlNode& node, const std::string& what)
{
  if (node.kind != YamlKind::map)
    wrong_type(node, what, "a map");
}

AttributeValue attribute_of(const YamlNode& node, const AttributeDef& def)
{
  const auto minimum = static_cast<int64_t>(def.minimum), maximum = static_cast<int64_t>(def.maximum);
  switch (def.kind) {
  case AttributeKind::integer: return integer_of(node, def.name, minimum, maximum);
  case AttributeKind::real: return real_of(node, def.name, def.minimum, def.maximum);
  case AttributeKind::boolean: return boolean_of(node, def.name);
  case AttributeKind::text: return text_of(node, def.name);
  case AttributeKind::padding:
    if (node.kind == YamlKind::scalar && !looks_like_number(node)) {
      if (node.text != "same" && node.text != "valid")
        wrong_type(node, def.name, "a number, a list of numbers, same or valid");
      return node.text;
    }
    [[fallthrough]];
  case AttributeKind::integers: {
    if (node.kind == YamlKind::scalar)
      return integer_of(node, def.name, minimum, maximum);
    if (node.kind != YamlKind::sequence)
      wrong_type(node, def.name, "a whole number or a list of them");
    std::vector<int64_t> values;
    for (const YamlPtr& item : node.items)
      values.push_back(integer_of(*item, def.name, minimum, maximum));
    const size_t parts = def.parts.size();
    const bool each_direction = def.kind == AttributeKind::padding && 2 * values.size() == parts;
    if (parts > 0 && values.size() != parts && !each_direction)
      throw Error(node.location, fmt::format("{} wants one number or {}, found {}", def.name, parts, values.size()));
    return values;
  }
  case AttributeKind::texts: {
    std::vector<std::string> values;
    if (node.kind != YamlKind::sequence)
      wrong_type(node, def.name, "a list of texts");
    for (const YamlPtr& item : node.items)
      values.push_back(text_of(*item, def.name));
    return values;
  }
  case AttributeKind::reals: {
    std::vector<double> values;
    if (node.kind != YamlKind::sequence)
      wrong_type(node, def.name, "a list of numbers");
    for (const YamlPtr& item : node.items)
      values.push_back(real_of(*item, def.name, def.minimum, def.maximum));
    return values;
  }
  }
  throw InternalError("attribute_of: no such kind");
}

void unknown_word(const Location& where, const std::string& message, const std::string& word,
                  const std::vector<std::string>& known)
{
  const std::string near = nearest(word, known);
  std::string hint = near.empty() ? "" : fmt::format("; did you mean '{}'?", near);
  if (near.empty() && known.size() <= 12 && !known.empty())
    hint = fmt::format(" (known: {})", fmt::join(known, ", "));
  throw Error(where, message + hint);
}

namespace {

void fill(const YamlNode& node, const std::string& what, const TensorType& type, size_t dim, int64_t& at,
          Tensor& tensor)
{
  if (dim == type.shape.size()) {
    const double largest = type.dtype == DType::f32 ? 3.4028234663852886e38 : 1e308;
    tensor.set(at++, real_of(node, what, -largest, largest));
    return;
  }
  const int64_t wanted = type.shape[dim].size;
  if (node.kind != YamlKind::sequence)
    wrong_type(node, what, fmt::format("a list of {} here (its shape is {})", wanted, to_string(type.shape)));
  if (static_cast<int64_t>(node.items.size()) != wanted)
    throw Error(node.location, fmt::format("{} wants a list of {} here (its shape is {}), found {}", what, wanted,
                                           to_string(type.shape), node.items.size()));
  for (const YamlPtr& item : node.items)
    fill(*item, what, type, dim + 1, at, tensor);
}

int64_t numbers_in(const YamlNode& node)
{
  int64_t count = node.kind == YamlKind::scalar ? 1 : 0;
  for (const YamlPtr& item : node.items)
    count += numbers_in(*item);
  return count;
}

} // namespace

std::shared_ptr<const Tensor> tensor_of(const YamlNode& node, const std::string& what, const TensorType& type)
{
  std::vector<int64_t> dims;
  for (const Dim& dim : type.shape)
    dims.push_back(dim.size);
  // Before anything of that size is made: the file holds as many numbers.
  if (elements(type.shape) != numbers_in(node))
    throw Error(node.location, fmt::format("{} has the shape {}, {} numbers; found {}", what, to_string(type.shape),
                                           elements(type.shape), numbers_in(node)));
  auto tensor = std::make_shared<Tensor>(type.dtype, dims);
  int64_t at = 0;
  fill(node, what, type, 0, at, *tensor);
  return tensor;
}

Location inside_of(const YamlNode& node)
{
  Location where = node.location;
  std::string_view text = where.source ? std::string_view(where.source->text) : std::string_view();
  for (int line = 1; line < where.line && text.find('\n') != text.npos; ++line)
    text.remove_prefix(text.find('\n') + 1);
  const size_t column = static_cast<size_t>(where.column - 1);
  if (column >= text.size())
    return where;
  const char first = text[column];
  if (first == '"' || first == '\'')
    where.column += 1;
  if (first == '|' || first == '>') {
    // A block: its lines follow, indented alike.
    const size_t end = text.find('\n');
    if (end != text.npos) {
      text.remove_prefix(end + 1);
      where.line += 1;
      where.column = static_cast<int>(std::min(text.find_first_not_of(' '), text.size())) + 1;
    }
  }
  return where;
}

} // namespace cnnc
