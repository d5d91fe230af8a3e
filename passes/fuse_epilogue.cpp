// A pointwise op joins the kernel that computes its operand: the value changes in a register and the tensor between
// them is never stored.
//
//   kernel k0 { %c = conv2d %x, @w }            kernel k0 { %c = conv2d %x, @w
//   kernel k1 { %r = relu %c }            =>                %r = relu %c }
//
// Pointwise is an op whose last statement is y[i,j,...] = f(x[i,j,...], ...): no reduction, the operand read where the
// result is written, perhaps by way of steps of the same form, t[i,j,...] = g(x[i,j,...]). Its other operands may be
// read anywhere; they must be computed before the kernel that it joins, so a residual add joins the later one of its
// two producers. Statements before the last may prepare small tensors of other operands, once for all images: batch
// norm's factor and summand of each channel.
//
// Needs:  every op in a kernel; no dead op, so that one user means one user.
// Leaves: every pointwise op that may be a stage of its producer's kernel is; the others carry the reason why not.
#include "ir/subscripts.h"
#include "passes/formula_op.h"
#include "passes/pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace cnnc {

namespace {

// y[i0,i1,...]: each dimension has an index of its own, and all of it.
bool covers_plainly(const Statement& s, const Shape& shape)
{
  if (s.at.size() != shape.size())
    return false;
  for (size_t d = 0; d < shape.size(); ++d) {
    int index = s.at[d].bare();
    if (index < 0 || !(s.indices[static_cast<size_t>(index)].extent == shape[d]))
      return false;
    for (size_t other = 0; other < d; ++other)
      if (s.at[other].bare() == index)
        return false;
  }
  return true;
}

// The op's operands that it reads only where it writes; nothing for ops that are not pointwise.
std::vector<int> pointwise_operands(const Graph& graph, const Op& op)
{
  Formula formula = formula_of(graph, op);
  if (op.outputs.size() != 1)
    return {};
  const Shape& shape = graph.values[static_cast<size_t>(op.outputs[0])].type.shape;
  std::map<int, bool> read_so; // by value
  std::vector<bool> is_step(formula.tensors.size());
  for (const Statement& s : formula.statements) {
    const FormulaTensor& made = formula.tensors[static_cast<size_t>(s.target)];
    const bool is_last = &s == &formula.statements.back();
    if (s.update != Update::assign || (made.role != Role::local && !is_last))
      return {};
    const bool is_pointwise = made.type.shape == shape && s.indices.size() == shape.size() && covers_plainly(s, shape);
    if (!is_pointwise && (is_last || has_batch(made.type.shape)))
      return {};
    bool steps_meet = true;
    for_each(*s.value, [&](const Expr& e) {
      if (e.fn != Fn::read)
        return;
      if (formula.tensors[static_cast<size_t>(e.tensor)].role != Role::input) {
        steps_meet = steps_meet && (!is_step[static_cast<size_t>(e.tensor)] || (is_pointwise && e.at == s.at));
        return;
      }
      const int value = operand_of(op, formula, e.tensor);
      auto [found, is_new] = read_so.try_emplace(value, true);
      const Shape& its = graph.values[static_cast<size_t>(value)].type.shape;
      found->second = found->second && is_pointwise && e.at == s.at && its == shape;
    });
    if (!steps_meet || is_step[static_cast<size_t>(s.target)])
      return {};
    is_step[static_cast<size_t>(s.target)] = is_pointwise;
  }
  std::vector<int> operands;
  for (auto [value, so] : read_so)
    if (so && graph.values[static_cast<size_t>(value)].kind == ValueKind::result)
      operands.push_back(value);
  return operands;
}

class Fusion {
public:
  Fusion(Graph& graph, Remarks& remarks) : graph(graph), remarks(remarks), users(users_of(graph))
  {
    for (const Kernel& kernel : graph.kernels)
      members.push_back(kernel.ops);
  }

  void run()
  {
    for (size_t o = 0; o < graph.ops.size(); ++o)
      consider(static_cast<int>(o));
    std::vector<Op> ops;
    for (const std::vector<int>& kernel : members)
      for (int op : kernel)
        ops.push_back(std::move(graph.ops[static_cast<size_t>(op)]));
    graph.ops = std::move(ops);
    compact(graph);
    for (size_t k = 0; k < graph.kernels.size(); ++k)
      graph.kernels[k].name = fmt::format("k{}", k);
  }

private:
  const Value& value(int number) const { return graph.values[static_cast<size_t>(number)]; }
  const Op& maker(int number) const { return graph.ops[static_cast<size_t>(value(number).op)]; }

  void consider(int number)
  {
    Op& op = graph.ops[static_cast<size_t>(number)];
    if (op.kernel < 0)
      throw InternalError(fmt::format("op '{}' has no kernel", op.name));
    if (members[static_cast<size_t>(op.kernel)].size() != 1)
      return; // it has company already
    std::vector<int> operands = pointwise_operands(graph, op);
    // The operand that is computed last: its kernel is the only one behind all the others.
    std::stable_sort(operands.begin(), operands.end(), [&](int a, int b) { return maker(a).kernel > maker(b).kernel; });
    std::string reason;
    for (int operand : operands) {
      std::string why_not = obstacle(number, operand);
      if (why_not.empty())
        return join(number, operand);
      reason += (reason.empty() ? "" : "; ") + why_not;
    }
    if (!operands.empty())
      remarks.add(op.location, fmt::format("{} stays alone: {}", value(op.outputs[0]).name, reason));
  }

