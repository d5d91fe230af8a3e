#include "ir/formula_syntax.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace cnnc {

namespace {

bool is_letter(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

std::string_view line_at(std::string_view text, size_t at)
{
  at = std::min(at, text.size());
  size_t begin = at == 0 ? std::string_view::npos : text.rfind('\n', at - 1);
  begin = begin == text.npos ? 0 : begin + 1;
  return text.substr(begin, text.find('\n', at) - begin);
}

// A YAML scalar may begin after a quote, or on a line below its key: the line of the text is looked for, and found or
// not.
std::optional<Location> find_line(const Location& where, std::string_view line, size_t column)
{
  if (!where.is_known() || where.source->text.empty() || line.empty())
    return {};
  std::string_view text = where.source->text;
  size_t begin = 0;
  for (int i = 1; i < where.line; ++i) {
    size_t end = text.find('\n', begin);
    if (end == text.npos)
      return {};
    begin = end + 1;
  }
  size_t found = text.find(line, begin);
  if (found == text.npos)
    return {};
  int lines = static_cast<int>(
      std::count(text.begin() + static_cast<long>(begin), text.begin() + static_cast<long>(found), '\n'));
  size_t start = text.rfind('\n', found);
  start = start == text.npos ? 0 : start + 1;
  return Location{where.source, where.line + lines, static_cast<int>(found - start + column) + 1};
}

class Lexer {
public:
  explicit Lexer(const FormulaText& source) : source(source), text(source.text) {}

  std::vector<Token> run()
  {
    if (text.size() > formula_bytes)
      throw Error(source.where,
                  fmt::format("a formula of {} bytes is too long: at most {}", text.size(), formula_bytes));
    while (at < text.size()) {
      char c = text[at];
      if (c == '\n' || c == ';')
        separator(c);
      else if (c == ' ' || c == '\t' || c == '\r')
        ++at;
      else if (c == '#')
        at = std::min(text.find('\n', at), text.size());
      else if (is_letter(c))
        name();
      else if (is_digit(c) || (c == '.' && at + 1 < text.size() && is_digit(text[at + 1])))
        number();
      else
        sign();
    }
    drop_separator();
    tokens.push_back({TokenKind::end, {}, text.size()});
    return std::move(tokens);
  }

private:
  const FormulaText& source;
  std::string_view text;
  size_t at = 0;
  int brackets = 0;
  bool newline = false; // the last separator was a newline: it may turn out to be none
  std::vector<Token> tokens;

  void drop_separator()
  {
    if (!tokens.empty() && tokens.back().kind == TokenKind::separator)
      tokens.pop_back();
  }

  void separator(char c)
  {
    if (c == ';') {
      if (brackets > 0)
        source.fail(at, "unexpected ';' within brackets");
      drop_separator();
    }
    bool goes_on = brackets > 0 || tokens.empty() || tokens.back().kind == TokenKind::separator ||
                   (tokens.back().kind == TokenKind::sign && tokens.back().text != "]" && tokens.back().text != ")" &&
                    tokens.back().text != "?") ||
                   tokens.back().text == "where";
    if (c == ';' ? !tokens.empty() : !goes_on) {
      tokens.push_back({TokenKind::separator, text.substr(at, 1), at});
      newline = c == '\n';
    }
    ++at;
  }

  void name()
  {
    size_t begin = at;
    while (at < text.size() && (is_letter(text[at]) || is_digit(text[at])))
      ++at;
    std::string_view word = text.substr(begin, at - begin);
    if (newline && (word == "where" || word == "and" || word == "or"))
      drop_separator();
    tokens.push_back({TokenKind::name, word, begin});
  }

  void number()
  {
    size_t begin = at;
    auto digits = [&] {
      while (at < text.size() && is_digit(text[at]))
        ++at;
    };
    digits();
    bool is_integer = true;
    if (at < text.size() && text[at] == '.' && text.substr(at, 3) != "...") {
      is_integer = false;
      ++at;
      digits();
    }
    if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
      is_integer = false;
      ++at;
      if (at < text.size() && (text[at] == '+' || text[at] == '-'))
        ++at;
      digits();
    }
    std::string_view word = text.substr(begin, at - begin);
    Token token{TokenKind::number, word, begin};
    token.is_integer = is_integer;
    std::from_chars_result read = is_integer ? std::from_chars(word.data(), word.data() + word.size(), token.integer)
                                             : std::from_chars(word.data(), word.data() + word.size(), token.value);
    if (read.ec != std::errc() || read.ptr != word.data() + word.size())
      source.fail(begin, fmt::format("'{}' is not a number, or too large for one", word));
    if (is_integer)
      token.value = static_cast<double>(token.integer);
    if (at < text.size() && is_letter(text[at]))
      source.fail(at, fmt::format("'{}' stands directly behind a number; write * to multiply", text[at]));
    tokens.push_back(token);
  }

  void sign()
  {
    for (std::string_view s : {"...", "<=", ">=", "==", "!=", "+=", "+", "-", "*", "/", "%",
                               "(",   ")",  "[",  "]",  ",",  "=",  "<", ">", ":", "?"})
      if (text.substr(at).starts_with(s)) {
        if (newline)
          drop_separator();
        brackets += s == "(" || s == "[";
        brackets -= s == ")" || s == "]";
        if (brackets < 0)
          source.fail(at, fmt::format("'{}' closes nothing", s));
        tokens.push_back({TokenKind::sign, text.substr(at, s.size()), at});
        at += s.size();
        return;
      }
    unsigned char c = static_cast<unsigned char>(text[at]);
    source.fail(at, c > 0x20 && c < 0x7f ? fmt::format("unexpected '{}'", text[at])
                                         : fmt::format("unexpected character (byte {:#04x})", c));
  }
};

} // namespace

void FormulaText::fail(size_t at, const std::string& message, bool show_line) const
{
  std::string_view line = line_at(text, at);
  size_t column = std::min(at, text.size()) - static_cast<size_t>(line.data() - text.data());
  if (std::optional<Location> exact = in_source ? find_line(where, line, column) : std::nullopt)
    throw Error(*exact, message);
  if (!show_line)
    throw Error(where, message);
  // The text is not the user's own (an op's row), or the source is not at hand: the message shows the line.
  size_t begin = column > 60 ? column - 60 : 0;
  std::string_view shown = line.substr(begin, 120);
  throw Error(where, fmt::format("{}, at column {} of the formula's line '{}'", message, column + 1, shown));
}

std::vector<Token> lex(const FormulaText& text)
{
  return Lexer(text).run();
}

} // namespace cnnc
