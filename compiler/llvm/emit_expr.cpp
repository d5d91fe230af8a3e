// Values: a scalar where no lanes index occurs, else a vector of the lanes. Scalars are spread where they meet a
// vector.
#include "compiler/llvm/emit_math.h"
#include "compiler/llvm/emitter.h"

#include "ir/location.h"

#include <llvm/IR/Intrinsics.h>

namespace cnnc {

namespace {

bool is_unsigned(DType type)
{
  return type == DType::u8 || type == DType::boolean;
}

// number + exp(x), a sigmoid's divisor, or number + erf(x): what the number swallows of them need not be computed.
bool is_beside(const Expr& e, const Expr& number)
{
  return number.fn == Fn::constant &&
         ((e.fn == Fn::exp && number.value >= 0x1p-64) || (e.fn == Fn::erf && number.value >= 1));
}

} // namespace

void Emitter::match(llvm::Value*& x, llvm::Value*& y)
{
  if (is_vector(x) && !is_vector(y))
    y = as_lanes(y);
  else if (is_vector(y) && !is_vector(x))
    x = as_lanes(x);
}

llvm::Value* Emitter::index_value(const Affine& at)
{
  Affine s = known(at);
  return lanes.index >= 0 && s.uses(lanes.index) ? lane_values(s, b.getInt64Ty()) : scalar(s);
}

llvm::Value* Emitter::value(const Expr& e)
{
  spend(1);
  switch (e.fn) {
  case Fn::constant:
    if (is_float(e.type))
      return llvm::ConstantFP::get(value_type(e.type), e.value);
    if (e.type == DType::boolean)
      return b.getInt1(e.value != 0);
    return llvm::ConstantInt::getSigned(value_type(e.type), to_integer(e.value));
  case Fn::index: return index_value(e.at.at(0));
  case Fn::read: return load(e.tensor, e.at, e.checked);
  case Fn::inside: {
    Mask mask;
    for (size_t i = 0; i + 1 < e.at.size(); i += 2)
      check(mask, known(e.at[i]), known(e.at[i + 1]), 0, 0);
    if (!mask.vector && mask.lanes.empty())
      return mask.condition ? mask.condition : b.getTrue();
    return mask_value(mask);
  }
  case Fn::cast: return cast(e);
  case Fn::lane_sum:
  case Fn::lane_max: return reduce_lanes(e);
  default: return function(e);
  }
}

// product + addend or, negated, addend - product: rounded once where the target can.
llvm::Value* Emitter::fused(const Expr& product, llvm::Value* addend, bool negated)
{
  llvm::Value* x = value(*product.args[0]);
  llvm::Value* y = value(*product.args[1]);
  match(x, y);
  match(x, addend);
  match(y, addend);
  if (!target.fma) {
    llvm::Value* xy = b.CreateFMul(x, y);
    return negated ? b.CreateFSub(addend, xy) : b.CreateFAdd(xy, addend);
  }
  if (negated)
    x = b.CreateFNeg(x);
  return b.CreateIntrinsic(llvm::Intrinsic::fma, {addend->getType()}, {x, y, addend});
}

llvm::Value* Emitter::sum_with(const Expr& number, const Expr& function)
{
  spend(20);
  const bool negated = function.fn == Fn::exp && function.args[0]->fn == Fn::neg;
  llvm::Value* x = value(negated ? *function.args[0]->args[0] : *function.args[0]);
  llvm::Value* c = value(number);
  match(c, x);
  return function.fn == Fn::exp ? emit_sum_with_exp(b, c, x, negated, target.fma)
                                : emit_sum_with_erf(b, c, x, target.fma);
}

llvm::Value* Emitter::function(const Expr& e)
{
  DType of = e.args.at(0)->type; // of the operands: e.type is bool for comparisons
  bool floats = is_float(of);
  auto is_product = [&](const ExprPtr& arg) { return floats && arg->fn == Fn::mul; };
  if (e.fn == Fn::add && is_product(e.args[0]))
    return fused(*e.args[0], value(*e.args[1]));
  if (e.fn == Fn::add && is_product(e.args[1]))
    return fused(*e.args[1], value(*e.args[0]));
  if (e.fn == Fn::sub && is_product(e.args[1]))
    return fused(*e.args[1], value(*e.args[0]), true);
  if (e.fn == Fn::random)
    return random(e);
  if (e.fn == Fn::add && is_beside(*e.args[0], *e.args[1]))
    return sum_with(*e.args[1], *e.args[0]);
  if (e.fn == Fn::add && is_beside(*e.args[1], *e.args[0]))
    return sum_with(*e.args[0], *e.args[1]);

  llvm::Value* x = value(*e.args[0]);
  llvm::Value* y = e.args.size() > 1 ? value(*e.args[1]) : nullptr;
  llvm::Value* z = e.args.size() > 2 ? value(*e.args[2]) : nullptr;
  if (y && !(e.fn == Fn::select && !is_vector(x))) // a scalar condition chooses whole vectors
    match(x, y);
  if (z) {
    match(y, z);
    if (e.fn == Fn::select && is_vector(x))
      z = as_lanes(z);
  }
  llvm::Type* type = x->getType();

  switch (e.fn) {
  case Fn::add: return floats ? b.CreateFAdd(x, y) : b.CreateAdd(x, y);
  case Fn::sub: return floats ? b.CreateFSub(x, y) : b.CreateSub(x, y);
  case Fn::mul: return floats ? b.CreateFMul(x, y) : b.CreateMul(x, y);
  case Fn::div: return floats ? b.CreateFDiv(x, y) : divide(x, y, of);
  case Fn::neg: return floats ? b.CreateFNeg(x) : b.CreateNeg(x);
  // The operands' order makes each one instruction, NaN included.
  case Fn::min:
    return b.CreateSelect(floats            ? b.CreateFCmpOLT(y, x)
                          : is_unsigned(of) ? b.CreateICmpULT(y, x)
                                            : b.CreateICmpSLT(y, x),
                          y, x);
  case Fn::max:
    return b.CreateSelect(floats            ? b.CreateFCmpOGT(y, x)
                          : is_unsigned(of) ? b.CreateICmpUGT(y, x)
                                            : b.CreateICmpSGT(y, x),
                          y, x);
  case Fn::less:
    return floats ? b.CreateFCmpOLT(x, y) : is_unsigned(of) ? b.CreateICmpULT(x, y) : b.CreateICmpSLT(x, y);
  case Fn::less_equal:
    return floats ? b.CreateFCmpOLE(x, y) : is_unsigned(of) ? b.CreateICmpULE(x, y) : b.CreateICmpSLE(x, y);
  case Fn::equal: return floats ? b.CreateFCmpOEQ(x, y) : b.CreateICmpEQ(x, y);
  case Fn::both: return b.CreateAnd(x, y);
  case Fn::either: return b.CreateOr(x, y);
  case Fn::negate: return b.CreateNot(x);
  case Fn::select: return b.CreateSelect(x, y, z);
  case Fn::abs:
    if (floats)
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x);
    return is_unsigned(of) ? x
                           : b.CreateSelect(b.CreateICmpSLT(x, llvm::Constant::getNullValue(type)), b.CreateNeg(x), x);
  case Fn::sqrt: return b.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, x);
  case Fn::rsqrt: return b.CreateFDiv(llvm::ConstantFP::get(type, 1), b.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, x));
  case Fn::floor: return b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, x);
  case Fn::round: return b.CreateUnaryIntrinsic(llvm::Intrinsic::roundeven, x);
  case Fn::exp:
  case Fn::log:
  case Fn::tanh:
  case Fn::erf:
  case Fn::pow: spend(20); return emit_math(e.fn, b, x, y, target.fma);
  default: fail("no code for the function " + std::string(to_string(e.fn)));
  }
}

