// The value of a term: a tree of reads, constants, index values and functions.
//
// A formula and a loop nest use the same trees. In a formula `tensor` numbers the formula's tensors and subscripts use
// the statement's indices; in a nest it numbers the nest's buffers and subscripts use the nest's loops.
#pragma once

#include "ir/affine.h"
#include "ir/type.h"

#include <memory>

namespace cnnc {

enum class Fn : uint8_t {
  constant, // value
  index,    // at[0], as i64 (an index value; or n, the batch, through batch_index)
  read,     // tensor[at...]
  inside,   // 0 <= at[0] < at[1] and 0 <= at[2] < at[3] and ...
  cast,     // args[0] as `type`
  lane_sum, // nests only: args[0] summed over the lanes, in a fixed tree order
  lane_max, // nests only
#define FUNCTION(name, arguments, result) name,
#include "ir/functions.def"
#undef FUNCTION
};

std::string_view to_string(Fn);

struct Expr;
using ExprPtr = std::shared_ptr<const Expr>;

struct Expr {
  Fn fn = Fn::constant;
  DType type = DType::f32;
  double value = 0;          // constant; for i64 exact up to 2^53
  int tensor = -1;           // read
  bool checked = false;      // read: may fall outside its tensor, and is zero there
  std::vector<Affine> at;    // read, index, inside
  std::vector<ExprPtr> args; // functions
};

ExprPtr constant(double value, DType type); // of an integer type: what it can hold, as a cast does
ExprPtr index_value(Affine at);
ExprPtr read(int tensor, DType type, std::vector<Affine> at, bool checked = false);
ExprPtr inside(std::vector<Affine> pairs);
// Float to integer rounds towards zero and saturates (NaN is 0); integer to integer wraps around; bool is a != 0.
ExprPtr cast(DType to, ExprPtr a);
// Arguments must have the types that functions.def says; folds constants and the neutral elements (a + 0, a * 1, a * 0
// where a is finite is not folded: NaN must survive).
ExprPtr call(Fn fn, std::vector<ExprPtr> args);

bool equal(const Expr& a, const Expr& b);
// Bottom-up: every node rebuilt from its rewritten arguments, then passed through `rewrite`.
ExprPtr transform(const ExprPtr& e, const std::function<ExprPtr(const ExprPtr&)>& rewrite);
ExprPtr map_affine(const ExprPtr& e, const std::function<Affine(const Affine&)>& to);
void for_each(const Expr& e, const std::function<void(const Expr&)>& visit);
bool reads(const Expr& e, int tensor);

// One point of a function on numbers, in double precision: the meaning of functions.def.
double apply(Fn fn, const double* args);
// Likewise on integers of 64 bits, wrapping around; `wrap` brings the result back to a narrower type. All integer types
// are computed so. Not random, whose result is a float: that is random_unit(key, counter).
int64_t apply(Fn fn, const int64_t* args);
int64_t wrap(int64_t value, DType type);
double cast_value(DType to, double value); // cast of a float
int64_t to_integer(double value);          // of a cast to i64: 2^63 is the largest
bool takes_floats(Fn fn);                  // exp, log, sqrt, ...: not defined on integers

// "x[n,c,h+i-1,w+j-1] * weight[o,c,i,j]": the formula language, which parse_formula (ir/formula.h) reads back.
// Constants print as the shortest text that reads back equal.
struct ExprNames {
  std::function<std::string(int)> tensor;
  std::function<std::string(int)> index;
};
std::string to_string(const Expr& e, const ExprNames& names);

} // namespace cnnc
