// What a concat joins is made where it joins it, and what a split takes out is read where it lies: neither copies.
//
//   %a = conv2d ... : f32[n,64,55,55]              %a = conv2d ... : f32[n,64,55,55] in %y at 0
//   %b = conv2d ... : f32[n,32,55,55]       =>     %b = conv2d ... : f32[n,32,55,55] in %y at 64
//   kernel k { %y = concat %a, %b }                %y = concat %a, %b : f32[n,96,55,55]           without a kernel
//
// A part lies as its whole does: the same blocks, the widest border that any of them wants, and behind its channels as
// many elements as the whole has more of them (layout `1/16|extra`), so that its kernel knows nothing of the whole and
// is shared as before. Each part's writer zeroes the border of its own channels. In an image channels (or their blocks)
// are outermost: a part is one run of memory, and parts of one whole share no element.
//
// - Joins are looked at from the last to the first: what is joined again lies in the last whole of all. A join of what
//   already lies there side by side (a dense block joins all that came before, again and again) is a part itself.
// - An operand that cannot lie there (the caller's, one that lies in another whole, one with other blocks) is copied to
//   its place, if any other operand can.
// - A tensor that others read, too, is made there all the same.
//
// It sees formulas, not names: a concat's gradient is a split like any other.
//
// Needs:  layouts chosen.
// Leaves: a join or a split has a kernel only where it has to copy.
#include "passes/kernels.h"
#include "passes/moves.h"
#include "passes/pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace cnnc {

namespace {

class Placing {
public:
  Placing(Graph& graph, Remarks& remarks) : graph(graph), remarks(remarks), is_free(graph.values.size(), false)
  {
    for (size_t v = 0; v < graph.values.size(); ++v)
      is_free[v] = graph.values[v].kind == ValueKind::result && graph.values[v].layout;
    for (int output : graph.outputs)
      is_free[static_cast<size_t>(output)] = false;
    for (const StateUpdate& update : graph.updates)
      is_free[static_cast<size_t>(update.value)] = false;
  }

  void run()
  {
    for (size_t o = graph.ops.size(); o-- > 0;)
      join(o);
    for (size_t o = 0; o < graph.ops.size(); ++o)
      split(o);
    for (const auto& [whole, parts] : wholes)
      lay_parts(graph, whole, parts);
    for (Op& op : graph.ops)
      if (op.kernel >= 0 && is_in_place(graph, op))
        op.kernel = -1;
    compact(graph);
  }

private:
  Value& value(int v) { return graph.values[static_cast<size_t>(v)]; }
  const Value& value(int v) const { return graph.values[static_cast<size_t>(v)]; }
  const Op& op(size_t o) const { return graph.ops[o]; }

  // May `v` lie at `at` of `whole`?
  std::string obstacle(int v, int whole, int64_t at) const
  {
    if (!is_free[static_cast<size_t>(v)] || !is_free[static_cast<size_t>(whole)])
      return "memory that the caller or an update knows";
    if (value(v).whole >= 0 || wholes.contains(v))
      return "it lies elsewhere";
    return why_apart(graph, v, whole, at);
  }

  void place(int v, int whole, int64_t at)
  {
    value(v).whole = whole;
    value(v).whole_at = at;
    wholes[whole].push_back(v);
  }

  void join(size_t o)
  {
    const std::vector<Move> moves = moves_of(graph, op(o));
    const int result = op(o).outputs.at(0);
    if (moves.empty() || op(o).kernel < 0 || graph.kernels[static_cast<size_t>(op(o).kernel)].ops.size() != 1)
      return;
    for (const Move& move : moves)
      if (move.from != 0 || move.size != value(move.operand).type.shape[1].size ||
          std::count_if(moves.begin(), moves.end(), [&](const Move& m) { return m.operand == move.operand; }) != 1)
        return;
    if (lie_side_by_side(moves, result))
      return;
    const int whole = whole_of(graph, result);
    const int64_t begin = value(result).whole_at;
    std::vector<int> placed, left;
    std::string reasons;
    bool meets = true; // a copy, which may have any layout, fits where it belongs
    for (const Move& move : moves) {
      std::string why_not = obstacle(move.operand, whole, begin + move.to);
      (why_not.empty() ? placed : left).push_back(move.operand);
      meets = meets && layout_of_part(*value(whole).layout, value(whole).type.shape, value(move.operand).type.shape,
                                      begin + move.to);
      if (!why_not.empty())
        reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", value(move.operand).name, why_not);
    }
    const Location where = op(o).location;
    const std::string name = value(result).name;
    if (placed.empty() || !meets)
      return remark(moves, o, fmt::format("{} copies its operands: {}", name, reasons));
    for (const Move& move : moves)
      if (std::find(placed.begin(), placed.end(), move.operand) != placed.end())
        place(move.operand, whole, begin + move.to);
    remarks.add(where, left.empty() ? fmt::format("{} is where its operands are made", name)
                                    : fmt::format("{} is where {} of its operands are made, and copies the others: {}",
                                                  name, placed.size(), reasons));
    size_t at = o;
    for (const Move& move : moves)
      if (std::find(left.begin(), left.end(), move.operand) != left.end()) {
        const int copy = insert_copy(graph, move.operand, *value(whole).layout, static_cast<size_t>(op(at).kernel),
                                     [&](int reader) { return reader == static_cast<int>(at) + 1; });
        ++at;
        is_free.resize(graph.values.size(), true);
        place(copy, whole, begin + move.to);
      }
  }

  // A plain copy is one on purpose.
  void remark(const std::vector<Move>& moves, size_t o, std::string text)
  {
    if (moves.size() > 1 || moves[0].size != value(moves[0].operand).type.shape[1].size)
      remarks.add(op(o).location, std::move(text));
  }

  // They do already, in a whole that joins more of them: then so does the result.
  bool lie_side_by_side(const std::vector<Move>& moves, int result)
  {
    const Value& first = value(moves[0].operand);
    if (first.whole < 0 || first.whole == result || value(result).whole >= 0)
      return false;
    for (const Move& move : moves)
      if (value(move.operand).whole != first.whole || value(move.operand).whole_at != first.whole_at + move.to)
        return false;
    if (!obstacle(result, first.whole, first.whole_at).empty())
      return false;
    remarks.add(value(result).location,
                fmt::format("{} is where {} is made", value(result).name, value(first.whole).name));
    place(result, first.whole, first.whole_at);
    return true;
  }

  void split(size_t o)
  {
    const std::vector<Move> moves = moves_of(graph, op(o));
    if (moves.size() != 1 || op(o).kernel < 0 ||
        graph.kernels[static_cast<size_t>(op(o).kernel)].ops.front() != static_cast<int>(o))
      return;
    const int result = op(o).outputs[0], whole = whole_of(graph, moves[0].operand);
    const int64_t at = value(moves[0].operand).whole_at + moves[0].from;
    if (is_in_place(graph, op(o)))
      return;
    std::string why_not = obstacle(result, whole, at);
    if (!why_not.empty())
      return remark(moves, o, fmt::format("{} is a copy: {}", value(result).name, why_not));
    place(result, whole, at);
    remarks.add(op(o).location, fmt::format("{} is read where {} lies", value(result).name, value(whole).name));
  }

  Graph& graph;
  Remarks& remarks;
  std::vector<bool> is_free;              // nobody but this function's kernels knows its memory
  std::map<int, std::vector<int>> wholes; // and their parts
};

} // namespace

void place_parts(Graph& graph, const Target&, Remarks& remarks)
{
  Placing(graph, remarks).run();
}

} // namespace cnnc
