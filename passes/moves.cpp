#include "passes/moves.h"

#include "passes/formula_op.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

// The statement as a move; nothing where it is none.
std::optional<Move> move_of(const Formula& formula, const Op& op, const Statement& s)
{
  const FormulaTensor& result = formula.tensors[static_cast<size_t>(s.target)];
  const Expr& read = *s.value;
  if (s.update != Update::assign || result.role != Role::output || read.fn != Fn::read ||
      s.at.size() != read.at.size() || s.at.size() < 2 || s.indices.size() != s.at.size())
    return std::nullopt;
  const FormulaTensor& operand = formula.tensors[static_cast<size_t>(read.tensor)];
  if (operand.role != Role::input || operand.type.dtype != result.type.dtype || !result.type.shape[0].batch)
    return std::nullopt;
  Move move{-1, 0, 0, 0};
  for (size_t d = 0; d < s.at.size(); ++d) {
    const Affine to = s.at[d] - s.at[d].constant, from = read.at[d] - read.at[d].constant;
    const int index = to.bare();
    if (index < 0 || !(to == from))
      return std::nullopt;
    for (size_t other = 0; other < d; ++other)
      if (s.at[other].uses(index))
        return std::nullopt;
    const Dim& extent = s.indices[static_cast<size_t>(index)].extent;
    if (d == 1)
      move = {-1, read.at[d].constant, s.at[d].constant, extent.size};
    else if (s.at[d].constant != 0 || read.at[d].constant != 0 || extent != result.type.shape[d] ||
             extent != operand.type.shape[d])
      return std::nullopt;
  }
  if (move.from < 0 || move.from + move.size > operand.type.shape[1].size)
    return std::nullopt;
  move.operand = operand_of(op, formula, read.tensor);
  return move;
}

} // namespace

std::vector<Move> moves_of(const Graph& graph, const Op& op)
{
  if (op.outputs.size() != 1 || op.inputs.empty())
    return {};
  const Formula formula = formula_of(graph, op);
  std::vector<Move> moves;
  for (const Statement& s : formula.statements) {
    std::optional<Move> move = move_of(formula, op, s);
    if (!move)
      return {};
    moves.push_back(*move);
  }
  std::sort(moves.begin(), moves.end(), [](const Move& a, const Move& b) { return a.to < b.to; });
  int64_t end = 0;
  for (const Move& move : moves) {
    if (move.to != end)
      return {};
    end += move.size;
  }
  const Shape& shape = graph.values[static_cast<size_t>(op.outputs[0])].type.shape;
  return shape.size() >= 2 && end == shape[1].size ? moves : std::vector<Move>();
}

bool is_in_place(const Graph& graph, const Op& op)
{
  const std::vector<Move> moves = moves_of(graph, op);
  auto begin_of = [&](int value) { return graph.values[static_cast<size_t>(value)].whole_at; };
  return !moves.empty() && std::all_of(moves.begin(), moves.end(), [&](const Move& move) {
    const int result = op.outputs[0];
    return whole_of(graph, move.operand) == whole_of(graph, result) &&
           begin_of(move.operand) + move.from == begin_of(result) + move.to;
  });
}

int whole_of(const Graph& graph, int value)
{
  const int whole = graph.values[static_cast<size_t>(value)].whole;
  return whole < 0 ? value : whole;
}

std::string why_apart(const Graph& graph, int number, int whole, int64_t at)
{
  const Value &part = graph.values[static_cast<size_t>(number)], &all = graph.values[static_cast<size_t>(whole)];
  auto bare = [](Layout layout) {
    for (Axis& axis : layout.axes)
      axis.before = axis.after = axis.extra = 0;
    return layout;
  };
  const Layout from = bare(*part.layout), to = bare(*all.layout);
  if (from != to)
    return fmt::format("{} does not lie as {}", to_string(from), to_string(to));
  if (!layout_of_part(to, all.type.shape, part.type.shape, at))
    return "it is no whole number of channel blocks";
  // A border of rows and columns lies within each channel; one of channels would lie between parts.
  for (const Value* value : {&part, &all})
    if (value->layout->axes[1].before != 0 || value->layout->axes[1].after != 0)
      return "the channels have a border";
  return "";
}

void lay_parts(Graph& graph, int whole, const std::vector<int>& parts)
{
  auto value = [&](int v) -> Value& { return graph.values[static_cast<size_t>(v)]; };
  Layout& layout = *value(whole).layout;
  for (int part : parts)
    for (size_t k = 0; k < layout.axes.size(); ++k) {
      layout.axes[k].before = std::max(layout.axes[k].before, value(part).layout->axes[k].before);
      layout.axes[k].after = std::max(layout.axes[k].after, value(part).layout->axes[k].after);
    }
  for (int part : parts)
    value(part).layout = layout_of_part(layout, value(whole).type.shape, value(part).type.shape, value(part).whole_at);
}

} // namespace cnnc
