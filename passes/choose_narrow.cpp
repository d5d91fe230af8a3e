#include "passes/choose_narrow.h"

#include "passes/prepared.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

constexpr int64_t large = 1 << 15; // elements: smaller weights stay in the first cache in any form

class Chooser {
public:
  Chooser(const Graph& graph, const LowPrecision& asked, Remarks& remarks)
      : graph(graph),
        asked(asked),
        remarks(remarks),
        is_integer(asked.type == DType::i8),
        type(is_integer ? DType::u8 : asked.type)
  {
    const std::vector<bool> is_parameter = steady_values(graph);
    for (const Op& op : graph.ops)
      choice.contractions.push_back(contraction_of(graph, op, is_parameter));
    choice.factors.resize(graph.ops.size(), Factors::as_before);
  }

  NarrowChoice run()
  {
    for (size_t o = 0; o < graph.ops.size(); ++o)
      if (const auto& c = choice.contractions[o])
        choice.factors[o] = factors_of(graph.ops[o], *c);
    // Last: what another reader has as integers is there already.
    for (size_t o = 0; o < graph.ops.size(); ++o)
      if (choice.factors[o] == Factors::bf16 && want(choice.contractions[o]->a, DType::bf16) != DType::bf16)
        choice.factors[o] = Factors::integers;
    return std::move(choice);
  }

private:
  const Value& value(int number) const { return graph.values[static_cast<size_t>(number)]; }

  bool is_candidate(const Contraction& c) const
  {
    return c.has_neighbours && !asked.weights_only && (!is_integer || c.whole);
  }

  Factors factors_of(const Op& op, const Contraction& c)
  {
    const std::string& name = value(op.outputs[0]).name;
    if (is_integer && is_candidate(c) && asked.wide.contains(value(c.a).name)) {
      remarks.add(op.location, fmt::format("{} multiplies bf16: 8 bits are too few for {}", name, value(c.a).name));
      return Factors::bf16;
    }
    if (is_candidate(c) && (!is_integer || has_code(op, c))) {
      want(c.a, type);
      remarks.add(op.location, fmt::format("{} multiplies {}", name, to_string(asked.type)));
      return is_integer ? Factors::integers : Factors::bf16;
    }
    if (!c.is_read_once || elements(value(c.b).type.shape) < large)
      return Factors::as_before;
    remarks.add(op.location, fmt::format("{} multiplies weights as bf16", name));
    return Factors::bf16_weights;
  }

  bool has_code(const Op& op, const Contraction& c) const
  {
    const auto range = asked.ranges.find(value(c.a).name);
    std::string why;
    if (range == asked.ranges.end())
      why = fmt::format("the range of {} is not known", value(c.a).name);
    else if (c.reaches_outside && std::any_of(range->second.begin(), range->second.end(),
                                              [](const LowPrecision::Range& of_channel) { return of_channel.low < 0; }))
      why = fmt::format("{} has numbers below zero, and a border of zeros", value(c.a).name);
    if (!why.empty())
      remarks.add(op.location, fmt::format("{} stays as it is: {}", value(op.outputs[0]).name, why));
    return why.empty();
  }

  // `number` shall exist in a narrow type; and what it was moved from, if it was only moved, unless that has another
  // one. Returns the type that it has.
  DType want(int number, DType to)
  {
    const auto [found, is_new] = choice.wanted.try_emplace(number, to);
    if (!is_new || value(number).kind != ValueKind::result)
      return found->second;
    const Op& op = graph.ops[static_cast<size_t>(value(number).op)];
    const auto has_other = [&](int input) {
      const auto other = choice.wanted.find(input);
      return other != choice.wanted.end() && other->second != to;
    };
    if (!only_moves(op) || std::any_of(op.inputs.begin(), op.inputs.end(), has_other))
      return to;
    choice.moved.insert(value(number).op);
    for (int input : op.inputs)
      if (input >= 0)
        want(input, to);
    return to;
  }

  // One result, each element of which is some element of an operand, or a zero.
  bool only_moves(const Op& op) const
  {
    if (op.outputs.size() != 1 || op.def == &op_formula)
      return false;
    for (int input : op.inputs)
      if (input >= 0 && (value(input).type.dtype != DType::f32 || !has_batch(value(input).type.shape)))
        return false;
    const Formula formula = formula_of(graph, op);
    return std::all_of(formula.statements.begin(), formula.statements.end(), [&](const Statement& s) {
      // A zero has another code where the numbers below zero have some.
      const bool is_zero = s.value->fn == Fn::constant && s.value->value == 0 && !is_integer;
      return s.update != Update::sum && s.tap < 0 && (s.value->fn == Fn::read || is_zero) &&
             formula.tensors[static_cast<size_t>(s.target)].role == Role::output;
    });
  }

  const Graph& graph;
  const LowPrecision& asked;
  Remarks& remarks;
  const bool is_integer;
  const DType type; // of the data, where no other is said
  NarrowChoice choice;
};

} // namespace

NarrowChoice choose_narrow(const Graph& graph, const LowPrecision& asked, Remarks& remarks)
{
  return Chooser(graph, asked, remarks).run();
}

} // namespace cnnc
