// A formula's text as trees of names, before any of them has a meaning (formula_bind.cpp gives them one).
#pragma once

#include "ir/formula.h"

namespace cnnc {

// The text and its place: an error points into the text where the source holds it.
struct FormulaText {
  std::string_view text;
  Location where;
  bool in_source = true; // the source may hold it, at `where` or below

  // `at`: bytes from the start of the text. `show_line`: also where the source does not hold it (an op's row).
  [[noreturn]] void fail(size_t at, const std::string& message, bool show_line = true) const;
};

enum class TokenKind : uint8_t { name, number, sign, separator, end };

struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;
  size_t at = 0;
  bool is_integer = false;
  int64_t integer = 0;
  double value = 0; // of either kind of number
};

constexpr size_t formula_bytes = 64 << 10;
constexpr int formula_nesting = 200;
constexpr int formula_depth = 400; // of a tree; a + b + c is two deep
constexpr size_t formula_statements = 256;
constexpr size_t formula_indices = 16;

// Separators stand between statements only: a line that starts with a sign or with `where`, and one that ends with a
// sign or within brackets, goes on. The last token is `end`.
std::vector<Token> lex(const FormulaText&);

enum class SyntaxKind : uint8_t {
  number,
  boolean, // value 0 or 1
  name,
  read, // name[args]
  call, // name(args)
  neg,
  add,
  sub,
  mul,
  div,
  mod,
  less,
  less_equal,
  greater,
  greater_equal,
  equal,
  not_equal,
  both,
  either,
  negate
};

struct Syntax {
  SyntaxKind kind = SyntaxKind::number;
  size_t at = 0;
  std::string_view name;
  bool is_integer = false;
  int64_t integer = 0;
  double value = 0;
  bool ellipsis = false; // read: `...` stands behind args
  bool checked = false;  // read: `?` stands behind it
  int depth = 1;
  std::vector<Syntax> args;
};

struct RangeSyntax {
  std::string_view name;
  size_t at = 0;
  Syntax extent;
};

struct StatementSyntax {
  size_t at = 0;
  Syntax target; // a read
  std::optional<Token> tap;
  Update update = Update::assign;
  Syntax value;
  std::vector<RangeSyntax> ranges;
  std::optional<DType> declares; // "t: f32[N,8]": no statement, but the type of a local tensor
};

std::vector<StatementSyntax> parse_formula(const FormulaText&);
Syntax parse_expression(const FormulaText&);

// What an integer expression may come to: affine in indices and the batch, or a real number.
using Number = std::variant<Affine, double>;
using Lookup = std::function<Number(const Syntax& name)>; // throws for unknown ones
Number evaluate(const Syntax&, const FormulaText&, const Lookup&);
Affine evaluate_affine(const Syntax&, const FormulaText&, const Lookup&); // throws for reals

void for_each(const Syntax&, const std::function<void(const Syntax&)>& visit); // outer before inner, in text order

} // namespace cnnc
