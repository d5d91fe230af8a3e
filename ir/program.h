// What a compilation holds: the functions of a network (forward, train_step) and the nests that their kernels became.
//
// Its text is the graphs' texts, then the nests'. A kernel that is lowered names its nest: `kernel k0 -> @conv_1x28 {`.
#pragma once

#include "ir/graph.h"
#include "ir/nest.h"

namespace cnnc {

struct Program {
  std::vector<Graph> functions;
  std::vector<Nest> nests; // equal kernels share one
};

std::string to_string(const Program&);
Program parse_program(const std::shared_ptr<const Source>&);
void verify(const Program&);

} // namespace cnnc
