// What an op computes from parameters alone becomes an op of its own, ahead of it.
//
//   %y = batch_norm %x, @w, @b, @m, @v      =>     %y.scale, %y.shift = formula @w, @v, @b, @m {text =
//                                                      "scale[c] = w[c] * rsqrt(v[c] + 1e-05)
//                                                       shift[c] = b[c] - m[c] * scale[c]"}
//                                                  %y = formula %x, %y.scale, %y.shift {text =
//                                                      "y[n,c,h,w] = x[n,c,h,w] * scale[c] + shift[c]"}
//
// These are the statements that write locals and read nothing that changes from call to call. In `forward` only: a
// training step computes them once for each change anyway.
//
// Needs:  no kernels yet, no dead op.
// Leaves: forward: an op that reads anything else has no local that follows from parameters alone.
#include "ir/subscripts.h"
#include "passes/formula_op.h"
#include "passes/pass.h"
#include "passes/prepared.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

bool counts_images(const Statement& s)
{
  bool counts = std::any_of(s.indices.begin(), s.indices.end(), [](const Index& i) { return i.extent.batch; });
  for_each(*s.value, [&](const Expr& e) {
    for (const Affine& at : e.at)
      counts = counts || at.uses(batch_index);
  });
  return counts;
}

// For each tensor of the formula: a local that follows from parameters alone. `steady`: which of its inputs do.
std::vector<bool> steady_locals(const Formula& formula, const std::vector<bool>& steady)
{
  std::vector<bool> known = steady, changes(formula.tensors.size()), made(formula.tensors.size());
  // Statements run in order, and a tensor is complete before others read it.
  for (const Statement& s : formula.statements) {
    bool good = s.tap < 0 && formula.tensors[static_cast<size_t>(s.target)].role == Role::local && !counts_images(s);
    bool reads_any = false;
    for_each(*s.value, [&](const Expr& e) {
      if (e.fn != Fn::read)
        return;
      reads_any = true;
      good = good && (e.tensor == s.target || known[static_cast<size_t>(e.tensor)]);
    });
    if (!good || (!reads_any && !made[static_cast<size_t>(s.target)]))
      changes[static_cast<size_t>(s.target)] = true;
    made[static_cast<size_t>(s.target)] = true;
    known[static_cast<size_t>(s.target)] = !changes[static_cast<size_t>(s.target)];
  }
  for (size_t t = 0; t < known.size(); ++t)
    known[t] = known[t] && made[t];
  return known;
}

class Splitter {
public:
  Splitter(Graph& graph, Remarks& remarks) : graph(graph), remarks(remarks) {}

  void run()
  {
    const std::vector<bool> steady = steady_values(graph);
    std::vector<Op> ops;
    for (Op& op : graph.ops) {
      if (!steady[static_cast<size_t>(op.outputs.at(0))])
        split(op, steady, ops);
      ops.push_back(std::move(op));
    }
    graph.ops = std::move(ops);
    compact(graph);
  }

private:
  // The new op goes to `ops`, and `op` becomes what is left.
  void split(Op& op, const std::vector<bool>& steady, std::vector<Op>& ops)
  {
    const Formula whole = formula_of(graph, op);
    std::vector<bool> steady_inputs(whole.tensors.size());
    size_t input = 0;
    for (size_t t = 0; t < whole.tensors.size(); ++t)
      if (whole.tensors[t].role == Role::input) {
        const int number = whole.input_numbers[input++];
        steady_inputs[t] = steady[static_cast<size_t>(op.inputs[static_cast<size_t>(number)])];
      }
    const std::vector<bool> moves = steady_locals(whole, steady_inputs);
    std::vector<bool> is_read(whole.tensors.size()); // by what stays
    for (const Statement& s : whole.statements)
      if (!moves[static_cast<size_t>(s.target)])
        for_each(*s.value, [&](const Expr& e) {
          if (e.fn == Fn::read && moves[static_cast<size_t>(e.tensor)])
            is_read[static_cast<size_t>(e.tensor)] = true;
        });
    if (std::find(is_read.begin(), is_read.end(), true) == is_read.end())
      return;

    Formula first = whole;
    for (size_t t = 0; t < first.tensors.size(); ++t)
      if (first.tensors[t].role != Role::input)
        first.tensors[t].role = is_read[t] ? Role::output : Role::local;
    const std::vector<int> old = remove_dead(first);
    Op made{.def = &op_formula, .location = op.location};
    made.name = op.name + ".prepared";
    made.attributes = attributes_of(first);
    for (const int number : first.input_numbers)
      made.inputs.push_back(op.inputs[static_cast<size_t>(number)]);

    Formula rest = whole;
    std::erase_if(rest.statements, [&](const Statement& s) { return moves[static_cast<size_t>(s.target)]; });
    std::vector<int> inputs = op.inputs;
    std::vector<int> value_of(whole.tensors.size(), -1);
    for (size_t t = 0; t < first.tensors.size(); ++t)
      if (first.tensors[t].role == Role::output) {
        const std::string& stem = graph.values[static_cast<size_t>(op.outputs.at(0))].name;
        const int value = graph.add_value(
            {.name = stem + "." + first.tensors[t].name, .type = first.tensors[t].type, .location = op.location});
        made.outputs.push_back(value);
        value_of[static_cast<size_t>(old[t])] = static_cast<int>(inputs.size());
        inputs.push_back(value);
      }
    rest.input_numbers.clear();
    input = 0;
    for (size_t t = 0; t < rest.tensors.size(); ++t) {
      if (rest.tensors[t].role == Role::input)
        rest.input_numbers.push_back(whole.input_numbers[input++]);
      else if (is_read[t]) {
        rest.tensors[t].role = Role::input;
        rest.input_numbers.push_back(value_of[t]);
      }
    }
    remove_dead(rest);
    remarks.add(op.location, fmt::format("{} computes {} from parameters alone, apart from the rest",
                                         graph.values[static_cast<size_t>(op.outputs[0])].name, names(made.outputs)));
    if (op.name.empty())
      op.name = op.def->name;
    op.def = &op_formula;
    op.attributes = attributes_of(rest);
    op.inputs.clear();
    for (const int number : rest.input_numbers)
      op.inputs.push_back(inputs[static_cast<size_t>(number)]);
    ops.push_back(std::move(made));
  }

  std::string names(const std::vector<int>& values) const
  {
    std::string text;
    for (const int value : values)
      text += (text.empty() ? "" : ", ") + graph.values[static_cast<size_t>(value)].name;
    return text;
  }

  Graph& graph;
  Remarks& remarks;
};

} // namespace

void split_prepared(Program& program, const Target&, Remarks& remarks)
{
  if (Graph* forward = forward_of(program))
    Splitter(*forward, remarks).run();
}

} // namespace cnnc
