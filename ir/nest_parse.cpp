// Text => nest, the inverse of nest_print.cpp:
//
//   nest     := "nest" "@"name "(" [argument {"," argument}] ")" [at] ["schedule" string] "{" {local} {node} "}"
//   argument := ("in" | "out" | "inout") buffer
//   local    := ("local" | "registers") buffer ["in" "thread" integer]
//   buffer   := ("%"|"@")name ":" dtype "[" dims "]" ["as" layout] ["ahead" number ["turns" name "/" number] ["from" number "images"]]
//   at       := "at" string ":" line ["-" line]
//   node     := ("for" | "parallel" | "unroll" | "lanes") range {"," range} "{" {node} "}"
//             | "if" affine ">=" "0" "{" {node} "}" ["else" "{" {node} "}"]
//             | ("zero_border" | "prefetch") buffer "[" subscripts "]"
//             | buffer "[" subscripts "]" ["," buffer] update expression ["tap" affine]
//   range    := index "in" bound ".." bound ["step" integer]
//   bound    := affine | ("max" | "min") "(" affine {"," affine} ")"
//
// Expressions are those of formulas (ir/formula.h), over buffers and loop indices; `%x[...]?` is a checked read. A
// number takes the type that its neighbours have, else that of the buffer that is written.
#include "ir/checked.h"
#include "ir/nest.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <unordered_map>

#include <fmt/format.h>

