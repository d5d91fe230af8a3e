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

// An assembler text, of which LLVM knows no more than that it has an effect; `operand` may be none.
llvm::CallInst* Emitter::in_place(llvm::Type* type, std::string_view text, const char* constraints,
                                  llvm::Value* operand)
{
  std::vector<llvm::Type*> types;
  std::vector<llvm::Value*> operands;
  if (operand) {
    types.push_back(operand->getType());
    operands.push_back(operand);
  }
  auto* called = llvm::FunctionType::get(type, types, false);
  llvm::CallInst* call =
      b.CreateCall(called, llvm::InlineAsm::get(called, text, constraints, /*hasSideEffects=*/true), operands);
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

// LLVM gathers loads that lie near each other, a step's vectors of weights with those of the next step: two more numbers
// that are alive, for which 28 accumulators leave no register. It does so between two effects, and a prefetch is one.
void Emitter::read_here(int buffer)
{
  const Buffer& weights = nest.buffers[static_cast<size_t>(buffer)];
  if (fills_registers && weights.role == BufferRole::in && !has_batch(weights.type.shape))
    in_place(b.getVoidTy(), "", "", nullptr);
}

} // namespace cnnc
