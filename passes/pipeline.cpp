#include "passes/pass.h"

namespace cnnc {

#define GRAPH(name, level, leaves) void name(Graph&, const Target&, Remarks&);
#define LOWER(name, level, leaves) void name(Program&, const Target&, Remarks&);
#define NEST(name, level, leaves) void name(Nest&, const Target&, Remarks&);
#include "passes/pipeline.def"
#undef GRAPH
#undef LOWER
#undef NEST

const std::vector<PassDef>& pipeline()
{
  static const std::vector<PassDef> passes = {
#define GRAPH(name, level, leaves) {#name, GraphPass(name), level, leaves},
#define LOWER(name, level, leaves) {#name, LowerPass(name), level, leaves},
#define NEST(name, level, leaves) {#name, NestPass(name), level, leaves},
#include "passes/pipeline.def"
  };
  return passes;
}

const PassDef* find_pass(std::string_view name)
{
  for (const PassDef& pass : pipeline())
    if (pass.name == name)
      return &pass;
  return nullptr;
}

} // namespace cnnc
