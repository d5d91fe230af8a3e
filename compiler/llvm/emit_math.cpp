// exp, log, tanh and erf in f32 (range reductions as in Cody and Waite, "Software Manual for the Elementary Functions",
// 1980). Each polynomial is minimax, by Remez exchange in 30 digits, on the range and with the weight given beside it.
//
//   exp   x = n*ln2 + r, |r| <= ln2/2     2^n * (1 + r + r^2*q(r))
//   log   x = 2^e * m, m in [sqrt(1/2), sqrt(2)), f = m - 1, s = f/(2+f):
//         e*ln2 + f - f^2/2 + s*(f^2/2 + s^2*g(s^2))
//   tanh  |x| < 0.625: x + x^3*p(x^2)     else 1 - 2/(exp(2|x|) + 1)
//   erf   |x| < 0.925: x + x*p(x^2)       else 1 - exp(q(|x|)), q = log(erfc)
//
// Beside a number c of about one, what their results lack below c's last place does not count:
//
//   c + exp(x)    m * 2^n + c, with no care for subnormal results
//   c + erf(x)    c + 1 - exp(r(|x|)) or c - 1 + exp(r(|x|)), by x's sign; r = log(erfc) on all of its range
#include "compiler/llvm/emit_math.h"

#include "compiler/llvm/emit_math_steps.h"
#include "ir/location.h"

#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/Module.h>

#include <limits>

