// What follows from parameters alone is computed when they change, not at each call.
//
//   net @net(%x) {                                    net @net(%x) {
//     parameter @w: f32[8,4,3,3]                        parameter @w: f32[8,4,3,3]
//     %u = formula @w {...}                    =>       prepared @u: f32[8,4,6,6]
//     %y = formula %x, %u {...}                         %y = formula %x, @u {...}
//     output %y                                         output %y
//   }                                                 }
//                                                     net @net.prepare() {
//                                                       parameter @w: f32[8,4,3,3]
//                                                       prepared @u: f32[8,4,6,6]
//                                                       %u.new = formula @w {...}
//                                                       update @u = %u.new
//                                                     }
//
// Prepared values lie in the parameters' block, behind them; the runtime runs `prepare` whenever it has written one. A
// training step reads the parameters, which it changes.
//
// An op stays where keeping its result would cost more memory than is worth it: one that only copies and makes more than
// it is given, or any that makes very much more.
//
// Needs:  no kernels yet, no dead op.
// Leaves: forward: no op on parameters alone but those; the function `<forward>.prepare`, the last one.
#include "passes/pass.h"
#include "passes/prepared.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace cnnc {

namespace {

constexpr int64_t free_growth = 1 << 20; // bytes
constexpr int64_t copied_factor = 2, computed_factor = 16;

int64_t bytes(const TensorType& type)
{
  return elements(type.shape) * bytes_of(type.dtype);
}

bool only_copies(const Formula& formula)
{
  return std::all_of(formula.statements.begin(), formula.statements.end(), [](const Statement& s) {
    bool copies = s.update == Update::assign;
    for_each(*s.value, [&](const Expr& e) {
      copies = copies && (e.fn == Fn::read || e.fn == Fn::constant || e.fn == Fn::cast || e.fn == Fn::inside ||
                          e.fn == Fn::select);
    });
    return copies;
  });
}

class Preparation {
public:
  Preparation(Graph& forward, Remarks& remarks) : forward(forward), remarks(remarks) {}

  // The function `prepare`; without ops where there is nothing to prepare.
  Graph run()
  {
    prepare.name = forward.name + ".prepare";
    prepare.location = forward.location;
    moves = steady_values(forward);
    for (const Op& op : forward.ops)
      if (!may_move(op))
        for (const int output : op.outputs)
          moves[static_cast<size_t>(output)] = false;
    std::vector<bool> is_read(forward.values.size());
    for (const Op& op : forward.ops)
      if (!moves[static_cast<size_t>(op.outputs.at(0))])
        for (const int input : op.inputs)
          if (input >= 0)
            is_read[static_cast<size_t>(input)] = true;
    for (const Op& op : forward.ops)
      if (moves[static_cast<size_t>(op.outputs.at(0))])
        move(op, is_read);
    if (prepare.ops.empty())
      return std::move(prepare);
    std::erase_if(forward.ops, [&](const Op& op) { return moves[static_cast<size_t>(op.outputs.at(0))]; });
    for (size_t v = 0; v < forward.values.size(); ++v)
      if (moves[v] && forward.values[v].kind == ValueKind::result) {
        forward.values[v].kind = ValueKind::prepared;
        forward.values[v].op = -1;
        forward.values[v].output = 0;
      }
    compact(forward);
    compact(prepare);
    return std::move(prepare);
  }

private:
  const Value& value(int number) const { return forward.values[static_cast<size_t>(number)]; }

  bool may_move(const Op& op)
  {
    if (!moves[static_cast<size_t>(op.outputs.at(0))])
      return false;
    int64_t given = 0, made = 0;
    for (const int input : op.inputs)
      if (input >= 0) {
        if (!moves[static_cast<size_t>(input)])
          return false;
        given += bytes(value(input).type);
      }
    for (const int output : op.outputs) {
      if (std::find(forward.outputs.begin(), forward.outputs.end(), output) != forward.outputs.end())
        return false; // the caller's, made at each call
      made += bytes(value(output).type);
    }
    const int64_t factor = only_copies(formula_of(forward, op)) ? copied_factor : computed_factor;
    if (made <= factor * given || made - given <= free_growth)
      return true;
    remarks.add(op.location, fmt::format("{} follows from parameters alone, but would keep {} bytes of {}",
                                         value(op.outputs[0]).name, made, given));
    return false;
  }

  // The number in `prepare` of what one of its ops reads.
  int operand(int number)
  {
    if (number < 0)
      return -1;
    const auto [at, is_new] = numbers.try_emplace(number, 0);
    if (is_new)
      at->second = prepare.add_value(value(number));
    return at->second;
  }

  void move(const Op& op, const std::vector<bool>& is_read)
  {
    Op moved = op;
    for (int& input : moved.inputs)
      input = operand(input);
    for (int& output : moved.outputs) {
      const int old = output;
      Value result = value(old);
      if (is_read[static_cast<size_t>(old)]) {
        Value target = result;
        target.kind = ValueKind::prepared;
        target.op = -1;
        target.output = 0;
        const int place = prepare.add_value(target);
        result.name += ".new";
        output = prepare.add_value(result);
        prepare.updates.push_back({place, output});
        remarks.add(op.location, fmt::format("{} follows from parameters alone and is prepared", target.name));
      } else
        output = prepare.add_value(result);
      numbers[old] = output;
    }
    prepare.ops.push_back(std::move(moved));
  }

  Graph& forward;
  Remarks& remarks;
  Graph prepare;
  std::vector<bool> moves;
  std::map<int, int> numbers; // of forward's values in `prepare`
};

} // namespace

void prepare_parameters(Program& program, const Target&, Remarks& remarks)
{
  Graph* forward = forward_of(program);
  if (!forward)
    return;
  const std::string name = forward->name + ".prepare";
  if (std::any_of(program.functions.begin(), program.functions.end(), [&](const Graph& g) { return g.name == name; }))
    return; // it came as text
  Graph prepare = Preparation(*forward, remarks).run();
  if (!prepare.ops.empty())
    program.functions.push_back(std::move(prepare));
}

} // namespace cnnc
