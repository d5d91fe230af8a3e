// {kernel: 5, padding: same}  =>  {bias = true, dilation = [1, 1], ..., kernel = [5, 5], padding = [2, 2, 2, 2]}
//
// What a user or a text gives for an op, checked against its row and filled up with defaults.
#include "ir/op.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace cnnc {

namespace {

std::string shortest(double value)
{
  if (std::isnan(value))
    return std::signbit(value) ? "-nan" : "nan";
  std::string text = fmt::format("{}", value);
  // A real stays one when it is read back.
  return std::isfinite(value) && text.find_first_of(".e") == text.npos ? text + ".0" : text;
}

std::string quoted(std::string_view text)
{
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      result += '\\';
    if (c == '\n')
      result += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      result += c;
  }
  return result + "\"";
}

struct ToText {
  std::string operator()(int64_t v) const { return std::to_string(v); }
  std::string operator()(double v) const { return shortest(v); }
  std::string operator()(bool v) const { return v ? "true" : "false"; }
  std::string operator()(const std::string& v) const { return quoted(v); }
  template<class T>
  std::string operator()(const std::vector<T>& list) const
  {
    std::string text = "[";
    for (const T& v : list)
      text += (text.size() > 1 ? ", " : "") + (*this)(v);
    return text + "]";
  }
};

std::string_view wanted(AttributeKind kind)
{
  switch (kind) {
  case AttributeKind::integer: return "an integer";
  case AttributeKind::real: return "a number";
  case AttributeKind::boolean: return "true or false";
  case AttributeKind::text: return "a text";
  case AttributeKind::integers: return "an integer or a list of them";
  case AttributeKind::padding:
    return "an integer, a list with one for each direction or one for each side, same or valid";
  case AttributeKind::texts: return "a list of texts";
  case AttributeKind::reals: return "a list of numbers";
  }
  return "";
}

struct Checker {
  const OpDef& def;
  const AttributeDef& attribute;
  const Location& where;

  [[noreturn]] void fail(const std::string& reason) const
  {
    throw Error(where, fmt::format("{}: {} {}", def.name, attribute.name, reason));
  }
  [[noreturn]] void fail_kind(const AttributeValue& found) const
  {
    fail(fmt::format("wants {}, found {}", wanted(attribute.kind), to_string(found)));
  }

  template<class T>
  T bounded(T value) const
  {
    double number = static_cast<double>(value);
    if (!(number >= attribute.minimum))
      fail(fmt::format("is at least {:g}, found {}", attribute.minimum, to_string(AttributeValue(value))));
    if (!(number <= attribute.maximum))
      fail(fmt::format("is at most {:g}, found {}", attribute.maximum, to_string(AttributeValue(value))));
    return value;
  }

  std::string chosen(const std::string& text) const
  {
    const std::vector<std::string>& known = attribute.choices;
    if (!known.empty() && std::find(known.begin(), known.end(), text) == known.end())
      fail(fmt::format("is one of {}, found {}", fmt::join(known, ", "), to_string(AttributeValue(text))));
    return text;
  }

  std::vector<int64_t> list(const AttributeValue& value) const
  {
    std::vector<int64_t> result;
    if (const auto* one = std::get_if<int64_t>(&value))
      result.assign(std::max<size_t>(1, attribute.parts.size()), *one);
    else if (const auto* many = std::get_if<std::vector<int64_t>>(&value))
      result = *many;
    else
      fail_kind(value);
    for (int64_t number : result)
      bounded(number);
    return result;
  }

  AttributeValue operator()(const AttributeValue& value, const Attributes& others) const
  {
    switch (attribute.kind) {
    case AttributeKind::integer:
      if (const auto* number = std::get_if<int64_t>(&value))
        return bounded(*number);
      break;
    case AttributeKind::real:
      if (const auto* number = std::get_if<double>(&value))
        return bounded(*number);
      if (const auto* number = std::get_if<int64_t>(&value))
        return bounded(static_cast<double>(*number));
      break;
    case AttributeKind::boolean:
      if (std::holds_alternative<bool>(value))
        return value;
      break;
    case AttributeKind::text:
      if (const auto* text = std::get_if<std::string>(&value))
        return chosen(*text);
      break;
    case AttributeKind::texts:
      if (std::holds_alternative<std::vector<std::string>>(value))
        return value;
      if (const auto* one = std::get_if<std::string>(&value))
        return std::vector<std::string>{*one};
      if (const auto* none = std::get_if<std::vector<int64_t>>(&value); none && none->empty())
        return std::vector<std::string>{};
      break;
    case AttributeKind::reals:
      if (const auto* numbers = std::get_if<std::vector<double>>(&value)) {
        for (const double number : *numbers)
          bounded(number);
        return value;
      }
      if (const auto* numbers = std::get_if<std::vector<int64_t>>(&value)) {
        std::vector<double> result;
        for (const int64_t number : *numbers)
          result.push_back(bounded(static_cast<double>(number)));
        return result;
      }
      break;
    case AttributeKind::integers: {
      std::vector<int64_t> result = list(value);
      if (!attribute.parts.empty() && result.size() != attribute.parts.size())
        fail(fmt::format("wants one number or {}, found {}", attribute.parts.size(), to_string(value)));
      return result;
    }
    case AttributeKind::padding: {
      if (const auto* word = std::get_if<std::string>(&value))
        return named_padding(*word, others);
      std::vector<int64_t> result = list(value);
      const size_t sides = attribute.parts.size();
      if (result.size() * 2 == sides)
        result.insert(result.end(), result.begin(), result.begin() + static_cast<std::ptrdiff_t>(sides / 2));
      if (result.size() != sides)
        fail_kind(value);
      return result;
    }
    }
    fail_kind(value);
  }