// Towards zero; by zero gives zero, and the least number by -1 wraps around.
llvm::Value* Emitter::divide(llvm::Value* x, llvm::Value* y, DType type)
{
  llvm::Constant* none = llvm::Constant::getNullValue(y->getType());
  llvm::Constant* one = llvm::ConstantInt::get(y->getType(), 1);
  llvm::Value* by_zero = b.CreateICmpEQ(y, none);
  if (is_unsigned(type))
    return b.CreateSelect(by_zero, none, b.CreateUDiv(x, b.CreateSelect(by_zero, one, y)));
  llvm::Value* by_minus_one = b.CreateICmpEQ(y, llvm::Constant::getAllOnesValue(y->getType()));
  llvm::Value* quotient = b.CreateSDiv(x, b.CreateSelect(b.CreateOr(by_zero, by_minus_one), one, y));
  return b.CreateSelect(by_zero, none, b.CreateSelect(by_minus_one, b.CreateNeg(x), quotient));
}

// Clamped as a float, which is two instructions, then an i32 whose upper bytes go. What was rounded before is rounded by
// the conversion itself.
llvm::Value* Emitter::to_byte(const Expr& e)
{
  const bool rounds = e.args[0]->fn == Fn::round;
  llvm::Value* v = value(rounds ? *e.args[0]->args[0] : *e.args[0]);
  llvm::Type* type = v->getType();
  auto number = [&](double x) { return llvm::ConstantFP::get(type, x); };
  const double least = e.type == DType::u8 ? 0 : -128, most = e.type == DType::u8 ? 255 : 127;
  if (least != 0) // NaN is 0
    v = b.CreateSelect(b.CreateFCmpUNO(v, v), number(0), v);
  v = b.CreateSelect(b.CreateFCmpOGT(v, number(least)), v, number(least));
  v = b.CreateSelect(b.CreateFCmpOLT(v, number(most)), v, number(most));
  llvm::Type* wide = type->getWithNewType(b.getInt32Ty());
  v = rounds ? b.CreateIntrinsic(llvm::Intrinsic::lrint, {wide, type}, {v}) : b.CreateFPToSI(v, wide);
  return b.CreateTrunc(v, type->getWithNewType(b.getInt8Ty()));
}

