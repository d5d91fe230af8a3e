// zero_border: whatever of a buffer no element of the tensor owns becomes zero.
//
//   axis with borders     [0, before) and [before + extent, end): the whole of what lies inside them
//   outer axis of a pad   its last coordinate alone has pad lanes: there the modulo axis is cut at extent % modulo
//
// The leading axes that `at` fixes are one coordinate each; the others are swept.
#include "compiler/llvm/emitter.h"

#include "ir/location.h"

#include <algorithm>

namespace cnnc {

void Emitter::zero_border(const ZeroBorder& zero)
{
  const Buffer& of = nest.buffers.at(static_cast<size_t>(zero.buffer));
  const std::vector<Axis>& axes = of.layout.axes;
  const std::vector<int64_t>& strides = buffers[static_cast<size_t>(zero.buffer)].strides;
  std::vector<int64_t> extents = axis_extents(of.layout, of.type.shape);
  int64_t bytes = bytes_of(of.type.dtype);
  if (zero.at.size() > axes.size())
    fail("zero_border of " + of.name + " fixes more axes than there are");

  auto size_of = [&](size_t k) { return of.type.shape[static_cast<size_t>(axes[k].dim)].size; };
  auto is_padded = [&](size_t k) { return axes[k].modulo != 0 && size_of(k) % (axes[k].divide * axes[k].modulo) != 0; };
  // The modulo axis inside axis k whose pad lanes its last coordinate has.
  auto pads = [&](size_t k) {
    for (size_t inner = k + 1; inner < axes.size(); ++inner)
      if (axes[inner].dim == axes[k].dim && axes[k].divide > 1 && axes[inner].modulo == axes[k].divide &&
          is_padded(inner))
        return true;
    return false;
  };
  for (size_t k = 0; k < axes.size(); ++k)
    if (is_padded(k) && std::none_of(axes.begin(), axes.begin() + static_cast<long>(k), [&](const Axis& outer) {
          return outer.dim == axes[k].dim && outer.divide == axes[k].modulo;
        }))
      fail("the padded axis of " + of.name + " has no outer axis before it");
  for (size_t k = 0; k < axes.size(); ++k)
    if (axes[k].modulo != 0 && axes[k].divide > 1 && (is_padded(k) || k < zero.at.size()))
      fail("a block of " + of.name + " that is cut again has pads");

  // Is there anything to do from axis k on, `cut`: for these dimensions we are in the last block?
  std::vector<bool> cut(of.type.shape.size());
  auto anything = [&](size_t from) {
    for (size_t k = from; k < axes.size(); ++k)
      if (axes[k].before + axes[k].after > 0 || pads(k) || (is_padded(k) && cut[static_cast<size_t>(axes[k].dim)]))
        return true;
    return false;
  };
  auto fill = [&](llvm::Value* base, int64_t from, int64_t count) {
    if (count > 0)
      b.CreateMemSet(b.CreatePtrAdd(base, b.getInt64(static_cast<uint64_t>(from * bytes))), b.getInt8(0),
                     static_cast<uint64_t>(count * bytes), llvm::Align(static_cast<uint64_t>(bytes)));
  };

  std::function<void(size_t, llvm::Value*)> sweep;
  auto in_block = [&](size_t k, bool last, llvm::Value* base) {
    size_t dim = static_cast<size_t>(axes[k].dim);
    cut[dim] = last;
    sweep(k + 1, base);
    cut[dim] = false;
  };
  // `body` for the coordinates [begin, end) of axis k.
  auto repeat = [&](llvm::Value* base, int64_t stride, int64_t begin, llvm::Value* end, auto&& body) {
    auto* constant = llvm::dyn_cast<llvm::ConstantInt>(end);
    if (constant && constant->getSExtValue() <= begin)
      return;
    if (constant && constant->getSExtValue() == begin + 1)
      return body(b.CreatePtrAdd(base, b.getInt64(static_cast<uint64_t>(begin * stride * bytes))));
    llvm::BasicBlock *before = b.GetInsertBlock(), *head = block("border"), *after = block("border.end");
    b.CreateCondBr(b.CreateICmpSLT(b.getInt64(static_cast<uint64_t>(begin)), end), head, after);
    b.SetInsertPoint(head);
    llvm::PHINode* at = b.CreatePHI(b.getInt64Ty(), 2);
    at->addIncoming(b.getInt64(static_cast<uint64_t>(begin)), before);
    body(b.CreatePtrAdd(base, b.CreateMul(at, b.getInt64(static_cast<uint64_t>(stride * bytes)))));
    llvm::Value* next = b.CreateNSWAdd(at, b.getInt64(1));
    at->addIncoming(next, b.GetInsertBlock());
    b.CreateCondBr(b.CreateICmpSLT(next, end), head, after);
    b.SetInsertPoint(after);
  };

  sweep = [&](size_t k, llvm::Value* base) {
    if (k == axes.size() || !anything(k))
      return;
    const Axis& axis = axes[k];
    size_t dim = static_cast<size_t>(axis.dim);
    if (k < zero.at.size()) {
      Affine s = known(zero.at[k]);
      s.constant += axis.before;
      llvm::Value* at = axis.modulo != 0  ? quotient(s, axis.modulo, true)
                        : axis.divide > 1 ? quotient(s, axis.divide, false)
                                          : scalar(s);
      llvm::Value* there = b.CreatePtrAdd(base, b.CreateMul(at, b.getInt64(static_cast<uint64_t>(strides[k] * bytes))));
      if (!pads(k))
        return sweep(k + 1, there);
      auto* is_last = b.CreateICmpEQ(at, b.getInt64(static_cast<uint64_t>(extents[k] - 1)));
      llvm::BasicBlock *last = block("border.last"), *other = block("border.other"), *join = block("border.join");
      b.CreateCondBr(is_last, last, other);
      b.SetInsertPoint(last);
      in_block(k, true, there);
      b.CreateBr(join);
      b.SetInsertPoint(other);
      in_block(k, false, there);
      b.CreateBr(join);
      b.SetInsertPoint(join);
      return;
    }
    if (is_padded(k) && cut[dim]) {
      int64_t used = size_of(k) % axis.modulo;
      fill(base, used * strides[k], (axis.modulo - used) * strides[k]);
      if (anything(k + 1))
        repeat(base, strides[k], 0, b.getInt64(static_cast<uint64_t>(used)),
               [&](llvm::Value* there) { sweep(k + 1, there); });
      return;
    }
    int64_t inner = extents[k] - axis.before - axis.after;
    fill(base, 0, axis.before * strides[k]);
    fill(base, (axis.before + inner) * strides[k], axis.after * strides[k]);
    if (!anything(k + 1) && !pads(k))
      return;
    bool is_batch = of.type.shape[dim].batch;
    llvm::Value* end =
        is_batch ? scalar(Affine::of(batch_index, inner)) : b.getInt64(static_cast<uint64_t>(axis.before + inner));
    if (!pads(k))
      return repeat(base, strides[k], axis.before, end, [&](llvm::Value* there) { sweep(k + 1, there); });
    if (anything(k + 1))
      repeat(base, strides[k], 0, b.getInt64(static_cast<uint64_t>(inner - 1)),
             [&](llvm::Value* there) { in_block(k, false, there); });
    in_block(k, true, b.CreatePtrAdd(base, b.getInt64(static_cast<uint64_t>((inner - 1) * strides[k] * bytes))));
  };
  sweep(0, buffers[static_cast<size_t>(zero.buffer)].pointer);
  // Blocks may have been added: what was loaded before is still valid, but for this buffer.
  forget(zero.buffer);
}

} // namespace cnnc
