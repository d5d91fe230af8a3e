// The vocabulary of emit_math*.cpp, on one type: f32 or f64, a scalar or a vector.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include <initializer_list>

namespace cnnc {

struct MathSteps {
  llvm::IRBuilder<>& b;
  llvm::Type* type;
  llvm::Type* integers; // of the same width
  bool has_fma;

  MathSteps(llvm::IRBuilder<>& b, llvm::Type* type, bool fma)
      : b(b),
        type(type),
        integers(type->getWithNewType(b.getIntNTy(type->getScalarSizeInBits()))),
        has_fma(fma)
  {
  }

  llvm::Constant* number(double x) { return llvm::ConstantFP::get(type, x); }
  llvm::Constant* integer(int64_t x) { return llvm::ConstantInt::getSigned(integers, x); }
  llvm::Value* bits(llvm::Value* x) { return b.CreateBitCast(x, integers); }
  llvm::Value* floats(llvm::Value* x) { return b.CreateBitCast(x, type); }
  llvm::Value* fma(llvm::Value* x, llvm::Value* y, llvm::Value* z)
  {
    return has_fma ? b.CreateIntrinsic(llvm::Intrinsic::fma, {type}, {x, y, z}) : b.CreateFAdd(b.CreateFMul(x, y), z);
  }
  // Lowest power first.
  llvm::Value* polynomial(llvm::Value* x, std::initializer_list<double> coefficients)
  {
    llvm::Value* sum = nullptr;
    for (auto c = coefficients.end(); c != coefficients.begin();) {
      --c;
      sum = sum ? fma(sum, x, number(*c)) : number(*c);
    }
    return sum;
  }
  // A NaN stays one.
  llvm::Value* at_most(llvm::Value* x, double y) { return b.CreateSelect(b.CreateFCmpOGT(x, number(y)), number(y), x); }
  llvm::Value* at_least(llvm::Value* x, double y)
  {
    return b.CreateSelect(b.CreateFCmpOLT(x, number(y)), number(y), x);
  }
  llvm::Value* abs(llvm::Value* x) { return b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x); }
  llvm::Value* with_sign(llvm::Value* x, llvm::Value* sign)
  {
    return b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, x, sign);
  }
};

llvm::Value* emit_pow(llvm::IRBuilder<>& b, llvm::Value* x, llvm::Value* y, bool fma);

} // namespace cnnc