namespace cnnc {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
// ln2 in two parts: n times the upper one is exact for every exponent n.
constexpr double ln2_upper = 0x1.63p-1, ln2_lower = -0x1.bd0105c610ca8p-13;

// exp(x) = mantissa * 2^(n - 1), with 1.4 < mantissa < 2.9; n lies in the lower bits of `shifted`.
struct PartsOfExp {
  llvm::Value *mantissa, *shifted;
};

PartsOfExp emit_parts_of_exp(MathSteps& m, llvm::Value* x)
{
  constexpr double rounding = 0x1.8p23; // adding it rounds to an integer
  llvm::Value* shifted = m.fma(x, m.number(0x1.715476p0), m.number(rounding));
  llvm::Value* n = m.b.CreateFSub(shifted, m.number(rounding));
  llvm::Value* r = m.fma(n, m.number(-ln2_upper), x);
  r = m.fma(n, m.number(-ln2_lower), r);
  // |r| <= 0.348, weight r^2/exp(r): 3.1e-9, and all of it twice. In pairs: a chain of 4 steps instead of 7.
  llvm::Value* square = m.b.CreateFMul(r, r);
  llvm::Value* low = m.fma(r, m.number(0x1.55548f0e60659p-2), m.number(0x1.fffffb86b5408p-1));
  llvm::Value* high = m.fma(r, m.number(0x1.123b9ab28040fp-6), m.number(0x1.5558fc30492c7p-4));
  high = m.fma(square, m.number(0x1.6a215a8893c22p-9), high);
  low = m.fma(square, high, low);
  return {m.fma(square, low, m.fma(r, m.number(2), m.number(2))), shifted};
}

// 2^(e - 1): a normal number, or 0 for e = -126. Of e only the lower bits count.
llvm::Value* half_power_of_two(MathSteps& m, llvm::Value* e)
{
  return m.floats(m.b.CreateAdd(m.b.CreateShl(e, m.integer(23)), m.integer(int64_t{126} << 23)));
}

llvm::Value* emit_exp(MathSteps& m, llvm::Value* x)
{
  const PartsOfExp parts = emit_parts_of_exp(m, m.at_most(m.at_least(x, -104), 89));
  // In two factors, so that the largest and the subnormal results are rounded once.
  llvm::Value* n = m.b.CreateSub(m.bits(parts.shifted), m.integer(0x4b400000));
  llvm::Value* half = m.b.CreateAShr(n, m.integer(1));
  llvm::Value* rest = m.b.CreateAdd(m.b.CreateSub(n, half), m.integer(1));
  return m.b.CreateFMul(m.b.CreateFMul(parts.mantissa, half_power_of_two(m, half)), half_power_of_two(m, rest));
}

// c + exp(x) for |x| <= 87, or NaN; below, exp(x) is 0.
llvm::Value* emit_exp_and(MathSteps& m, llvm::Value* c, llvm::Value* x)
{
  const PartsOfExp parts = emit_parts_of_exp(m, x);
  return m.fma(parts.mantissa, half_power_of_two(m, m.bits(parts.shifted)), c);
}

llvm::Value* emit_log(MathSteps& m, llvm::Value* x)
{
  llvm::Value* is_subnormal = m.b.CreateFCmpOLT(x, m.number(0x1p-126));
  llvm::Value* normal = m.b.CreateSelect(is_subnormal, m.b.CreateFMul(x, m.number(0x1p23)), x);
  // Exponent and mantissa of x / sqrt(1/2), so that m lies around 1.
  constexpr int64_t sqrt_half = 0x3f3504f3, one = 0x3f800000;
  llvm::Value* moved = m.b.CreateAdd(m.bits(normal), m.integer(one - sqrt_half));
  llvm::Value* e = m.b.CreateSub(m.b.CreateAShr(moved, m.integer(23)), m.integer(127));
  e = m.b.CreateSub(e, m.b.CreateSelect(is_subnormal, m.integer(23), m.integer(0)));
  e = m.b.CreateSIToFP(e, x->getType());
  llvm::Value* mantissa = m.floats(m.b.CreateAdd(m.b.CreateAnd(moved, m.integer(0x7fffff)), m.integer(sqrt_half)));
  llvm::Value* f = m.b.CreateFSub(mantissa, m.number(1));
  llvm::Value* s = m.b.CreateFDiv(f, m.b.CreateFAdd(f, m.number(2)));
  llvm::Value* z = m.b.CreateFMul(s, s);
  // z <= 0.0296: (2 atanh(s) - 2s)/s^3 to 1.9e-7
  llvm::Value* g = m.polynomial(z, {0x1.55555bab6e52dp-1, 0x1.997bb987294cep-2, 0x1.2ef93490014e1p-2});
  llvm::Value* half_square = m.b.CreateFMul(m.b.CreateFMul(f, m.number(0.5)), f);
  llvm::Value* small = m.b.CreateFMul(s, m.fma(z, g, half_square));
  small = m.fma(e, m.number(ln2_lower), small);
  llvm::Value* result = m.b.CreateFSub(f, m.b.CreateFSub(half_square, small));
  result = m.fma(e, m.number(ln2_upper), result);
  result = m.b.CreateSelect(m.b.CreateFCmpOLT(x, m.number(infinity)), result, x); // infinity and NaN are their own
  result = m.b.CreateSelect(m.b.CreateFCmpOLT(x, m.number(0)), m.number(not_a_number), result);
  return m.b.CreateSelect(m.b.CreateFCmpOEQ(x, m.number(0)), m.number(-infinity), result);
}

llvm::Value* emit_tanh(MathSteps& m, llvm::Value* x)
{
  llvm::Value* size = m.abs(x);
  llvm::Value* z = m.b.CreateFMul(x, x);
  // z <= 0.625^2, weight x^3/tanh(x): 1.6e-10
  llvm::Value* p = m.polynomial(z, {-0x1.555553a3752a5p-2, 0x1.111066692d93bp-3, -0x1.b9ee99e295874p-5,
                                    0x1.638bb1072a222p-6, -0x1.0bf65610e1d02p-7, 0x1.18e5b34c76596p-9});
  llvm::Value* small = m.fma(m.b.CreateFMul(x, z), p, x);
  llvm::Value* limited = m.at_most(size, 10); // 1 - tanh(10) is far below half an ulp
  llvm::Value* divisor = emit_exp_and(m, m.number(1), m.b.CreateFAdd(limited, limited));
  llvm::Value* large = m.b.CreateFSub(m.number(1), m.b.CreateFDiv(m.number(2), divisor));
  // The sign at the end: x + x^3*p would make a zero of -0.
  return m.with_sign(m.b.CreateSelect(m.b.CreateFCmpOLT(size, m.number(0.625)), small, large), x);
}

llvm::Value* emit_erf(MathSteps& m, llvm::Value* x)
{
  llvm::Value* size = m.abs(x);
  llvm::Value* z = m.b.CreateFMul(x, x);
  // z <= 0.93^2: erf(x)/x to 4.6e-10, less 1 so that the first coefficient's rounding does not show
  llvm::Value* p =
      m.polynomial(z, {0x1.20dd7501f3a06p+0 - 1, -0x1.812742db3916bp-2, 0x1.ce2e09449ff0ep-4, -0x1.b80e9233da215p-6,
                       0x1.54c7fbd631f70p-8, -0x1.aa3f4459c2038p-11, 0x1.5cd4a0875ed69p-14});
  llvm::Value* small = m.fma(x, p, x);
  // 0.92 <= |x| <= 4, weight erfc: 4.2e-11
  llvm::Value* t = m.at_most(size, 4);
  llvm::Value* q =
      m.polynomial(t, {0x1.70debe3b9ff43p-13, -0x1.2128484280abbp+0, -0x1.44446a4d25c63p-1, -0x1.bb92aa5268797p-4,
                       0x1.9bb5bcd01c8ccp-6, -0x1.1197f1e503329p-8, 0x1.c85fec6ca30d4p-12, -0x1.630f3a28dc2f9p-16});
  llvm::Value* large = m.b.CreateFNeg(emit_exp_and(m, m.number(-1), q));
  return m.b.CreateSelect(m.b.CreateFCmpOLT(size, m.number(0.925)), small, m.with_sign(large, x));
}

llvm::Value* emit_erf_and(MathSteps& m, llvm::Value* c, llvm::Value* x)
{
  llvm::Value* t = m.at_most(m.abs(x), 6);
  // t <= 6, weight erfc: 1.6e-8; the first coefficient without its 1, so that its rounding does not show
  llvm::Value* r =
      m.polynomial(t, {-0x1.20dd873595f6cp+0 + 1, -0x1.45f0235d45f2ap-1, -0x1.a58f09213322ap-4, 0x1.40dd139639038p-6,
                       -0x1.1981bea1537p-11, -0x1.0ea35f830b8p-10, 0x1.43cd8a96384p-12, -0x1.07bd515884p-15});
  const PartsOfExp parts = emit_parts_of_exp(m, m.fma(t, r, m.b.CreateFNeg(t)));
  llvm::Value* power = m.with_sign(half_power_of_two(m, m.bits(parts.shifted)), m.b.CreateFNeg(x));
  return m.fma(parts.mantissa, power, m.b.CreateFAdd(c, m.with_sign(m.number(1), x)));
}

// f64: libm, lane by lane.
llvm::Value* emit_libm(Fn fn, llvm::IRBuilder<>& b, llvm::Value* x, llvm::Value* y)
{
  llvm::Module& module = *b.GetInsertBlock()->getModule();
  llvm::Type* type = b.getDoubleTy();
  std::vector<llvm::Type*> types(y ? 2 : 1, type);
  llvm::FunctionCallee callee = module.getOrInsertFunction(to_string(fn), llvm::FunctionType::get(type, types, false));
  auto* function = llvm::cast<llvm::Function>(callee.getCallee());
  function->setDoesNotThrow();
  function->setDoesNotAccessMemory();
  function->addFnAttr(llvm::Attribute::WillReturn);
  auto call = [&](llvm::Value* a, llvm::Value* c) {
    return c ? b.CreateCall(callee, {a, c}) : b.CreateCall(callee, {a});
  };
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(x->getType());
  if (!vector)
    return call(x, y);
  llvm::Value* all = llvm::PoisonValue::get(vector);
  for (uint64_t lane = 0; lane < vector->getNumElements(); ++lane)
    all = b.CreateInsertElement(
        all, call(b.CreateExtractElement(x, lane), y ? b.CreateExtractElement(y, lane) : nullptr), lane);
  return all;
}

} // namespace