  void join(int number, int operand)
  {
    Op& op = graph.ops[static_cast<size_t>(number)];
    int kernel = maker(operand).kernel;
    members[static_cast<size_t>(op.kernel)].clear();
    members[static_cast<size_t>(kernel)].push_back(number);
    op.kernel = kernel;
    const Op& first = graph.ops[static_cast<size_t>(members[static_cast<size_t>(kernel)].front())];
    remarks.add(op.location,
                fmt::format("{} joins {}'s kernel", value(op.outputs[0]).name, value(first.outputs[0]).name));
  }

  // Why op cannot join the kernel that computes the operand; empty where it can.
  std::string obstacle(int number, int operand) const
  {
    const Op& op = graph.ops[static_cast<size_t>(number)];
    const Op& producer = maker(operand);
    const std::string& name = value(operand).name;
    for (int user : users[static_cast<size_t>(operand)])
      if (user != number)
        return fmt::format("{} has another user, {}", name,
                           value(graph.ops[static_cast<size_t>(user)].outputs.at(0)).name);
    if (std::find(graph.outputs.begin(), graph.outputs.end(), operand) != graph.outputs.end())
      return fmt::format("{} is an output", name);
    for (const StateUpdate& update : graph.updates)
      if (update.value == operand)
        return fmt::format("{} is what {} becomes", name, value(update.target).name);
    if (members[static_cast<size_t>(producer.kernel)].back() != value(operand).op)
      return fmt::format("{} is not the last result of its kernel", name);
    if (producer.def->is_view)
      return fmt::format("{} is a view", name);
    if (std::string why_not = part_of_several(producer, operand); !why_not.empty())
      return why_not;
    for (int input : op.inputs)
      if (input >= 0 && value(input).kind == ValueKind::result && maker(input).kernel > producer.kernel)
        return fmt::format("{} is computed before {}", name, value(input).name);
    return "";
  }

  // Each statement that writes the op's result must write all of it, one point an element (those of groups too), and be
  // the op's last: then the value stands in a register at the end. Other results may only be the taps of these statements.
  std::string part_of_several(const Op& op, int result) const
  {
    Formula formula = formula_of(graph, op);
    const Value& made = value(result);
    int target = formula.statements.back().target;
    int outputs = 0;
    for (int t = 0; t < target; ++t)
      outputs += formula.tensors[static_cast<size_t>(t)].role == Role::output;
    if (formula.tensors[static_cast<size_t>(target)].role != Role::output || outputs != made.output)
      return fmt::format("{} is not the last thing that {} computes", made.name, op.def->name);
    if (is_made_in_parts(formula, target))
      return "";
    for (const Statement& s : formula.statements) {
      bool is_output = formula.tensors[static_cast<size_t>(s.target)].role == Role::output;
      if (is_output && s.target != target)
        return fmt::format("{} is made together with {}", made.name,
                           formula.tensors[static_cast<size_t>(s.target)].name);
      if (is_output && !meets_all(s, made.type.shape))
        return fmt::format("{} is made in several parts", made.name);
    }
    return "";
  }

  // y[4*h] = ..., y[4*h + 1] = ..., ...: every statement sets a part of its own, over one box, and together they set all.
  static bool is_made_in_parts(const Formula& formula, int target)
  {
    const Shape& shape = formula.tensors[static_cast<size_t>(target)].type.shape;
    std::vector<const Statement*> parts;
    for (const Statement& s : formula.statements) {
      const FormulaTensor& made = formula.tensors[static_cast<size_t>(s.target)];
      if (s.update != Update::assign || (made.role == Role::output && s.target != target))
        return false;
      if (s.target == target)
        parts.push_back(&s);
    }
    int64_t covered = 0;
    for (size_t p = 0; p < parts.size(); ++p) {
      bool same_box = parts[p]->indices.size() == parts[0]->indices.size();
      for (size_t i = 0; same_box && i < parts[p]->indices.size(); ++i)
        same_box = parts[p]->indices[i].extent == parts[0]->indices[i].extent;
      const int64_t count = same_box && is_one_to_one(*parts[p]) ? points_inside(*parts[p], shape) : 0;
      if (count == 0)
        return false;
      for (size_t other = 0; other < p; ++other)
        if (!never_meet(*parts[p], *parts[other]))
          return false;
      covered += count;
    }
    int64_t all = 1;
    for (const Dim& dim : shape)
      all *= dim.size;
    return parts.size() > 1 && covered == all;
  }

  // Elements that a statement of one-to-one subscripts sets, for one image; 0 where a subscript has several indices.
  static int64_t points_inside(const Statement& s, const Shape& shape)
  {
    int64_t count = 1;
    for (size_t d = 0; d < s.at.size(); ++d) {
      const Affine& at = s.at[d];
      if (at.terms.size() > 1 || (at.terms.size() == 1 && at.terms[0].index < 0))
        return 0;
      if (at.is_constant()) {
        count *= at.constant >= 0 && at.constant < shape[d].size;
        continue;
      }
      const Dim& extent = s.indices[static_cast<size_t>(at.terms[0].index)].extent;
      const int64_t factor = at.terms[0].factor;
      if (extent.batch || shape[d].batch) {
        if (at.bare() < 0 || !(extent == shape[d]))
          return 0;
        count *= extent.size;
        continue;
      }
      if (factor < 0)
        return 0;
      const int64_t first = std::max<int64_t>(0, ceil_div(-at.constant, factor));
      const int64_t last = std::min(extent.size - 1, floor_div(shape[d].size - 1 - at.constant, factor));
      count *= std::max<int64_t>(0, last - first + 1);
    }
    return count;
  }

  Graph& graph;
  Remarks& remarks;
  std::vector<std::vector<int>> users;
  std::vector<std::vector<int>> members; // ops of each kernel, in order; kernels stand in the order of their numbers
};

} // namespace

void fuse_epilogue(Graph& graph, const Target&, Remarks& remarks)
{
  Fusion(graph, remarks).run();
}

} // namespace cnnc
