#include "ir/formula_syntax.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace cnnc {

namespace {

class Parser {
public:
  explicit Parser(const FormulaText& source) : source(source), tokens(lex(source)) {}

  std::vector<StatementSyntax> formula()
  {
    std::vector<StatementSyntax> result;
    while (peek().kind != TokenKind::end) {
      if (result.size() == formula_statements)
        source.fail(peek().at, fmt::format("more than {} statements", formula_statements));
      result.push_back(statement());
      if (peek().kind == TokenKind::separator)
        ++next;
      else if (peek().kind != TokenKind::end)
        unexpected("the end of the statement");
    }
    return result;
  }

  Syntax whole_expression()
  {
    Syntax e = expression();
    if (peek().kind != TokenKind::end)
      unexpected("the end");
    return e;
  }

private:
  const FormulaText& source;
  std::vector<Token> tokens;
  size_t next = 0;
  int nesting = 0;

  const Token& peek(size_t ahead = 0) const { return tokens[std::min(next + ahead, tokens.size() - 1)]; }
  bool is(std::string_view text) const
  {
    return (peek().kind == TokenKind::sign || peek().kind == TokenKind::name) && peek().text == text;
  }
  bool take(std::string_view text)
  {
    if (!is(text))
      return false;
    ++next;
    return true;
  }
  [[noreturn]] void unexpected(std::string_view wanted) const
  {
    const Token& t = peek();
    if (t.kind == TokenKind::end || t.kind == TokenKind::separator)
      source.fail(t.at, fmt::format("the statement ends where {} was expected", wanted));
    source.fail(t.at, fmt::format("unexpected '{}', where {} was expected", t.text, wanted));
  }
  void want(std::string_view text)
  {
    if (!take(text))
      unexpected(fmt::format("'{}'", text));
  }
  const Token& want_name(std::string_view what)
  {
    if (peek().kind != TokenKind::name)
      unexpected(what);
    return tokens[next++];
  }

  StatementSyntax statement()
  {
    StatementSyntax s;
    s.at = peek().at;
    const Token& name = want_name("the name of a tensor");
    if (take(":")) {
      const Token& type = want_name("an element type");
      s.declares = parse_dtype(type.text);
      if (!s.declares)
        source.fail(type.at, fmt::format("'{}' is not an element type", type.text));
    }
    s.target = element(name);
    if (s.declares)
      return s;
    if (take(","))
      s.tap = want_name("the name of the tensor for the tap");
    s.update = update();
    s.value = expression();
    if (take("where"))
      do
        s.ranges.push_back(range());
      while (take(","));
    return s;
  }

  Update update()
  {
    if (take("="))
      return Update::assign;
    if (take("+="))
      return Update::sum;
    if ((is("max") || is("min")) && peek(1).text == "=") {
      next += 2;
      return tokens[next - 2].text == "max" ? Update::max : Update::min;
    }
    unexpected("'=', '+=', 'max=' or 'min='");
  }

  RangeSyntax range()
  {
    RangeSyntax r;
    const Token& name = want_name("an index");
    r.name = name.text;
    r.at = name.at;
    want("<");
    r.extent = additive();
    return r;
  }

  Syntax read(const Token& name)
  {
    Syntax e = element(name);
    e.checked = take("?");
    return e;
  }

  Syntax element(const Token& name)
  {
    Syntax e = node(SyntaxKind::read, name);
    want("[");
    if (!take("]")) {
      do {
        if (take("...")) {
          e.ellipsis = true;
          break;
        }
        append(e, expression());
      } while (take(","));
      want("]");
    }
    return e;
  }

  static Syntax node(SyntaxKind kind, const Token& token)
  {
    Syntax e;
    e.kind = kind;
    e.at = token.at;
    e.name = token.text;
    return e;
  }

  void append(Syntax& e, Syntax arg)
  {
    e.depth = std::max(e.depth, arg.depth + 1);
    if (e.depth > formula_depth)
      source.fail(arg.at, fmt::format("an expression of more than {} levels", formula_depth));
    e.args.push_back(std::move(arg));
  }

