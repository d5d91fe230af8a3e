// A monotone function behind a maximum has fewer elements to work on.
//
//   %r = relu %c : f32[n,64,112,112]            %p.before = max_pool2d %c : f32[n,64,56,56]
//   %p = max_pool2d %r : f32[n,64,56,56]   =>   %p = relu %p.before : f32[n,64,56,56]
//
// max(f(a), f(b)) = f(max(a, b)) for every f that never decreases, NaN apart. On the way back the mask comes from the
// pooled values, and the function's full-size result is never stored.
//
// Needs:  no dead op, so that one user means one user; no kernels yet.
// Leaves: no monotone op whose only user is a maximum.
#include "passes/pass.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

// One `max=` of plain reads of one operand. Which element it is nobody may ask: equal results tell others apart.
bool is_maximum(const Graph& graph, const Op& op)
{
  const Formula formula = formula_of(graph, op);
  if (formula.statements.size() != 1 ||
      std::any_of(op.outputs.begin() + 1, op.outputs.end(), [](int v) { return v >= 0; }))
    return false;
  const Statement& s = formula.statements[0];
  return s.update == Update::max && s.value->fn == Fn::read &&
         formula.tensors[static_cast<size_t>(s.target)].role == Role::output;
}

} // namespace

void sink_activation(Graph& graph, const Target&, Remarks& remarks)
{
  std::vector<std::vector<int>> users = users_of(graph);
  for (size_t f = 0; f < graph.ops.size(); f++) {
    Op& function = graph.ops[f];
    if (!function.def->is_monotone || function.inputs.size() != 1)
      continue;
    int between = function.outputs[0], source = function.inputs[0];
    bool is_output = std::find(graph.outputs.begin(), graph.outputs.end(), between) != graph.outputs.end();
    if (users[between].size() != 1 || is_output || graph.values[source].kind != ValueKind::result)
      continue;
    int m = users[between][0];
    Op& maximum = graph.ops[m];
    if (maximum.inputs.size() != 1 || !is_maximum(graph, maximum))
      continue;
    int pooled = maximum.outputs[0];
    // The value between takes the maximum's shape, and the maximum's place in the list goes to the function.
    Value& before = graph.values[between];
    before.name = graph.values[pooled].name + ".before";
    before.type = graph.values[pooled].type;
    before.location = maximum.location;
    maximum.inputs[0] = source;
    maximum.outputs[0] = between;
    function.inputs[0] = between;
    function.outputs[0] = pooled;
    remarks.add(function.location,
                fmt::format("{} moves behind {}: it has fewer elements there", function.name, maximum.name));
    std::swap(graph.ops[f], graph.ops[m]);
    for (size_t i : {f, static_cast<size_t>(m)})
      for (size_t k = 0; k < graph.ops[i].outputs.size(); k++)
        if (int value = graph.ops[i].outputs[k]; value >= 0) {
          graph.values[value].op = static_cast<int>(i);
          graph.values[value].output = static_cast<int>(k);
        }
    users = users_of(graph);
  }
}

} // namespace cnnc
