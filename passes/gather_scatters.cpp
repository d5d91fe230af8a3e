// Scatters become gathers, so that elements have no order between them.
//
//   %x.gradient = formula %y.gradient {text = "dx[2*h + i] += dy[h]", ...}
// =>
//   %x.gradient = formula %y.gradient {text = "dx[2*h] += dy[h - i]; dx[2*h + 1] += dy[h]", ...}
//
// Needs:  gradients are ordinary ops.
// Leaves: an op whose terms meet at an element outside of its reductions has a remark why, and runs serially.
#include "ir/gather.h"
#include "ir/subscripts.h"
#include "passes/formula_op.h"
#include "passes/pass.h"

#include <fmt/format.h>

namespace cnnc {

void gather_scatters(Graph& graph, const Target&, Remarks& remarks)
{
  for (Op& op : graph.ops) {
    Formula formula = formula_of(graph, op);
    const std::string name = op.name.empty() ? graph.values[op.outputs[0]].name : op.name;
    const size_t before = formula.statements.size();
    if (size_t count = static_cast<size_t>(gather_scatters(formula))) {
      std::vector<int> inputs;
      for (int number : formula.input_numbers)
        inputs.push_back(op.inputs[number]);
      op.inputs = std::move(inputs);
      op.attributes = attributes_of(formula);
      op.def = &op_formula;
      remarks.add(op.location, fmt::format("{} gathers: {} of its statements became {}, one for each phase of a stride",
                                           name, count, formula.statements.size() - before + count));
    }
    for (const Statement& s : formula.statements)
      if (s.update != Update::assign && !is_one_to_one(s))
        remarks.add(
            op.location,
            fmt::format("{} stays a scatter: no read tells the range of an index of `{}`, or the batch is in it", name,
                        to_string(s, formula)));
  }
}

} // namespace cnnc
