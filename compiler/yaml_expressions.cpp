#include "compiler/yaml_expressions.h"
#include "compiler/yaml_values.h"

#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <optional>
#include <variant>

namespace cnnc {

namespace {

constexpr size_t byte_limit = 500;
constexpr int depth_limit = 40;

using Result = std::variant<int64_t, double, bool>;

bool is_letter(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

bool is_word(std::string_view token)
{
  return !token.empty() && is_letter(token[0]);
}

struct Token {
  std::string_view text; // empty: the end
  size_t at = 0;
};

// Nothing where a character has no place in an expression.
std::optional<std::vector<Token>> tokens_of(std::string_view text)
{
  static const std::vector<std::string_view> signs{"//", "<=", ">=", "==", "!=", "+", "-",
                                                   "*",  "/",  "%",  "<",  ">",  "(", ")"};
  std::vector<Token> tokens;
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    size_t size = 0;
    if (c == ' ') {
      ++at;
      continue;
    }
    if (is_letter(c)) {
      while (at + size < text.size() && (is_letter(text[at + size]) || is_digit(text[at + size])))
        ++size;
    } else if (is_digit(c) || c == '.') {
      double ignored;
      const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), ignored);
      if (error == std::errc::invalid_argument)
        return std::nullopt;
      size = static_cast<size_t>(end - text.data()) - at;
    } else {
      for (const std::string_view sign : signs)
        if (size == 0 && text.substr(at).starts_with(sign))
          size = sign.size();
      if (size == 0)
        return std::nullopt;
    }
    tokens.push_back({text.substr(at, size), at});
    at += size;
  }
  tokens.push_back({{}, text.size()});
  return tokens;
}

class Evaluator {
public:
  Evaluator(const YamlNode& node, const std::vector<Token>& tokens, const Parameters& parameters)
      : node(node),
        tokens(tokens),
        parameters(parameters)
  {
  }

  Result evaluate()
  {
    const Result result = either();
    if (!now().text.empty())
      fail(now(), fmt::format("'{}' was not expected", now().text));
    return result;
  }

private:
  const YamlNode& node;
  const std::vector<Token>& tokens;
  const Parameters& parameters;
  size_t next = 0;
  int depth = 0;

  const Token& now() const { return tokens[next]; }

  [[noreturn]] void fail(const Token& token, const std::string& text) const
  {
    Location where = node.location;
    where.column += static_cast<int>(token.at);
    throw Error(where, fmt::format("{} in '{}'", text, node.text));
  }

  bool take(std::string_view text)
  {
    if (now().text != text)
      return false;
    ++next;
    return true;
  }

  bool truth(const Result& value, const Token& at) const
  {
    if (const bool* b = std::get_if<bool>(&value))
      return *b;
    fail(at, "true or false is wanted, not a number,");
  }

  double real(const Result& value, const Token& at) const
  {
    if (const int64_t* i = std::get_if<int64_t>(&value))
      return static_cast<double>(*i);
    if (const double* d = std::get_if<double>(&value))
      return *d;
    fail(at, "a number is wanted, not true or false,");
  }

  Result either()
  {
    const Token first = now();
    Result value = both();
    for (Token at = now(); take("or"); at = now()) {
      const bool right = truth(both(), at);
      value = truth(value, first) || right;
    }
    return value;
  }

  Result both()
  {
    const Token first = now();
    Result value = negation();
    for (Token at = now(); take("and"); at = now()) {
      const bool right = truth(negation(), at);
      value = truth(value, first) && right;
    }
    return value;
  }

  Result negation()
  {
    const Token at = now();
    if (!take("not"))
      return comparison();
    deeper(at);
    const bool value = truth(negation(), at);
    --depth;
    return !value;
  }

  Result comparison()
  {
    const Result left = sum();
    const Token sign = now();
    for (const std::string_view name : {"<=", ">=", "==", "!=", "<", ">"})
      if (take(name)) {
        const Result right = sum();
        if (std::holds_alternative<bool>(left) && std::holds_alternative<bool>(right) && (name == "==" || name == "!="))
          return (left == right) == (name == "==");
        const double a = real(left, sign), b = real(right, sign);
        return name == "<="   ? a <= b
               : name == ">=" ? a >= b
               : name == "==" ? a == b
               : name == "!=" ? a != b
               : name == "<"  ? a < b
                              : a > b;
      }
    return left;
  }

  Result sum()
  {
    Result value = product();
    for (;;) {
      const Token sign = now();
      if (take("+"))
        value = combine(value, product(), '+', sign);
      else if (take("-"))
        value = combine(value, product(), '-', sign);
      else
        return value;
    }
  }

  Result product()
  {
    Result value = unary();
    for (;;) {
      const Token sign = now();
      if (take("*"))
        value = combine(value, unary(), '*', sign);
      else if (take("//"))
        value = combine(value, unary(), 'd', sign);
      else if (take("/"))
        value = combine(value, unary(), '/', sign);
      else if (take("%"))
        value = combine(value, unary(), '%', sign);
      else
        return value;
    }
  }

  void deeper(const Token& at)
  {
    if (++depth > depth_limit)
      fail(at, "nested too deeply");
  }

  Result unary()
  {
    const Token at = now();
    if (take("-")) {
      deeper(at);
      const Result value = combine(int64_t{0}, unary(), '-', at);
      --depth;
      return value;
    }
    if (take("(")) {
      deeper(at);
      const Result value = either();
      if (!take(")"))
        fail(now(), "')' was expected");
      --depth;
      return value;
    }
    ++next;
    if (at.text.empty() || !(is_word(at.text) || is_digit(at.text[0]) || at.text[0] == '.'))
      fail(at, at.text.empty() ? "something is missing at the end" : fmt::format("'{}' was not expected", at.text));
    return is_word(at.text) ? named(at) : number(at.text, at);
  }

