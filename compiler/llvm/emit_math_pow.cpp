// pow in f32: 2^(y*log2(x)), computed in f64 so that one rounding remains.
//
//   log2(x) = e + 2/ln2 * s*a(s^2), x = 2^e * m, s = (m-1)/(m+1), a(s^2) = atanh(s)/s
//   2^t     = 2^n * p(t - n)
//
// Special cases as in C, Annex F.10.4.4: pow(1, y) = pow(x, 0) = pow(-1, infinity) = 1, also for NaN where C says so.
#include "compiler/llvm/emit_math_steps.h"

#include <llvm/IR/Intrinsics.h>

#include <limits>

namespace cnnc {

llvm::Value* emit_pow(llvm::IRBuilder<>& b, llvm::Value* x, llvm::Value* y, bool fma)
{
  constexpr double infinity = std::numeric_limits<double>::infinity();
  llvm::Type* narrow = x->getType();
  MathSteps single(b, narrow, fma);
  MathSteps m(b, narrow->getWithNewType(b.getDoubleTy()), fma);
  llvm::Value* size = b.CreateFPExt(single.abs(x), m.type);
  llvm::Value* power = b.CreateFPExt(y, m.type);

  // Every f32 but 0 is a normal f64.
  constexpr int64_t sqrt_half = 0x3fe6a09e667f3bcd, one = 0x3ff0000000000000;
  llvm::Value* moved = b.CreateAdd(m.bits(size), m.integer(one - sqrt_half));
  // The exponent as a number: its bits under those of 2^52 (shifts and subtractions that every target has).
  llvm::Value* biased = b.CreateOr(b.CreateLShr(moved, m.integer(52)), m.integer(0x4330000000000000));
  llvm::Value* e = b.CreateFSub(m.floats(biased), m.number(0x1p52 + 1023));
  llvm::Value* mantissa = m.floats(b.CreateAdd(b.CreateAnd(moved, m.integer(0xfffffffffffff)), m.integer(sqrt_half)));
  llvm::Value* s = b.CreateFDiv(b.CreateFSub(mantissa, m.number(1)), b.CreateFAdd(mantissa, m.number(1)));
  llvm::Value* z = b.CreateFMul(s, s);
  // z <= 0.0296: 2.8e-14
  llvm::Value* a = m.polynomial(z, {0x1.fffffffffff08p-1, 0x1.555555567b392p-2, 0x1.9999961461617p-3,
                                    0x1.249441d7fe52ep-3, 0x1.c61db303c9d3bp-4, 0x1.91c2a2b63928ep-4});
  llvm::Value* log2 = m.fma(b.CreateFMul(s, a), m.number(0x1.71547652b82fep+1), e);
  log2 = b.CreateSelect(b.CreateFCmpOEQ(size, m.number(0)), m.number(-infinity), log2);
  log2 = b.CreateSelect(b.CreateFCmpOEQ(size, m.number(infinity)), m.number(infinity), log2);
  log2 = b.CreateSelect(b.CreateFCmpUNO(size, size), size, log2);

  constexpr double rounding = 0x1.8p52;
  llvm::Value* t = m.at_least(m.at_most(b.CreateFMul(power, log2), 200), -200);
  llvm::Value* shifted = b.CreateFAdd(t, m.number(rounding));
  llvm::Value* r = b.CreateFSub(t, b.CreateFSub(shifted, m.number(rounding)));
  // |r| <= 0.501, weight 2^-r: 4.1e-11
  llvm::Value* p =
      m.polynomial(r, {0x1.ffffffffaa67bp-1, 0x1.62e42ff11c1aep-1, 0x1.ebfbe0a6cd221p-3, 0x1.c6b08aa6b02b9p-5,
                       0x1.3b29da82da4a0p-7, 0x1.5d8a758eec0c4p-10, 0x1.446b8810c0f3fp-13, 0x1.fe15c301495a6p-17});
  llvm::Value* scale = m.floats(b.CreateShl(b.CreateAdd(m.bits(shifted), m.integer(1023)), m.integer(52)));
  llvm::Value* result = b.CreateFPTrunc(b.CreateFMul(p, scale), narrow);

  // A negative x: the power must be an integer, and an odd one keeps the sign.
  llvm::Value* negative = b.CreateICmpSLT(single.bits(x), single.integer(0));
  llvm::Value* large = b.CreateFCmpOGE(single.abs(y), single.number(0x1p24)); // even integers, infinity too
  auto is_integer = [&](llvm::Value* v) {
    llvm::Value* rounded = b.CreateFSub(b.CreateFAdd(v, m.number(rounding)), m.number(rounding));
    return b.CreateFCmpOEQ(rounded, v);
  };
  llvm::Value* odd =
      b.CreateAnd(b.CreateAnd(negative, b.CreateNot(large)),
                  b.CreateAnd(is_integer(power), b.CreateNot(is_integer(b.CreateFMul(power, m.number(0.5))))));
  result = b.CreateSelect(odd, b.CreateFNeg(result), result);
  llvm::Value* no_root =
      b.CreateAnd(b.CreateAnd(b.CreateFCmpOLT(x, single.number(0)), b.CreateFCmpOGT(x, single.number(-infinity))),
                  b.CreateAnd(b.CreateNot(large), b.CreateNot(is_integer(power))));
  // A NaN power is no integer either, and NaN all the same.
  result = b.CreateSelect(no_root, single.number(std::numeric_limits<double>::quiet_NaN()), result);
  llvm::Value* is_one = b.CreateOr(b.CreateFCmpOEQ(x, single.number(1)), b.CreateFCmpOEQ(y, single.number(0)));
  llvm::Value* minus_one =
      b.CreateAnd(b.CreateFCmpOEQ(x, single.number(-1)), b.CreateFCmpOEQ(single.abs(y), single.number(infinity)));
  return b.CreateSelect(b.CreateOr(is_one, minus_one), single.number(1), result);
}

} // namespace cnnc