llvm::Value* emit_sum_with_exp(llvm::IRBuilder<>& b, llvm::Value* c, llvm::Value* x, bool negated, bool fma)
{
  if (x->getType()->getScalarType()->isDoubleTy())
    return b.CreateFAdd(c, emit_libm(Fn::exp, b, negated ? b.CreateFNeg(x) : x, nullptr));
  MathSteps m(b, x->getType(), fma);
  // The sign behind the limits: there it is one of the products' and costs nothing.
  x = m.at_most(m.at_least(x, negated ? -89 : -87), negated ? 87 : 89);
  return emit_exp_and(m, c, negated ? b.CreateFNeg(x) : x);
}

llvm::Value* emit_sum_with_erf(llvm::IRBuilder<>& b, llvm::Value* c, llvm::Value* x, bool fma)
{
  if (x->getType()->getScalarType()->isDoubleTy())
    return b.CreateFAdd(c, emit_libm(Fn::erf, b, x, nullptr));
  MathSteps m(b, x->getType(), fma);
  return emit_erf_and(m, c, x);
}

llvm::Value* emit_math(Fn fn, llvm::IRBuilder<>& b, llvm::Value* a, llvm::Value* second, bool fma)
{
  if (a->getType()->getScalarType()->isDoubleTy())
    return emit_libm(fn, b, a, second);
  MathSteps m(b, a->getType(), fma);
  switch (fn) {
  case Fn::exp: return emit_exp(m, a);
  case Fn::log: return emit_log(m, a);
  case Fn::tanh: return emit_tanh(m, a);
  case Fn::erf: return emit_erf(m, a);
  case Fn::pow: return emit_pow(b, a, second, fma);
  default: throw InternalError("emit_math: not a transcendental function");
  }
}

} // namespace cnnc