  Result number(std::string_view text, const Token& at) const
  {
    int64_t whole = 0;
    const char* end = text.data() + text.size();
    if (const auto [stop, error] = std::from_chars(text.data(), end, whole); stop == end && error == std::errc())
      return whole;
    double value = 0;
    if (const auto [stop, error] = std::from_chars(text.data(), end, value);
        stop != end || error != std::errc() || !std::isfinite(value))
      fail(at, fmt::format("'{}' is not a number", text));
    return value;
  }

  Result named(const Token& at) const
  {
    if (at.text == "true" || at.text == "false")
      return at.text == "true";
    const auto found = parameters.find(at.text);
    if (found == parameters.end()) {
      std::vector<std::string> known;
      for (const auto& [name, value] : parameters)
        known.push_back(name);
      const std::string near = nearest(std::string(at.text), known);
      fail(at, fmt::format("there is no parameter '{}'{}", at.text,
                           near.empty() ? "" : fmt::format(" (is '{}' meant?)", near)));
    }
    const YamlNode& value = *found->second;
    if (value.kind == YamlKind::scalar && !value.quoted && !value.text.empty()) {
      if (value.text == "true" || value.text == "false")
        return value.text == "true";
      const bool negative = value.text[0] == '-';
      const std::string_view digits = std::string_view(value.text).substr(negative ? 1 : 0);
      if (!digits.empty() && (is_digit(digits[0]) || digits[0] == '.')) {
        const Result result = number(digits, at);
        return negative ? combine(int64_t{0}, result, '-', at) : result;
      }
    }
    fail(at, fmt::format("'{}' is {}, no number,", at.text, describe(value)));
  }

  Result combine(const Result& left, const Result& right, char sign, const Token& at) const
  {
    const int64_t* a = std::get_if<int64_t>(&left);
    const int64_t* b = std::get_if<int64_t>(&right);
    const bool divides = sign == '/' || sign == 'd' || sign == '%';
    if (divides && real(right, at) == 0)
      fail(at, "division by zero");
    if (a && b) {
      int64_t result = 0;
      if (divides && *b == -1 && *a == INT64_MIN)
        fail(at, "the number is out of range");
      if (divides) {
        const int64_t rest = *a % *b;
        const int64_t down = *a / *b - (rest != 0 && (rest < 0) != (*b < 0) ? 1 : 0);
        if (sign == 'd')
          return down;
        if (sign == '%')
          return *a - down * *b;
        if (rest == 0)
          return *a / *b;
        return static_cast<double>(*a) / static_cast<double>(*b);
      }
      if (sign == '+'   ? __builtin_add_overflow(*a, *b, &result)
          : sign == '-' ? __builtin_sub_overflow(*a, *b, &result)
                        : __builtin_mul_overflow(*a, *b, &result))
        fail(at, "the number is out of range");
      return result;
    }
    const double x = real(left, at), y = real(right, at);
    const double result = sign == '+'   ? x + y
                          : sign == '-' ? x - y
                          : sign == '*' ? x * y
                          : sign == '/' ? x / y
                          : sign == 'd' ? std::floor(x / y)
                                        : x - std::floor(x / y) * y;
    if (!std::isfinite(result))
      fail(at, "the number is out of range");
    return result;
  }
};

std::string text_of(const Result& value)
{
  if (const bool* b = std::get_if<bool>(&value))
    return *b ? "true" : "false";
  if (const int64_t* i = std::get_if<int64_t>(&value))
    return std::to_string(*i);
  return fmt::format("{}", std::get<double>(value));
}

YamlPtr evaluated_scalar(const YamlPtr& node, const Parameters& parameters)
{
  if (node->quoted || node->text.empty() || node->text.size() > byte_limit)
    return node;
  if (const auto found = parameters.find(node->text); found != parameters.end()) {
    auto value = std::make_shared<YamlNode>(*found->second);
    value->location = node->location;
    return value;
  }
  const auto tokens = tokens_of(node->text);
  if (!tokens || tokens->size() < 3) // one token and the end
    return node;
  bool names_parameter = false, has_word = false;
  for (const Token& token : *tokens) {
    has_word = has_word || is_word(token.text);
    names_parameter = names_parameter || parameters.contains(token.text);
  }
  if (has_word && !names_parameter)
    return node;
  if (!has_word && tokens->size() == 3) // a number with a sign
    return node;
  auto result = std::make_shared<YamlNode>(*node);
  result->text = text_of(Evaluator(*node, *tokens, parameters).evaluate());
  return result;
}

} // namespace

YamlPtr evaluated(const YamlPtr& node, const Parameters& parameters)
{
  if (node->kind == YamlKind::scalar)
    return evaluated_scalar(node, parameters);
  std::shared_ptr<YamlNode> copy;
  const auto changed = [&]() -> YamlNode& {
    if (!copy)
      copy = std::make_shared<YamlNode>(*node);
    return *copy;
  };
  for (size_t i = 0; i < node->items.size(); ++i)
    if (YamlPtr item = evaluated(node->items[i], parameters); item != node->items[i])
      changed().items[i] = std::move(item);
  for (size_t i = 0; i < node->entries.size(); ++i)
    if (YamlPtr value = evaluated(node->entries[i].value, parameters); value != node->entries[i].value)
      changed().entries[i].value = std::move(value);
  return copy ? copy : node;
}

} // namespace cnnc
