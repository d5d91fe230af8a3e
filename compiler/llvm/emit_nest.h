// A nest becomes final LLVM IR: what the TargetMachine gets, without any pass of the middle-end in between.
//
//   void <nest>(ptr args, i64 n, ptr local, i64 begin, i64 end)     one for each top-level node (serial ones are
//   joined)
//
// args: the pointers of the nest's in, out and inout buffers, in order. n: the batch. local: this thread's part of the
// workspace, 64-byte aligned. It runs the tasks [begin, end) out of `tasks`: the parallel chain's iterations as one
// range (a serial part is one task). Regions of a nest run one after the other. The function is hidden; it calls an
// inner one whose pointers are noalias.
#pragma once

#include "ir/nest.h"
#include "passes/target.h"

#include <vector>

namespace llvm {
class Function;
class Module;
} // namespace llvm

namespace cnnc {

struct EmittedRegion {
  llvm::Function* function = nullptr;
  Affine tasks; // in batch_index
};

// Throws InternalError where the nest breaks the rules of ir/nest.h.
std::vector<EmittedRegion> emit_nest(llvm::Module& module, const Nest& nest, const Target& target);

} // namespace cnnc
