// A result takes the place of an operand that nobody reads any more: a residual sum is written where the shortcut lay.
//
//   kernel k {                                              kernel k {
//     %c = conv2d %x, @w                                      %c = conv2d %x, @w
//     %s = add %c, %shortcut : f32[n,64,56,56]      =>        %s = add %c, %shortcut : f32[n,64,56,56] in %shortcut at 0
//   }                                                       }
//
// The kernel reads each element of the operand only where it writes that of the result, and nothing that lies in the
// same memory is read behind it. So one tensor less is brought into the caches, and the workspace is smaller.
//
// Needs:  layouts and parts chosen.
// Leaves: results that `lower` writes in place, as Value::whole says.
#include "passes/moves.h"
#include "passes/pass.h"
#include "passes/stages.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace cnnc {

namespace {

class Reuse {
public:
  Reuse(Graph& graph, Remarks& remarks) : graph(graph), remarks(remarks) {}

  void run()
  {
    const size_t count = graph.values.size();
    is_free.resize(count);
    last_user.assign(count, -1);
    shares.resize(count);
    for (size_t v = 0; v < count; ++v) {
      is_free[v] = graph.values[v].kind == ValueKind::result && graph.values[v].layout;
      shares[static_cast<size_t>(whole_of(graph, static_cast<int>(v)))].push_back(static_cast<int>(v));
    }
    for (int output : graph.outputs)
      is_free[static_cast<size_t>(output)] = false;
    for (const StateUpdate& update : graph.updates)
      is_free[static_cast<size_t>(update.value)] = false;
    for (size_t o = 0; o < graph.ops.size(); ++o)
      for (int input : graph.ops[o].inputs)
        if (input >= 0)
          last_user[static_cast<size_t>(input)] = static_cast<int>(o);
    for (const Kernel& kernel : graph.kernels)
      look(kernel);
  }

private:
  const Value& value(int v) const { return graph.values[static_cast<size_t>(v)]; }
  // All that lies in the same memory.
  const std::vector<int>& beside(int v) const { return shares[static_cast<size_t>(whole_of(graph, v))]; }

  void look(const Kernel& kernel)
  {
    const int made = graph.ops[static_cast<size_t>(kernel.ops.back())].outputs.at(0);
    if (!is_free[static_cast<size_t>(made)] || beside(made).size() != 1)
      return;
    const StagedKernel staged = stages_of(graph, kernel);
    const std::vector<StageTensor>& tensors = staged.tensors;
    const int last = static_cast<int>(staged.stages.size()) - 1;
    const auto result = std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.value == made; });
    // Only the last stage's tiles are never made twice.
    if (result == tensors.end() || result->stage != last)
      return;
    for (const StageTensor& old : tensors)
      if (old.stage < 0 && old.value >= 0 && is_over(old.value, kernel) && is_alone(old.value, tensors) &&
          lies_alike(made, old.value) &&
          can_write_in_place(staged, static_cast<int>(&*result - tensors.data()),
                             static_cast<int>(&old - tensors.data())))
        return take(made, old.value);
  }

  // Nobody reads it, or anything else in its memory, behind the kernel.
  bool is_over(int old, const Kernel& kernel) const
  {
    return std::all_of(beside(old).begin(), beside(old).end(), [&](int v) {
      return is_free[static_cast<size_t>(v)] && last_user[static_cast<size_t>(v)] <= kernel.ops.back();
    });
  }

  // The kernel touches nothing else in its memory.
  bool is_alone(int old, const std::vector<StageTensor>& tensors) const
  {
    return std::count_if(tensors.begin(), tensors.end(), [&](const StageTensor& t) {
             return t.value >= 0 && whole_of(graph, t.value) == whole_of(graph, old);
           }) == 1;
  }

  bool lies_alike(int made, int old) const
  {
    return value(made).type == value(old).type && has_batch(value(made).type.shape) &&
           why_apart(graph, made, whole_of(graph, old), value(old).whole_at).empty();
  }

  void take(int made, int old)
  {
    const int whole = whole_of(graph, old);
    graph.values[static_cast<size_t>(made)].whole = whole;
    graph.values[static_cast<size_t>(made)].whole_at = value(old).whole_at;
    std::vector<int>& all = shares[static_cast<size_t>(whole)];
    all.push_back(made);
    std::vector<int> parts;
    std::copy_if(all.begin(), all.end(), std::back_inserter(parts), [&](int v) { return v != whole; });
    lay_parts(graph, whole, parts);
    remarks.add(value(made).location, fmt::format("{} takes the place of {}", value(made).name, value(old).name));
  }

  Graph& graph;
  Remarks& remarks;
  std::vector<bool> is_free; // nobody but this function's kernels knows its memory
  std::vector<int> last_user;
  std::vector<std::vector<int>> shares; // of a whole: it and all its parts
};

} // namespace

void reuse_operands(Graph& graph, const Target&, Remarks& remarks)
{
  Reuse(graph, remarks).run();
}

} // namespace cnnc