// Float to integer rounds towards zero and saturates (NaN is 0); integer to integer wraps around; to bool: is it not 0.
llvm::Value* Emitter::cast(const Expr& e)
{
  DType from = e.args.at(0)->type;
  llvm::Value* v = value(*e.args[0]);
  llvm::Type* to = v->getType()->getWithNewType(value_type(e.type));
  if (v->getType() == to && (is_float(from) == is_float(e.type)))
    return v;
  if (e.type == DType::boolean)
    return is_float(from) ? b.CreateFCmpUNE(v, llvm::Constant::getNullValue(v->getType())) : b.CreateIsNotNull(v);
  if (is_float(from) && is_float(e.type))
    return b.CreateFPCast(v, to);
  if (is_float(from) && (e.type == DType::u8 || e.type == DType::i8))
    return to_byte(e);
  if (is_float(from))
    return b.CreateIntrinsic(e.type == DType::u8 ? llvm::Intrinsic::fptoui_sat : llvm::Intrinsic::fptosi_sat,
                             {to, v->getType()}, {v});
  if (is_float(e.type))
    return is_unsigned(from) ? b.CreateUIToFP(v, to) : b.CreateSIToFP(v, to);
  return b.CreateIntCast(v, to, !is_unsigned(from));
}

// ir/random.h, step by step.
llvm::Value* Emitter::random(const Expr& e)
{
  llvm::Value* key = value(*e.args.at(0));
  llvm::Value* counter = value(*e.args.at(1));
  match(key, counter);
  llvm::Type* wide = key->getType();
  auto number = [&](uint64_t n) { return llvm::ConstantInt::get(wide, n); };
  auto swap_halves = [&](llvm::Value* v) {
    return b.CreateOr(b.CreateLShr(v, number(32)), b.CreateShl(v, number(32)));
  };
  llvm::Value* x = b.CreateMul(counter, key);
  llvm::Value* y = x;
  llvm::Value* z = b.CreateAdd(y, key);
  for (llvm::Value* more : {y, z, y})
    x = swap_halves(b.CreateAdd(b.CreateMul(x, x), more));
  llvm::Value* bits = b.CreateLShr(b.CreateAdd(b.CreateMul(x, x), z), number(40)); // the upper 24 of 32
  llvm::Type* type = wide->getWithNewType(value_type(e.type));
  llvm::Value* small = b.CreateTrunc(bits, wide->getWithNewType(b.getInt32Ty()));
  return b.CreateFMul(b.CreateSIToFP(small, type), llvm::ConstantFP::get(type, 0x1p-24));
}

// Halves are added until one lane is left: the order depends on the width alone.
llvm::Value* Emitter::reduce_lanes(const Expr& e)
{
  if (lanes.index < 0) // a loop of one lane
    return value(*e.args.at(0));
  llvm::Value* v = as_lanes(value(*e.args.at(0)));
  DType type = e.args[0]->type;
  bool floats = is_float(type), sum = e.fn == Fn::lane_sum;
  if (!lanes.all()) {
    llvm::Value* identity = llvm::Constant::getNullValue(v->getType());
    auto taking_part = std::find(lanes.active.begin(), lanes.active.end(), true) - lanes.active.begin();
    if (!sum)
      identity = as_lanes(b.CreateExtractElement(v, static_cast<uint64_t>(taking_part)));
    v = b.CreateSelect(mask_value(lane_mask()), v, identity);
  }
  for (int half = lanes.width / 2; half >= 1; half /= 2) {
    std::vector<int> lower, upper;
    for (int lane = 0; lane < half; ++lane) {
      lower.push_back(lane);
      upper.push_back(half + lane);
    }
    llvm::Value* x = b.CreateShuffleVector(v, lower);
    llvm::Value* y = b.CreateShuffleVector(v, upper);
    if (sum)
      v = floats ? b.CreateFAdd(x, y) : b.CreateAdd(x, y);
    else
      v = b.CreateSelect(floats              ? b.CreateFCmpOGT(y, x)
                         : is_unsigned(type) ? b.CreateICmpUGT(y, x)
                                             : b.CreateICmpSGT(y, x),
                         y, x);
  }
  return b.CreateExtractElement(v, uint64_t{0});
}

} // namespace cnnc
