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

// `v`, as if it were made here: an empty assembler text, of which LLVM knows no more than that it has an effect, and
// that its result is where its operand was.
llvm::Value* Emitter::made_here(llvm::Value* v)
{
  llvm::Type* type = v->getType();
  const auto bits = static_cast<int64_t>(type->getPrimitiveSizeInBits().getFixedValue());
  if (!is_vector(v) || bits < 128 || bits > target.vector_bytes * 8)
    return v;
  auto* text = llvm::FunctionType::get(type, {type}, false);
  llvm::CallInst* call = b.CreateCall(text, llvm::InlineAsm::get(text, "", "=v,0", /*hasSideEffects=*/true), {v});
  call->setDoesNotThrow();
  call->setMemoryEffects(llvm::MemoryEffects::inaccessibleMemOnly());
  return call;
}

} // namespace cnnc
