// Products of narrow numbers, several in each 32-bit lane:
//
//   bf16     acc[o] += x[c]*w[o,c] + x[c+1]*w[o,c+1]                                        vdpbf16ps
//   u8, i8   acc[o] += x[c]*w[o,c] + x[c+1]*w[o,c+1] + x[c+2]*w[o,c+2] + x[c+3]*w[o,c+3]    vpdpbusd
//
// A nest says one product at a time. Where the steps of a reduced loop lie beside each other in both operands,
// accumulate() takes a group of them at once, and an update adds the group here: an operand that is the same for all
// lanes is one 32-bit broadcast, one that is not is a vector whose lanes are groups.
#include "compiler/llvm/emitter.h"

#include "ir/location.h"
#include "passes/stage_loops.h"

#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/IntrinsicsX86.h>

namespace cnnc {

namespace {

// By the sums' width in 32-bit lanes: 4, 8, 16.
llvm::Intrinsic::ID instruction(bool floats, int width)
{
  switch (width) {
  case 4: return floats ? llvm::Intrinsic::x86_avx512bf16_dpbf16ps_128 : llvm::Intrinsic::x86_avx512_vpdpbusd_128;
  case 8: return floats ? llvm::Intrinsic::x86_avx512bf16_dpbf16ps_256 : llvm::Intrinsic::x86_avx512_vpdpbusd_256;
  case 16: return floats ? llvm::Intrinsic::x86_avx512bf16_dpbf16ps_512 : llvm::Intrinsic::x86_avx512_vpdpbusd_512;
  default: return llvm::Intrinsic::not_intrinsic;
  }
}

} // namespace

// The lanes' groups as <width x i32>; nothing where they lie in another way.
llvm::Value* Emitter::load_groups(const Expr& read)
{
  const Address at = address(read.tensor, read.at);
  if (at.vector)
    return nullptr;
  for (size_t lane = 0; lane < at.lanes.size(); ++lane)
    if (at.lanes[lane] != at.lanes[0] + static_cast<int64_t>(lane) * dot_group)
      return nullptr;
  constexpr int64_t groups = -1; // no number of a vector or mask: the key of nothing else
  std::vector<int64_t> key{buffers[static_cast<size_t>(read.tensor)].group, read.tensor, at.scalar.constant, groups,
                           lanes.width};
  for (const Affine::Term& term : at.scalar.terms)
    key.insert(key.end(), {term.index, term.factor});
  for (const Address::Computed& part : at.computed)
    key.insert(key.end(), {reinterpret_cast<int64_t>(part.value), part.factor});
  key.push_back(at.lanes.empty() ? -1 : at.lanes[0]);
  for (const bool active : lanes.active)
    key.push_back(active);
  if (auto found = loaded.find(key); found != loaded.end())
    return found->second;
  if (stale.contains(key)) { // as in load()
    b.CreateFence(llvm::AtomicOrdering::AcquireRelease, llvm::SyncScope::SingleThread);
    stale.clear();
  }
  llvm::Type* type = b.getInt32Ty();
  const llvm::Align align(static_cast<uint64_t>(bytes_of(read.type)));
  llvm::Value* value = nullptr;
  if (at.lanes.empty()) {
    value = as_lanes(b.CreateAlignedLoad(type, pointer(read.tensor, at), align));
  } else {
    llvm::Type* vector = vector_of(type, lanes.width);
    llvm::Value* from = pointer(read.tensor, at, at.lanes[0]);
    value =
        lanes.all() && lanes.count == lanes.width
            ? static_cast<llvm::Value*>(b.CreateAlignedLoad(vector, from, align))
            : b.CreateMaskedLoad(vector, from, align, mask_value(lane_mask()), llvm::Constant::getNullValue(vector));
  }
  loaded[key] = value;
  return value;
}

llvm::Value* Emitter::dot(const Expr& product, llvm::Value* sum)
{
  const bool floats = is_float(product.type);
  const llvm::Intrinsic::ID id = lanes.index >= 0 ? instruction(floats, lanes.width) : llvm::Intrinsic::not_intrinsic;
  llvm::Value* factors[2] = {};
  if (id != llvm::Intrinsic::not_intrinsic)
    for (size_t i = 0; i < 2; ++i) {
      const Expr& read = *product.args[i]->args[0];
      factors[floats ? i : read.type == DType::i8] = load_groups(read);
    }
  if (factors[0] && factors[1]) {
    llvm::Function* f = llvm::Intrinsic::getOrInsertDeclaration(&module, id);
    auto as = [&](llvm::Value* v, unsigned argument) {
      return b.CreateBitCast(v, f->getFunctionType()->getParamType(argument));
    };
    return b.CreateCall(f, {as_lanes(sum), as(factors[0], 1), as(factors[1], 2)});
  }
  // One after the other.
  Fact& step = facts[static_cast<size_t>(dot_index)];
  const Fact first = step;
  for (int64_t k = 0; k < dot_group; ++k) {
    step.value = first.value + k;
    step.range = {step.value, step.value};
    if (floats) {
      sum = fused(product, sum);
      continue;
    }
    llvm::Value* v = value(product);
    match(v, sum);
    sum = b.CreateAdd(sum, v);
  }
  step = first;
  return sum;
}

} // namespace cnnc