namespace cnnc {

namespace {

// What a text may ask for. Deeper trees would overflow the stack, larger numbers the index arithmetic.
constexpr int depth_limit = 120;       // of braces and brackets in the text
constexpr int tree_depth_limit = 1000; // a + b + c nests as deep as it is long
constexpr int64_t number_limit = int64_t{1} << 40;
constexpr int64_t ahead_limit = int64_t{1} << 20, turns_limit = 64;
constexpr size_t rank_limit = 16;

struct FunctionRow {
  Fn fn;
  std::string_view name;
  size_t arguments;
};
constexpr FunctionRow functions[] = {
    {Fn::lane_sum, "lane_sum", 1},
    {Fn::lane_max, "lane_max", 1},
#define FUNCTION(name, arguments, result) {Fn::name, #name, arguments},
#include "ir/functions.def"
#undef FUNCTION
};

bool is_word(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// An expression before types are known.
struct Term {
  Fn fn = Fn::constant;
  std::optional<DType> type; // nothing for terms made of numbers alone: they take the type that is wanted
  int depth = 1;
  double value = 0;
  int buffer = -1;
  bool checked = false;
  std::vector<Affine> at;
  std::vector<Term> args;
  size_t place = 0;

  bool is_affine() const
  {
    return fn == Fn::index || (fn == Fn::constant && !type && value == std::floor(value) &&
                               std::abs(value) <= static_cast<double>(number_limit));
  }
  Affine affine() const { return fn == Fn::index ? at[0] : Affine(static_cast<int64_t>(value)); }
};

class Parser {
public:
  explicit Parser(const std::shared_ptr<const Source>& source) : source(source), text(source->text) {}

  Nest whole()
  {
    want_word("nest");
    want("@");
    result.name = name_after_sigil();
    want("(");
    if (!take(")")) {
      do
        argument();
      while (take(","));
      want(")");
    }
    if (take_word("at"))
      place();
    if (take_word("schedule"))
      result.schedule = string();
    want("{");
    while (local())
      ;
    result.body = body();
    skip_space();
    if (position != text.size())
      fail("the text goes on after the nest");
    return std::move(result);
  }

private:
  [[noreturn]] void fail(const std::string& what) { fail(what, position); }

  [[noreturn]] void fail(const std::string& what, size_t at)
  {
    at = std::min(at, text.size());
    Location location{source, 1, 1};
    for (size_t i = 0; i < at; ++i) {
      ++location.column;
      if (text[i] == '\n') {
        ++location.line;
        location.column = 1;
      }
    }
    throw Error(location, what);
  }

  [[noreturn]] void fail_wanted(std::string_view wanted)
  {
    skip_space();
    std::string found = "the end of the text";
    if (position < text.size()) {
      size_t end = position;
      while (end < text.size() && end - position < 20 && is_word(text[end]))
        ++end;
      found = fmt::format("'{}'", text.substr(position, std::max<size_t>(end - position, 1)));
    }
    fail(fmt::format("{} is wanted here, found {}", wanted, found));
  }

  // --- words and numbers

  void skip_space()
  {
    while (position < text.size()) {
      char c = text[position];
      if (c == '#')
        while (position < text.size() && text[position] != '\n')
          ++position;
      else if (c == ' ' || c == '\n' || c == '\t' || c == '\r')
        ++position;
      else
        return;
    }
  }

  bool sees(std::string_view token)
  {
    skip_space();
    return text.substr(position).starts_with(token);
  }

  bool take(std::string_view token)
  {
    if (!sees(token))
      return false;
    position += token.size();
    return true;
  }

  void want(std::string_view token)
  {
    if (!take(token))
      fail_wanted(fmt::format("'{}'", token));
  }

  std::string_view peek_word()
  {
    skip_space();
    size_t end = position;
    while (end < text.size() && is_word(text[end]))
      ++end;
    return text.substr(position, end - position);
  }

  bool take_word(std::string_view word)
  {
    if (peek_word() != word)
      return false;
    position += word.size();
    return true;
  }

  void want_word(std::string_view word)
  {
    if (!take_word(word))
      fail_wanted(fmt::format("'{}'", word));
  }

  // Words joined by points, `w.in`; two points are a range's.
  std::string index_word()
  {
    std::string_view word = peek_word();
    if (word.empty() || (word[0] >= '0' && word[0] <= '9'))
      fail_wanted("a name");
    size_t end = position + word.size();
    while (end + 1 < text.size() && text[end] == '.' && is_word(text[end + 1]))
      while (++end < text.size() && is_word(text[end]))
        ;
    std::string name(text.substr(position, end - position));
    position = end;
    return name;
  }

  std::string name_after_sigil()
  {
    if (position < text.size() && text[position] == '"')
      return string();
    size_t end = position;
    while (end < text.size() && (is_word(text[end]) || text[end] == '.'))
      ++end;
    if (end == position)
      fail_wanted("a name");
    std::string name(text.substr(position, end - position));
    position = end;
    return name;
  }

  std::string buffer_name()
  {
    skip_space();
    if (position == text.size() || (text[position] != '%' && text[position] != '@'))
      fail_wanted("a buffer");
    char sigil = text[position++];
    return sigil + name_after_sigil();
  }

  int buffer_number()
  {
    skip_space();
    size_t at = position;
    std::string name = buffer_name();
    if (auto found = buffers.find(name); found != buffers.end())
      return found->second;
    std::vector<std::string> known;
    for (const Buffer& buffer : result.buffers)
      known.push_back(buffer.name);
    std::string near = nearest(name, known);
    fail(fmt::format("no buffer is called {}{}", name, near.empty() ? "" : fmt::format("; did you mean {}?", near)),
         at);
  }

  int64_t integer(int64_t lo, int64_t hi)
  {
    skip_space();
    int64_t value = 0;
    auto [end, problem] = std::from_chars(text.data() + position, text.data() + text.size(), value);
    if (problem != std::errc() && problem != std::errc::result_out_of_range)
      fail_wanted("a number");
    if (problem != std::errc() || value < lo || value > hi)
      fail(fmt::format("a number from {} to {} is wanted here", lo, hi));
    position = static_cast<size_t>(end - text.data());
    return value;
  }

  std::string string()
  {
    want("\"");
    std::string value;
    for (; position < text.size() && text[position] != '"'; ++position) {
      if (text[position] == '\n')
        break;
      if (text[position] == '\\' && position + 1 < text.size()) {
        ++position;
        value += text[position] == 'n' ? '\n' : text[position] == 'x' ? byte() : text[position];
      } else
        value += text[position];
    }
    if (position == text.size() || text[position] != '"')
      fail("a string ends on its line with '\"'");
    ++position;
    return value;
  }

  // The two digits behind \x; leaves the second one.
  char byte()
  {
    unsigned value = 0;
    const char* digits = text.data() + position + 1;
    bool both = text.size() - position > 2 && std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2;
    if (!both)
      fail("two hexadecimal digits are wanted here");
    position += 2;
    return static_cast<char>(value);
  }

  // --- the head

  void place()
  {
    auto file = std::make_shared<Source>();
    file->name = string();
    want(":");
    result.location = {file, static_cast<int>(integer(1, 1'000'000'000)), 0};
    result.last_line = result.location.line;
    if (take("-"))
      result.last_line = static_cast<int>(integer(result.location.line, 1'000'000'000));
  }

  void argument()
  {
    if (take_word("inout"))
      buffer(BufferRole::inout);
    else if (take_word("in"))
      buffer(BufferRole::in);
    else if (take_word("out"))
      buffer(BufferRole::out);
    else
      fail_wanted("'in', 'out' or 'inout'");
  }

  bool local()
  {
    if (take_word("local"))
      buffer(BufferRole::local);
    else if (take_word("registers"))
      buffer(BufferRole::registers);
    else
      return false;
    return true;
  }

  void buffer(BufferRole role)
  {
    skip_space();
    size_t at = position;
    Buffer buffer{.name = buffer_name(), .role = role, .type = {}, .layout = {}};
    if (!buffers.emplace(buffer.name, static_cast<int>(result.buffers.size())).second)
      fail(fmt::format("there are two buffers called {}", buffer.name), at);
    want(":");
    buffer.type = type();
    buffer.layout = planar(buffer.type.shape.size());
    if (take_word("as"))
      buffer.layout = layout(buffer.type.shape);
    size_t before = position;
    if (role == BufferRole::local && take_word("in")) {
      want_word("thread");
      buffer.offset = integer(0, number_limit);
    } else if (role <= BufferRole::inout && take_word("ahead")) {
      buffer.ahead.bytes = integer(1, ahead_limit);
      before = position;
      if (role == BufferRole::in && take_word("turns")) {
        buffer.ahead.loop = index_word();
        want("/");
        buffer.ahead.turns = integer(2, turns_limit);
        before = position;
      }
      position = before;
      if (take_word("from")) {
        buffer.ahead.images = integer(1, ahead_limit);
        want_word("images");
      } else {
        position = before;
      }
    } else {
      position = before;
    }
    result.buffers.push_back(std::move(buffer));
  }

  TensorType type()
  {
    skip_space();
    size_t at = position;
    std::optional<DType> dtype = parse_dtype(peek_word());
    if (!dtype)
      fail_wanted("an element type");
    position += peek_word().size();
    TensorType type{*dtype, {}};
    want("[");
    if (!take("]")) {
      do {
        Dim dim;
        if (take_word("n"))
          dim.batch = true;
        else {
          dim.size = integer(0, number_limit);
          if (take("*")) {
            want_word("n");
            dim.batch = true;
          }
        }
        if (type.shape.size() == rank_limit)
          fail(fmt::format("a tensor has at most {} dimensions", rank_limit), at);
        type.shape.push_back(dim);
      } while (take(","));
      want("]");
    }
    try {
      elements(type.shape);
    } catch (const Error& error) { // it knows no place
      fail(error.what(), at);
    }
    return type;
  }

  Layout layout(const Shape& shape)
  {
    skip_space();
    size_t end = text.find('}', position);
    if (!sees("{") || end == std::string_view::npos)
      fail_wanted("a layout");
    try {
      Layout layout = parse_layout(text.substr(position, end + 1 - position));
      verify(layout, shape);
      position = end + 1;
      return layout;
    } catch (const std::invalid_argument& error) {
      fail(error.what());
    }
  }

  // --- loops and stores

  // What follows "{", and its "}".
  std::vector<Node> body()
  {
    Deeper deeper(*this);
    std::vector<Node> nodes;
    while (!take("}"))
      nodes.push_back(node());
    return nodes;
  }

  Node node()
  {
    for (LoopKind kind : {LoopKind::serial, LoopKind::parallel, LoopKind::unroll, LoopKind::lanes})
      if (take_word(to_string(kind)))
        return loops(kind);
    if (take_word("if")) {
      If branch{.condition = affine(), .then_body = {}, .else_body = {}};
      want(">=");
      integer(0, 0);
      want("{");
      branch.then_body = body();
      if (take_word("else")) {
        want("{");
        branch.else_body = body();
      }
      return {std::move(branch)};
    }
    if (take_word("zero_border")) {
      ZeroBorder zero{.buffer = buffer_number(), .at = {}};
      zero.at = subscripts();
      return {std::move(zero)};
    }
    if (take_word("prefetch")) {
      Prefetch line{.buffer = buffer_number(), .at = {}};
      line.at = subscripts();
      return {std::move(line)};
    }
    if (sees("%") || sees("@"))
      return store();
    fail_wanted("a loop, 'if', 'zero_border', 'prefetch', a store or '}'");
  }

  Node loops(LoopKind kind)
  {
    Deeper deeper(*this);
    Loop loop;
    loop.kind = kind;
    skip_space();
    size_t at = position;
    std::string name = index_word();
    if (name == "N")
      fail("N is the batch and cannot be a loop's index", at);
    if (std::any_of(scope.begin(), scope.end(), [&](int i) { return index_name(i) == name; }))
      fail(fmt::format("a loop around this one already uses the index {}", name), at);
    // Loops beside each other share an index of one name.
    auto [same, is_new] = indices.emplace(name, static_cast<int>(result.indices.size()));
    loop.index = same->second;
    if (is_new)
      result.indices.push_back({name});
    want_word("in");
    loop.begin = bound("max");
    want("..");
    loop.end = bound("min");
    if (take_word("step"))
      loop.step = integer(1, number_limit);
    scope.push_back(loop.index);
    if (take(","))
      loop.body.push_back(loops(kind));
    else {
      want("{");
      loop.body = body();
    }
    scope.pop_back();
    return {std::move(loop)};
  }

  std::vector<Affine> bound(std::string_view pick)
  {
    if (!take_word(pick))
      return {affine()};
    std::vector<Affine> all;
    want("(");
    do
      all.push_back(affine());
    while (take(","));
    want(")");
    return all;
  }

  Node store()
  {
    skip_space();
    size_t start = position;
    Store store;
    store.target = buffer_number();
    store.at = subscripts();
    if (take(","))
      store.tap = buffer_number();
    bool found = false;
    for (Update update : {Update::sum, Update::max, Update::min, Update::assign})
      if (!found && (found = take(to_string(update))))
        store.update = update;
    if (!found)
      fail_wanted("'=', '+=', 'max=' or 'min='");
    Term value = expression();
    DType wanted = result.buffers[static_cast<size_t>(store.target)].type.dtype;
    store.value = typed(value, wanted);
    if (store.value->type != wanted)
      fail(fmt::format("{} holds {}, this is {}", result.buffers[static_cast<size_t>(store.target)].name,
                       to_string(wanted), to_string(store.value->type)),
           value.place);
    if (store.tap >= 0) {
      want_word("tap");
      store.tap_value = affine();
    }
    size_t rank = result.buffers[static_cast<size_t>(store.target)].type.shape.size();
    if (store.at.size() != rank)
      fail(fmt::format("{} has {} dimensions and {} subscripts", result.buffers[static_cast<size_t>(store.target)].name,
                       rank, store.at.size()),
           start);
    return {std::move(store)};
  }

  std::vector<Affine> subscripts()
  {
    std::vector<Affine> at;
    want("[");
    if (take("]"))
      return at;
    do
      at.push_back(affine());
    while (take(","));
    want("]");
    return at;
  }

  Affine affine()
  {
    skip_space();
    size_t at = position;
    Term term = sum();
    if (!term.is_affine())
      fail("this must be affine: a constant and multiples of loop indices", at);
    return term.affine();
  }

  // --- expressions, by falling precedence: or, and, not, comparisons, + -, * /, unary -, the rest

  struct Deeper {
    explicit Deeper(Parser& parser) : parser(parser)
    {
      if (++parser.depth > depth_limit)
        parser.fail(fmt::format("nested deeper than {}", depth_limit));
    }
    ~Deeper() { --parser.depth; }
    Parser& parser;
  };

  Term expression()
  {
    Deeper deeper(*this);
    Term a = conjunction();
    while (take_word("or"))
      a = function(Fn::either, {std::move(a), conjunction()});
    return a;
  }

  Term conjunction()
  {
    Term a = negation();
    while (take_word("and"))
      a = function(Fn::both, {std::move(a), negation()});
    return a;
  }

  Term negation()
  {
    Deeper deeper(*this);
    if (take_word("not"))
      return function(Fn::negate, {negation()});
    return comparison();
  }

  Term comparison()
  {
    Term a = sum();
    if (take("<="))
      return function(Fn::less_equal, {std::move(a), sum()});
    if (take(">="))
      return swapped(Fn::less_equal, std::move(a));
    if (take("<"))
      return function(Fn::less, {std::move(a), sum()});
    if (take(">"))
      return swapped(Fn::less, std::move(a));
    if (take("=="))
      return function(Fn::equal, {std::move(a), sum()});
    if (take("!="))
      return function(Fn::negate, {function(Fn::equal, {std::move(a), sum()})});
    return a;
  }

  Term swapped(Fn fn, Term a)
  {
    Term b = sum();
    return function(fn, {std::move(b), std::move(a)});
  }

  Term sum()
  {
    Term a = product();
    for (;;) {
      if (take("+"))
        a = plus(std::move(a), product(), 1);
      else if (take("-"))
        a = plus(std::move(a), product(), -1);
      else
        return a;
    }
  }

  Term plus(Term a, Term b, int64_t sign)
  {
    if (a.is_affine() && b.is_affine() && (a.fn == Fn::index || b.fn == Fn::index))
      return index_term(sign > 0 ? checked_add(a.affine(), b.affine()) : checked_sub(a.affine(), b.affine()), a.place);
    return function(sign > 0 ? Fn::add : Fn::sub, {std::move(a), std::move(b)});
  }

  Term product()
  {
    Term a = unary();
    for (;;) {
      if (take("*")) {
        Term b = unary();
        if (a.is_affine() && b.is_affine() && (a.fn == Fn::index) != (b.fn == Fn::index))
          a = index_term(a.fn == Fn::index ? checked_mul(a.at[0], b.affine().constant)
                                           : checked_mul(b.at[0], a.affine().constant),
                         a.place);
        else
          a = function(Fn::mul, {std::move(a), std::move(b)});
      } else if (take("/"))
        a = function(Fn::div, {std::move(a), unary()});
      else
        return a;
    }
  }

  Term index_term(const std::optional<Affine>& a, size_t at)
  {
    auto fits = [](int64_t value) { return value <= number_limit && value >= -number_limit; };
    if (!a || !fits(a->constant) ||
        !std::all_of(a->terms.begin(), a->terms.end(), [&](auto& t) { return fits(t.factor); }))
      fail("the subscript's numbers are too large", at);
    Term term;
    term.place = at;
    if (a->is_constant())
      term.value = static_cast<double>(a->constant);
    else {
      term.fn = Fn::index;
      term.type = DType::i64;
      term.at = {*a};
    }
    return term;
  }

  Term unary()
  {
    Deeper deeper(*this);
    skip_space();
    size_t at = position;
    if (!take("-"))
      return primary();
    Term a = unary();
    if (a.fn == Fn::index)
      return index_term(checked_mul(a.at[0], -1), at);
    if (a.fn == Fn::constant && !a.type) {
      a.value = -a.value;
      return a;
    }
    return function(Fn::neg, {std::move(a)});
  }

  Term primary()
  {
    skip_space();
    Term term;
    term.place = position;
    if (take("(")) {
      term = expression();
      want(")");
      return term;
    }
    if (sees("%") || sees("@")) {
      term.fn = Fn::read;
      term.buffer = buffer_number();
      term.at = subscripts();
      term.checked = take("?");
      const Buffer& buffer = result.buffers[static_cast<size_t>(term.buffer)];
      term.type = buffer.type.dtype;
      if (term.at.size() != buffer.type.shape.size())
        fail(fmt::format("{} has {} dimensions and {} subscripts", buffer.name, buffer.type.shape.size(),
                         term.at.size()),
             term.place);
      return term;
    }
    if (position < text.size() && text[position] >= '0' && text[position] <= '9') {
      term.value = number();
      return term;
    }
    std::string word = index_word();
    if (word == "inf" || word == "nan") {
      using limits = std::numeric_limits<double>;
      term.value = word == "inf" ? limits::infinity() : limits::quiet_NaN();
      return term;
    }
    if (word == "true" || word == "false") {
      term.value = word == "true";
      term.type = DType::boolean;
      return term;
    }
    if (sees("("))
      return called(word, term.place);
    if (word == "N")
      return index_term(Affine::of(batch_index), term.place);
    for (int i : scope)
      if (index_name(i) == word)
        return index_term(Affine::of(i), term.place);
    fail(fmt::format("no loop around this has the index {}", word), term.place);
  }

  // Digits, a fraction only where a digit follows the point: `0..28` is two numbers.
  double number()
  {
    size_t end = position;
    auto digits = [&] {
      while (end < text.size() && text[end] >= '0' && text[end] <= '9')
        ++end;
    };
    auto digit_at = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
    digits();
    if (end < text.size() && text[end] == '.' && digit_at(end + 1)) {
      ++end;
      digits();
    }
    if (end < text.size() && text[end] == 'e') {
      size_t exponent = end + 1;
      if (exponent < text.size() && (text[exponent] == '-' || text[exponent] == '+'))
        ++exponent;
      if (digit_at(exponent)) {
        end = exponent;
        digits();
      }
    }
    double value = 0;
    auto [stop, problem] = std::from_chars(text.data() + position, text.data() + end, value);
    if (problem != std::errc() || stop != text.data() + end)
      fail("this number has no value in double precision");
    position = end;
    return value;
  }

  Term called(const std::string& word, size_t at)
  {
    want("(");
    if (word == "cast") {
      std::optional<DType> dtype = parse_dtype(peek_word());
      if (!dtype)
        fail_wanted("an element type");
      position += peek_word().size();
      want(",");
      Term term = function(Fn::cast, {expression()});
      term.type = *dtype;
      term.place = at;
      want(")");
      return term;
    }
    if (word == "inside") {
      Term term;
      term.fn = Fn::inside;
      term.type = DType::boolean;
      term.place = at;
      do
        term.at.push_back(affine());
      while (take(","));
      if (term.at.size() % 2 != 0)
        fail("inside takes pairs: a subscript, its extent", at);
      want(")");
      return term;
    }
    auto row = std::find_if(std::begin(functions), std::end(functions), [&](auto& row) { return row.name == word; });
    if (row == std::end(functions)) {
      std::vector<std::string> known = {"cast", "inside"};
      for (const FunctionRow& function : functions)
        known.emplace_back(function.name);
      std::string near = nearest(word, known);
      fail(fmt::format("no function is called {}{}", word, near.empty() ? "" : fmt::format("; did you mean {}?", near)),
           at);
    }
    std::vector<Term> args;
    do
      args.push_back(expression());
    while (args.size() < row->arguments && take(","));
    if (args.size() != row->arguments)
      fail(fmt::format("{} takes {} arguments", word, row->arguments), at);
    want(")");
    Term term = function(row->fn, std::move(args));
    term.place = at;
    return term;
  }

  // --- types

  static bool compares(Fn fn) { return fn == Fn::less || fn == Fn::less_equal || fn == Fn::equal; }
  static bool is_logic(Fn fn) { return fn == Fn::both || fn == Fn::either || fn == Fn::negate; }

  Term function(Fn fn, std::vector<Term> args)
  {
    Term term;
    term.fn = fn;
    term.place = args[0].place;
    for (const Term& arg : args)
      term.depth = std::max(term.depth, arg.depth + 1);
    if (term.depth > tree_depth_limit)
      fail(fmt::format("the expression nests deeper than {}", tree_depth_limit), term.place);
    if (compares(fn) || is_logic(fn))
      term.type = DType::boolean;
    else if (fn == Fn::random)
      term.type = DType::f32;
    else if (fn != Fn::cast)
      for (size_t i = fn == Fn::select ? 1 : 0; i < args.size() && !term.type; ++i)
        term.type = args[i].type;
    term.args = std::move(args);
    return term;
  }

  ExprPtr typed(const Term& term, DType wanted)
  {
    DType type = term.type.value_or(wanted);
    switch (term.fn) {
    case Fn::constant: return constant(term.value, type);
    case Fn::index: return index_value(term.at[0]);
    case Fn::inside: return inside(term.at);
    case Fn::read: return read(term.buffer, type, term.at, term.checked);
    case Fn::cast: return cast(type, typed(term.args[0], type));
    default: break;
    }
    DType of_args = type;
    if (compares(term.fn))
      of_args = term.args[0].type ? *term.args[0].type : term.args[1].type.value_or(DType::f32);
    else if (term.fn == Fn::random)
      of_args = DType::i64;
    std::vector<ExprPtr> args;
    for (const Term& arg : term.args)
      args.push_back(typed(arg, term.fn == Fn::select && args.empty() ? DType::boolean : of_args));
    if (term.fn == Fn::lane_sum || term.fn == Fn::lane_max) {
      Expr lanes;
      lanes.fn = term.fn;
      lanes.type = args[0]->type;
      lanes.args = std::move(args);
      return std::make_shared<const Expr>(std::move(lanes));
    }
    try {
      return call(term.fn, std::move(args));
    } catch (const InternalError& error) { // the types of the arguments do not meet
      fail(error.what(), term.place);
    }
  }

  const std::string& index_name(int i) const { return result.indices[static_cast<size_t>(i)].name; }

  std::shared_ptr<const Source> source;
  std::string_view text;
  size_t position = 0;
  int depth = 0;
  std::vector<int> scope; // indices of the loops around
  std::unordered_map<std::string, int> buffers, indices;
  Nest result;
};

} // namespace

Nest parse_nest(const std::shared_ptr<const Source>& source)
{
  return Parser(source).whole();
}

} // namespace cnnc