  // With dilation * (kernel - 1) zeros the size is the input's divided by the stride, rounded up.
  AttributeValue named_padding(const std::string& word, const Attributes& others) const
  {
    const size_t rank = attribute.parts.size() / 2;
    std::vector<int64_t> result(2 * rank, 0);
    if (word == "valid")
      return result;
    if (word != "same")
      fail_kind(word);
    auto numbers = [&](std::string_view name) -> const std::vector<int64_t>* {
      auto found = others.find(name);
      const auto* list = found == others.end() ? nullptr : std::get_if<std::vector<int64_t>>(&found->second);
      return list && list->size() == rank ? list : nullptr;
    };
    const std::vector<int64_t>*kernel = numbers("kernel"), *dilation = numbers("dilation");
    if (!kernel)
      fail("\"same\" follows from a kernel, which is not known here");
    for (size_t k = 0; k < rank; ++k) {
      const int64_t total = (dilation ? (*dilation)[k] : 1) * ((*kernel)[k] - 1); // both at most 1e9
      result[k] = total / 2;
      result[rank + k] = total - total / 2;
    }
    return result;
  }
};

} // namespace

std::string to_string(const AttributeValue& value)
{
  return std::visit(ToText(), value);
}

Attributes check_attributes(const OpDef& def, const Attributes& given, bool allow_layer, const Location& where)
{
  std::vector<const AttributeDef*> known;
  std::vector<std::string> names;
  for (const AttributeDef& attribute : def.attributes)
    known.push_back(&attribute);
  if (allow_layer)
    for (const AttributeDef& attribute : def.layer)
      known.push_back(&attribute);
  for (const AttributeDef* attribute : known)
    names.push_back(attribute->name);
  for (const auto& [name, value] : given)
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      std::string meant = nearest(name, names);
      throw Error(where, fmt::format("{} has no attribute '{}'{}", def.name, name,
                                     meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant)));
    }

  Attributes result;
  auto refers = [](const AttributeDef& a) {
    return a.default_value && std::holds_alternative<std::string>(*a.default_value) && a.kind != AttributeKind::text &&
           a.kind != AttributeKind::padding;
  };
  auto named = [&](const AttributeDef& a) {
    auto found = given.find(a.name);
    return a.kind == AttributeKind::padding && found != given.end() &&
           std::holds_alternative<std::string>(found->second);
  };
  // What another attribute must be known for comes last.
  std::stable_sort(known.begin(), known.end(), [&](const AttributeDef* a, const AttributeDef* b) {
    return refers(*a) + 2 * named(*a) < refers(*b) + 2 * named(*b);
  });
  for (const AttributeDef* attribute : known) {
    Checker check{def, *attribute, where};
    auto found = given.find(attribute->name);
    if (found != given.end())
      result[attribute->name] = check(found->second, result);
    else if (refers(*attribute))
      result[attribute->name] = check(result.at(std::get<std::string>(*attribute->default_value)), result);
    else if (attribute->default_value)
      result[attribute->name] = check(*attribute->default_value, result);
    else
      throw Error(where, fmt::format("{} wants '{}' ({})", def.name, attribute->name, wanted(attribute->kind)));
  }
  return result;
}

Symbols symbols_of(const OpDef& def, const Attributes& attributes)
{
  Symbols symbols;
  for (const std::vector<AttributeDef>* defs : {&def.attributes, &def.layer})
    for (const AttributeDef& attribute : *defs) {
      auto found = attributes.find(attribute.name);
      if (found == attributes.end())
        continue;
      if (const auto* number = std::get_if<int64_t>(&found->second))
        symbols[attribute.name] = *number;
      else if (const auto* number = std::get_if<double>(&found->second))
        symbols[attribute.name] = *number;
      else if (const auto* flag = std::get_if<bool>(&found->second))
        symbols[attribute.name] = static_cast<int64_t>(*flag);
      else if (const auto* list = std::get_if<std::vector<int64_t>>(&found->second))
        for (size_t k = 0; k < list->size() && k < attribute.parts.size(); ++k)
          symbols[attribute.parts[k]] = (*list)[k];
    }
  return symbols;
}

} // namespace cnnc