  Syntax binary(SyntaxKind kind, const Token& sign, Syntax a, Syntax b)
  {
    Syntax e = node(kind, sign);
    append(e, std::move(a));
    append(e, std::move(b));
    return e;
  }

  Syntax expression()
  {
    if (++nesting > formula_nesting)
      source.fail(peek().at, fmt::format("brackets are nested more than {} deep", formula_nesting));
    Syntax e = conjunction();
    while (is("or")) {
      const Token& sign = tokens[next++];
      e = binary(SyntaxKind::either, sign, std::move(e), conjunction());
    }
    --nesting;
    return e;
  }

  Syntax conjunction()
  {
    Syntax e = negation();
    while (is("and")) {
      const Token& sign = tokens[next++];
      e = binary(SyntaxKind::both, sign, std::move(e), negation());
    }
    return e;
  }

  Syntax negation()
  {
    if (!is("not"))
      return comparison();
    if (++nesting > formula_nesting)
      source.fail(peek().at, "too many 'not'");
    Syntax e = node(SyntaxKind::negate, tokens[next++]);
    append(e, negation());
    --nesting;
    return e;
  }

  Syntax comparison()
  {
    static constexpr std::pair<std::string_view, SyntaxKind> signs[] = {
        {"<", SyntaxKind::less},           {"<=", SyntaxKind::less_equal}, {">", SyntaxKind::greater},
        {">=", SyntaxKind::greater_equal}, {"==", SyntaxKind::equal},      {"!=", SyntaxKind::not_equal},
    };
    Syntax e = additive();
    for (auto [text, kind] : signs)
      if (is(text)) {
        const Token& sign = tokens[next++];
        return binary(kind, sign, std::move(e), additive());
      }
    return e;
  }

  Syntax additive()
  {
    Syntax e = multiplicative();
    while (is("+") || is("-")) {
      const Token& sign = tokens[next++];
      e = binary(sign.text == "+" ? SyntaxKind::add : SyntaxKind::sub, sign, std::move(e), multiplicative());
    }
    return e;
  }

  Syntax multiplicative()
  {
    Syntax e = unary();
    while (is("*") || is("/") || is("%")) {
      const Token& sign = tokens[next++];
      SyntaxKind kind = sign.text == "*" ? SyntaxKind::mul : sign.text == "/" ? SyntaxKind::div : SyntaxKind::mod;
      e = binary(kind, sign, std::move(e), unary());
    }
    return e;
  }

  Syntax unary()
  {
    if (!is("-"))
      return primary();
    if (++nesting > formula_nesting)
      source.fail(peek().at, "too many signs");
    Syntax e = node(SyntaxKind::neg, tokens[next++]);
    append(e, unary());
    --nesting;
    return e;
  }

  Syntax primary()
  {
    const Token& t = peek();
    if (t.kind == TokenKind::number) {
      ++next;
      Syntax e = node(SyntaxKind::number, t);
      e.is_integer = t.is_integer;
      e.integer = t.integer;
      e.value = t.value;
      return e;
    }
    if (take("(")) {
      Syntax e = expression();
      want(")");
      return e;
    }
    if (t.kind != TokenKind::name || t.text == "where")
      unexpected("a term");
    ++next;
    if (is("["))
      return read(t);
    if (take("(")) {
      Syntax e = node(SyntaxKind::call, t);
      if (!take(")")) {
        do
          append(e, expression());
        while (take(","));
        want(")");
      }
      return e;
    }
    Syntax e = node(SyntaxKind::name, t);
    if (t.text == "true" || t.text == "false") {
      e.kind = SyntaxKind::boolean;
      e.value = t.text == "true";
    } else if (t.text == "inf" || t.text == "nan") {
      e.kind = SyntaxKind::number;
      e.value = t.text == "inf" ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
    }
    return e;
  }
};

} // namespace

std::vector<StatementSyntax> parse_formula(const FormulaText& text)
{
  return Parser(text).formula();
}

Syntax parse_expression(const FormulaText& text)
{
  return Parser(text).whole_expression();
}

void for_each(const Syntax& e, const std::function<void(const Syntax&)>& visit)
{
  visit(e);
  for (const Syntax& arg : e.args)
    for_each(arg, visit);
}

} // namespace cnnc
