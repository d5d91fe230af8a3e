// A kernel as stages: statements over one box of indices, between which values pass in registers.
//
//   conv2d, relu  =>  one stage: box (n,o,h,w); start = bias[o]; sum over (c,i,j); relu = select(conv < 0, 0, conv)
//   softmax       =>  four stages: m over (n), e over (n,c), z over (n), y over (n,c)
//
// Everything after fusion works on this form: layouts, lowering, schedules.
#pragma once

#include "ir/graph.h"

namespace cnnc {

// A tensor that a kernel touches: a value of the graph, or a formula's local.
struct StageTensor {
  std::string name;
  TensorType type;
  int value = -1;      // in the graph, or none
  bool stored = false; // has memory outside of the kernel (an operand, or a result that others read)
  int stage = -1;      // that makes it; none for operands
};

struct Stage {
  // One contribution: target update= value, over the box and the indices behind it.
  struct Reduction {
    std::vector<Index> indices; // reduced ones; in expressions they are numbered behind the box
    ExprPtr value;
  };
  struct Write {
    int tensor;
    std::vector<Affine> at;
    ExprPtr value; // may read tensors of this stage at `at`: these are registers
  };

  std::vector<Index> box; // numbered from 0 in every expression of the stage
  // The accumulator, if there is a reduction: `target` at `at`.
  int target = -1, tap = -1;
  std::vector<Affine> at;
  Update update = Update::sum;
  ExprPtr start; // over the box; the accumulator's first value
  std::vector<Reduction> reductions;
  std::vector<Write> writes; // in order; pointwise
  bool scatters = false;     // the target's elements are met more than once: update in memory, in order
  std::vector<int> makes;    // tensors
  Location location;
};

struct StagedKernel {
  std::vector<StageTensor> tensors;
  std::vector<Stage> stages;
  Location location;
};

StagedKernel stages_of(const Graph&, const Kernel&);

// Every expression of the stage, in the order in which they are computed.
void for_each_value(const Stage&, const std::function<void(const Expr&)>& visit);
// Tensor `made` is written once, where `old` is read for the last time, and that is read nowhere else.
bool can_write_in_place(const StagedKernel&, int made, int old);

} // namespace cnnc
