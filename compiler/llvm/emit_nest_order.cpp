// Where LLVM leaves instructions in the order in which they were written.
//
//   store max(min(a0, 6), 0); store max(min(a1, 6), 0); ...    stays so, and does not become
//   all min, all max, all stores
//
// Where the sums end in a loop: behind sums in a straight line LLVM writes each store beside the last product by itself.
// A store takes two cycles for a vector of 64 bytes. One whose number has just been computed takes it on its way; one that
// comes later reads it from the register file, where multiply-adds then wait. 28 accumulators with two operations each,
// stored one after the other beside their operations, cost 10 to 20 cycles on Zen 4; in groups 65.
#include "compiler/llvm/emitter.h"

#include <llvm/IR/InlineAsm.h>

namespace cnnc {

// An assembler text, of which LLVM knows no more than that it has an effect.
llvm::CallInst* Emitter::in_place(llvm::Type* type, std::string_view text, const char* constraints,
                                  llvm::Value* operand)
{
  auto* called = llvm::FunctionType::get(type, {operand->getType()}, false);
  llvm::CallInst* call =
      b.CreateCall(called, llvm::InlineAsm::get(called, text, constraints, /*hasSideEffects=*/true), {operand});
  call->setDoesNotThrow();
  call->setMemoryEffects(llvm::MemoryEffects::inaccessibleMemOnly());
  return call;
}

// `v`, as if it were made here: an empty text, the result of which is where its operand was.
llvm::Value* Emitter::made_here(llvm::Value* v)
{
  const auto bits = static_cast<int64_t>(v->getType()->getPrimitiveSizeInBits().getFixedValue());
  if (!is_vector(v) || bits < 128 || bits > target.vector_bytes * 8)
    return v;
  return in_place(v->getType(), "", "=v,0", v);
}

// LLVM's intrinsics all go to the top of their block: a hundred of them at once fill the queue in front of the cache, and
// the multiply-adds behind them wait.
void Emitter::prefetch_here(llvm::Value* at, std::string_view instruction)
{
  llvm::CallInst* call = in_place(b.getVoidTy(), std::string(instruction) + " $0", "*m", at);
  call->addParamAttr(0, llvm::Attribute::get(b.getContext(), llvm::Attribute::ElementType, b.getInt8Ty()));
}

} // namespace cnnc
