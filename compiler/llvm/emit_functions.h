// A function of the network (forward, train_step, gradients) as the table of steps that the runtime runs:
//
//   kernel k0 -> @conv2d_relu_1f3a(%image, @conv1.weight, @conv1.bias, %relu1)
//   =>  {region, {input 0, parameter 0, parameter 640, image 4096}, tasks = 0 + 1 * n, work, "k0"}
//
// and at its end copies: updates whose value was not written in place, outputs that no kernel writes.
//
// `prepare` also says which of its steps follow from which parameter: these run when that one alone has changed.
#pragma once

#include "compiler/interface.h"
#include "compiler/llvm/emit_nest.h"
#include "compiler/llvm/tables.h"

#include <map>

namespace cnnc {

// Where each function's constants lie in one blob; equal data share a place, also those of several targets.
struct ConstantPool {
  explicit ConstantPool(const std::vector<const Program*>&);
  int64_t offset_of(const Value&) const;
  std::vector<std::byte> pack() const;
  int64_t bytes = 0;

private:
  void add(const Graph&);

  struct Place {
    const Value* value;
    int64_t offset;
  };
  std::vector<Place> places;
  std::map<const Value*, int64_t> offsets;
};

// The cnn_function {steps, step_count}. `regions` by nest. Throws InternalError where a value has no place.
llvm::Constant* emit_function(Tables&, const Program&, const Interface&, cnn_mode,
                              const std::vector<std::vector<EmittedRegion>>& regions, const ConstantPool&);

// The cnn_preparation.
llvm::Constant* emit_preparation(Tables&, const Program&, const Interface&,
                                 const std::vector<std::vector<EmittedRegion>>& regions, const ConstantPool&);

} // namespace cnnc
