// A value's syntax and what its names mean => a typed Expr.
#pragma once

#include "ir/formula_syntax.h"

namespace cnnc {

struct TermScope {
  const FormulaText& text;
  DType float_type; // of functions of integers, and of real numbers where nothing else decides
  Lookup lookup;    // an index, a symbol or the batch
  std::function<ExprPtr(const Syntax&)> read;   // name[...]
  std::function<ExprPtr(const Syntax&)> inside; // inside(name[...])
};

ExprPtr bind_term(const Syntax&, DType wanted, const TermScope&);

} // namespace cnnc
