// exp, log, tanh, erf, pow on one f32 or a vector of them, as polynomials of at most 2 ulp; on f64 as calls of libm.
// NaN, infinities, overflow and underflow (subnormals too) as IEEE 754 and C's Annex F say.
#pragma once

#include "ir/expr.h"

#include <llvm/IR/IRBuilder.h>

namespace cnnc {

// `second` is only for pow. `fma`: the target has it.
llvm::Value* emit_math(Fn fn, llvm::IRBuilder<>& b, llvm::Value* a, llvm::Value* second, bool fma);
// c + exp(x) or, negated, c + exp(-x), for c no smaller than 2^-64: what of exp(x) is lost beside it
// needs no care.
llvm::Value* emit_sum_with_exp(llvm::IRBuilder<>& b, llvm::Value* c, llvm::Value* x, bool negated, bool fma);
// c + erf(x) for c no smaller than 1, to about a unit of the last place of c.
llvm::Value* emit_sum_with_erf(llvm::IRBuilder<>& b, llvm::Value* c, llvm::Value* x, bool fma);

} // namespace cnnc
