// One nest as object bytes or text, without a network around it: for tests, benchmarks and the inspector.
#pragma once

#include "ir/nest.h"
#include "passes/target.h"

#include <string>
#include <vector>

namespace cnnc {

enum class NestForm : uint8_t { object, assembly, ir };

struct CompiledNest {
  // void(void *const *args, int64_t n, void *local, int64_t begin, int64_t end), see compiler/llvm/emit_nest.h
  struct Region {
    std::string symbol;
    Affine tasks; // in batch_index
  };
  std::string bytes;
  std::vector<Region> regions; // to be run one after the other
};

using RegionFunction = void(void* const* args, int64_t n, void* local, int64_t begin, int64_t end);

CompiledNest compile_nest(const Nest& nest, const Target& target, NestForm form = NestForm::object);

} // namespace cnnc
