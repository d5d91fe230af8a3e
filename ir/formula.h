// What an op means: statements in index notation.
//
//   y[n,o,h,w] = bias[o]
//   y[n,o,h,w] += x[n, c, h*stride_h + i - pad_top, w*stride_w + j - pad_left] * weight[o,c,i,j]
//       where h < (H + pad_top + pad_bottom - KH)/stride_h + 1, w < (W + pad_left + pad_right - KW)/stride_w + 1
//
// Grammar (statements are separated by newlines or ';'; a line that starts with `where` continues the statement):
//   statement := target ["," name] update expression ["where" range {"," range}]
//              | name ":" type "[" extent {"," extent} "]"        declares a local tensor: "t: f32[N,8]"
//   target    := name "[" subscript {"," subscript} "]"           name "[]" is a scalar, "[...]" every dimension
//   update    := "=" | "+=" | "max=" | "min="                     a second name receives the tap that won (max, min)
//   range     := index "<" integer-expression                     0 <= index < it
//   subscript := integer-expression, affine in the indices once the symbols have values
//   expression: + - * / unary -, comparisons < <= > >= == !=, and or not, numbers, name[subscripts], name[subscripts]?,
//               function(args),
//               inside(name[subscripts]), an index or a symbol as a value, select(condition, a, b), max(a,b), min(a,b),
//               cast(dtype, a)
// Integer expressions use + - * / % and parentheses over symbols; / rounds down; min(a,b) and max(a,b). In a value, /
// of two numbers is exact (1/2 is 0.5) and / of index values rounds towards zero. `N` is the batch, unless an input's
// dimension of that name is something else. Comments run from `#` to the end of the line.
//
// Meaning, in this order:
// - The statements run one after the other. A statement runs over the box of all its indices; indices that do not occur
//   on the left are reduced, in the order in which they occur in the text (the last is innermost), or, where a `where`
//   names all indices, in its order. An index that takes one value only is no index: it is replaced by 0.
// - The range of an index is its `where`, else the extent of a dimension that it subscripts alone (an input's first),
//   else (only on the left) the extent of an output declared with a shape, or as other statements have it.
// - A tensor that is first written by an update starts from its identity: 0, -inf, +inf.
// - A term in which a read falls outside its tensor is skipped (nothing is stored or added), and so is one whose left
//   side falls outside: the adjoint of a skipped read. `x[...]?` is zero outside, and skips nothing.
// - max= and min= keep the first winner in the order of the reduction; NaN never wins over a number that came first.
//   The tap is the number of the winning term: its reduction indices read as digits, the last fastest.
// - Sums run in the element type, in order. Inputs that are absent (optional): a statement that reads one is dropped;
//   where that was the tensor's first, updates start from the identity.
// - `x[...]` in a statement whose left side is also `[...]`: same dimensions; with fewer or 1-sized ones, it is
//   broadcast as in NumPy. All tensors under `...` in one statement broadcast to the left side's shape.
#pragma once

#include "ir/expr.h"
#include "ir/location.h"

#include <map>
#include <optional>
#include <variant>

namespace cnnc {

enum class Update : uint8_t { assign, sum, max, min };
std::string_view to_string(Update); // "=", "+=", "max=", "min="
double identity(Update);            // 0, 0, -inf, +inf

struct Index {
  std::string name;
  Dim extent;
};

struct Statement {
  int target = -1;        // number in Formula::tensors
  int tap = -1;           // likewise, or none
  std::vector<Affine> at; // the left side's subscripts
  Update update = Update::assign;
  ExprPtr value;
  std::vector<Index> indices; // all of them; subscripts use positions in here

  bool is_output_index(int index) const; // occurs on the left
};

enum class Role : uint8_t { input, output, local };

struct FormulaTensor {
  std::string name;
  Role role = Role::local;
  TensorType type;
};

// Bound to shapes: every number is known but n.
struct Formula {
  std::vector<FormulaTensor> tensors; // inputs in the op's order (absent ones left out), outputs, locals
  std::vector<Statement> statements;
  std::vector<int> input_numbers; // for each tensor with role input: which of the op's inputs it is

  int find(std::string_view name) const; // -1 where there is none
};

// A number a formula may name: integers (usable in subscripts) and reals.
using Symbol = std::variant<int64_t, double>;
using Symbols = std::map<std::string, Symbol, std::less<>>;

// An operand as its row declares it: "x[N,C,H,W]", "bias[O]?" (optional), "x[...]" (any rank), "label[N]:i32" (of that
// type whatever the others are), "x[N,...]" (a leading batch, any rest), "a[...]*" (last only: any number of them).
struct OperandSpec {
  std::string name;
  std::vector<std::string> dims; // names; an integer expression over earlier names and attributes in outputs
  bool any_rank = false;         // `...` stands at the end of dims, or there are no brackets
  bool optional = false;
  bool variadic = false;
  std::optional<DType> dtype;
};
OperandSpec parse_operand_spec(std::string_view text); // throws InternalError: rows are ours
                                                       // (a user's op: caught and given its place)
std::string to_string(const OperandSpec&);

struct BoundInput {
  OperandSpec spec;
  std::optional<TensorType> type; // nothing: absent
};

// Text to Formula. `inputs` in order; `outputs` in order (dims may be empty: then the shape follows from the ranges of
// the left sides). Dimension names of the inputs become symbols beside `symbols`; the same name with two values throws.
// The element type is that of the first input that is a float (or else the first). Errors are reported at their place
// in the text where the source has the text at `where` or below, else at `where` with the line in the message. Throws
// Error.
Formula bind_formula(std::string_view text, const std::vector<BoundInput>& inputs,
                     const std::vector<OperandSpec>& outputs, const Symbols& symbols, const Location& where);

// The value of an integer (or real) expression such as "C*groups" or "H >= KH" (1 or 0) over symbols. Throws Error.
Symbol evaluate(std::string_view expression, const Symbols& symbols, const Location& where);

// Statements as text that bind_formula reads back to an equal formula (ranges all spelled out, constants as numbers).
// Reading it back takes operand_specs: there N is the batch.
std::string to_string(const Formula&);
std::string to_string(const Statement&, const Formula&);
// The formula's inputs or outputs as their row would declare them: "x[N,3,28,28]:f32".
std::vector<OperandSpec> operand_specs(const Formula&, Role);

// Proved: 0 <= at < extent while the indices run, for any batch.
bool is_inside(const Affine& at, const Dim& extent, const std::vector<Index>& indices);
// Proved: no two points of the box have the same left side.
bool is_injective(const Statement&);

// What a verifier checks: tensor numbers, ranks, types of terms, left sides of `=` that are written twice at one point.
// Throws InternalError.
void verify(const Formula&);

} // namespace cnnc
