// Contractions multiply narrower numbers than the rest of the network computes with.
//
//   %r : f32[n,64,56,56]                         %r.bf16 = cast %r {to = "bf16"} : bf16[n,64,56,56]
//   @w : f32[64,64,3,3]                          %w.bf16 = cast @w {to = "bf16"} : bf16[64,64,3,3]
//   %c = conv2d %r, @w                     =>    %c = formula %r.bf16, %w.bf16 {text = "
//                                                  c[n,o,h,w] += cast(f32, r[n,c,h + i,w + j]) * cast(f32, w[o,c,i,j])"}
//
// A contraction is out += a * b, where b is made of parameters alone (contraction.h). Both become narrow where
// neighbours can be multiplied in one step. Where they cannot (a depthwise window, a dense layer that looks through a
// flatten), or where only weights were asked for, a large b of which each element is read once an image becomes bf16
// alone: that halves what comes from memory.
//
// With `precision i8`, a is u8 with a scale and a zero for each channel, of the ranges that they were found to have; b
// is i8, and sums are i32 (integer_contraction.h):
//
//   q[n,c] = cast(u8, round(r[n,c] / s[c] + z[c]))     acc[n,o] += cast(i32, q[n,c]) * cast(i32, w.i8[o,c])
//                                                      c[n,o] = cast(f32, acc[n,o]) * factor[o] + offset[o]
//
// Only where nothing but a bias stands beside the sum, and where a term outside (which is left out, as if q were z) and
// a zero are the same. A value that was found to need more than 8 bits is bf16 for its readers (`precision bf16`).
//
// What was made narrow for one reader is read so by all; what only moves numbers (a concatenation, a pool that takes
// the largest) moves narrow ones: channels keep their codes. All that is not a contraction is computed as before.
//
// Needs:  gradients are ops; no kernels yet.
// Leaves: `precision` is gone from the graph.
#include "passes/lower_precision.h"

#include "passes/choose_narrow.h"
#include "passes/integer_contraction.h"
#include "passes/pass.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

// ---- what is asked for ----

// x = (cast(f32, q) - zero) * scale: the numbers that q can stand for.
std::optional<LowPrecision::Range> stated_range(const Graph& graph, const Op& op)
{
  if (op.def != &op_formula || op.outputs.size() != 1)
    return {};
  const Formula formula = formula_of(graph, op);
  if (formula.statements.size() != 1 || formula.statements[0].value->fn != Fn::mul)
    return {};
  const Expr* number = formula.statements[0].value->args[0].get();
  const Expr& scale = *formula.statements[0].value->args[1];
  double zero = 0;
  if (number->fn == Fn::sub && number->args[1]->fn == Fn::constant) {
    zero = number->args[1]->value;
    number = number->args[0].get();
  }
  if (scale.fn != Fn::constant || !(scale.value > 0) || number->fn != Fn::cast || number->type != DType::f32 ||
      number->args[0]->fn != Fn::read)
    return {};
  const DType from = number->args[0]->type;
  if (from != DType::u8 && from != DType::i8)
    return {};
  const double least = from == DType::u8 ? 0 : -128;
  return LowPrecision::Range{(least - zero) * scale.value, (least + 255 - zero) * scale.value};
}

// With the ranges that the network itself states, where no others are given.
LowPrecision asked_of(const Graph& graph)
{
  LowPrecision asked = *graph.precision;
  if (asked.type == DType::i8)
    for (const Op& op : graph.ops)
      if (const std::optional<LowPrecision::Range> range = stated_range(graph, op))
        asked.ranges.try_emplace(graph.values[static_cast<size_t>(op.outputs[0])].name, LowPrecision::Ranges{*range});
  return asked;
}

// ---- codes ----

void take_ranges(ChannelCodes& codes, int number, const Value& value, const LowPrecision& asked)
{
  const auto found = asked.ranges.find(value.name);
  if (found == asked.ranges.end())
    return;
  const LowPrecision::Ranges& ranges = found->second;
  const auto count = static_cast<int64_t>(ranges.size());
  if (count == 1)
    codes.join_all(number);
  else if (count != channels_of(value))
    throw Error(value.location, fmt::format("{} ranges are given for '{}', which has {} channels", count, value.name,
                                            channels_of(value)));
  for (int64_t i = 0; i < count; ++i)
    codes.widen(number, i, ranges[static_cast<size_t>(i)].low, ranges[static_cast<size_t>(i)].high);
}

// y[n,c + 64,h,w] = x[n,c,...]: 64.
std::optional<int64_t> channels_ahead(const Statement& s)
{
  if (s.at.size() < 2 || s.value->at.size() < 2)
    return {};
  const Affine ahead = s.at[1] - s.value->at[1];
  if (!ahead.is_constant() || s.at[1].terms.size() != 1 || s.at[1].terms[0].factor != 1)
    return {};
  return ahead.constant;
}

// A channel that is moved into another as a whole leaves the other channels their codes.
void join_moved(ChannelCodes& codes, const Graph& graph, const Op& op)
{
  const auto channels = [&](int number) { return channels_of(graph.values[static_cast<size_t>(number)]); };
  const Formula formula = formula_of(graph, op);
  const int to = op.outputs[0];
  for (const Statement& s : formula.statements) {
    const int from = operand_of(op, formula, s.value->tensor);
    const std::optional<int64_t> ahead = channels_ahead(s);
    if (!ahead) {
      codes.join_all(from);
      codes.join_all(to);
      codes.join(from, 0, to, 0);
      continue;
    }
    for (int64_t i = 0; i < channels(from); ++i)
      if (i + *ahead >= 0 && i + *ahead < channels(to))
        codes.join(from, i, to, i + *ahead);
  }
}

// Of the values that become integers.
ChannelCodes codes_of(const Graph& graph, const NarrowChoice& choice, const LowPrecision& asked)
{
  ChannelCodes codes;
  for (const auto& [number, type] : choice.wanted)
    if (type == DType::u8) {
      const Value& value = graph.values[static_cast<size_t>(number)];
      codes.add(number, channels_of(value));
      take_ranges(codes, number, value, asked);
    }
  for (int o : choice.moved)
    if (const Op& op = graph.ops[static_cast<size_t>(o)]; choice.wanted.at(op.outputs[0]) == DType::u8)
      join_moved(codes, graph, op);
  for (size_t o = 0; o < graph.ops.size(); ++o)
    if (choice.factors[o] == Factors::integers && !choice.contractions[o]->weight_input)
      codes.join_all(choice.contractions[o]->a);
  return codes;
}

// ---- the new ops ----

class Rewriting {
public:
  Rewriting(Graph& graph, const NarrowChoice& choice, ChannelNumbers& numbers)
      : graph(graph),
        choice(choice),
        numbers(numbers),
        integers(graph, numbers)
  {
  }

  void run()
  {
    std::vector<Op> old;
    old.swap(graph.ops);
    for (const auto& [number, type] : choice.wanted)
      if (value(number).kind != ValueKind::result)
        make_narrow(number, type, value(number).location);
    for (size_t o = 0; o < old.size(); ++o) {
      const Location where = old[o].location;
      const std::vector<int> outputs = old[o].outputs;
      if (choice.moved.contains(static_cast<int>(o)))
        move(old[o]);
      else
        compute(old[o], choice.contractions[o], choice.factors[o]);
      for (int output : outputs)
        if (const auto found = choice.wanted.find(output); found != choice.wanted.end() && !narrow.contains(output))
          make_narrow(output, found->second, where);
    }
    // Dead ones go: a sum that is not used, a bias that was read elsewhere.
    compact(graph);
  }

private:
  const Value& value(int number) const { return graph.values[static_cast<size_t>(number)]; }

  // The same op on narrow numbers.
  void move(Op& op)
  {
    Op narrow_op = op;
    for (int& input : narrow_op.inputs)
      if (input >= 0)
        input = narrow.at(input);
    const int to = op.outputs[0];
    narrow_op.outputs = {new_value(to, choice.wanted.at(to))};
    narrow[to] = narrow_op.outputs[0];
    append(std::move(narrow_op));
    if (std::find(graph.outputs.begin(), graph.outputs.end(), to) != graph.outputs.end())
      append(std::move(op));
  }

  void compute(Op& op, const std::optional<Contraction>& c, Factors factors)
  {
    switch (factors) {
    case Factors::integers:
      if (c->reaches_outside && has_zeros(numbers.codes_of(c->a)))
        read_narrow(op, -1); // its operand has got the code of others
      else
        integers.rewrite(op, *c, narrow.at(c->a));
      break;
    case Factors::bf16_weights:
    case Factors::bf16: read_narrow(op, c->b); break;
    case Factors::as_before: read_narrow(op, -1); break;
    }
    append(std::move(op));
  }

  // Operands that are there as narrow numbers are read so, and so is this op's own weight.
  void read_narrow(Op& op, int weight)
  {
    if (weight >= 0 && !narrow.contains(weight))
      make_narrow(weight, DType::bf16, op.location);
    const auto is_narrow = [&](int input) {
      return input >= 0 && narrow.contains(input) && (choice.wanted.contains(input) || input == weight);
    };
    if (std::none_of(op.inputs.begin(), op.inputs.end(), is_narrow))
      return;
    FormulaOp made{formula_of(graph, op), {}};
    Formula& f = made.formula;
    std::vector<int> from(f.tensors.size(), -1);
    for (size_t t = 0; t < f.tensors.size(); ++t) {
      if (f.tensors[t].role != Role::input)
        continue;
      const int input = operand_of(op, f, static_cast<int>(t));
      f.input_numbers[made.inputs.size()] = static_cast<int>(made.inputs.size()); // those that are absent have none
      made.inputs.push_back(is_narrow(input) ? narrow.at(input) : input);
      if (is_narrow(input)) {
        from[t] = input;
        f.tensors[t].type.dtype = value(narrow.at(input)).type.dtype;
      }
    }
    for (Statement& s : f.statements)
      s.value = transform(s.value, [&](const ExprPtr& e) -> ExprPtr {
        if (e->fn != Fn::read || from[static_cast<size_t>(e->tensor)] < 0)
          return e;
        const auto t = static_cast<size_t>(e->tensor);
        const ExprPtr narrow_read = read(e->tensor, f.tensors[t].type.dtype, e->at, e->checked);
        return narrow_read->type == DType::u8 ? numbers.decoded(made, from[t], narrow_read)
                                              : cast(DType::f32, narrow_read);
      });
    become(op, std::move(made));
  }

  // `where` by value: it may be one of the values', which move when one is added.
  void make_narrow(int number, DType to, Location where)
  {
    const std::string name = fmt::format("{}.{}", value(number).name, to_string(to));
    if (to != DType::u8) {
      const int op = graph.add_op(*find_op("cast"), name, {number}, {{"to", std::string(to_string(to))}}, where);
      narrow[number] = graph.ops[static_cast<size_t>(op)].outputs[0];
      return;
    }
    FormulaOp f = formula_on(graph, {{"x", number}}, "q", {DType::u8, value(number).type.shape});
    const std::vector<Affine> at = assign_each(f.formula, 1);
    f.formula.statements[0].value = numbers.encoded(f, number, read(0, DType::f32, at), at);
    narrow[number] = add_op(graph, f, name, where);
  }

  int new_value(int of, DType type)
  {
    Value made;
    made.name = fmt::format("{}.{}", value(of).name, to_string(type));
    made.type = {type, value(of).type.shape};
    made.location = value(of).location;
    return graph.add_value(std::move(made));
  }

  void append(Op op)
  {
    for (size_t k = 0; k < op.outputs.size(); ++k) {
      Value& made = graph.values[static_cast<size_t>(op.outputs[k])];
      made.op = static_cast<int>(graph.ops.size());
      made.output = static_cast<int>(k);
    }
    graph.ops.push_back(std::move(op));
  }

  Graph& graph;
  const NarrowChoice& choice;
  ChannelNumbers& numbers;
  IntegerContractions integers;
  std::map<int, int> narrow; // value -> its narrow form
};

// ---- what has to be known ----

// With the contractions that multiply the value itself.
ToCalibrate to_calibrate(const Graph& graph, const NarrowChoice& choice, int number)
{
  const auto value = [&](int v) -> const Value& { return graph.values[static_cast<size_t>(v)]; };
  ToCalibrate found{value(number).name};
  for (size_t o = 0; o < graph.ops.size(); ++o) {
    const auto& c = choice.contractions[o];
    if (choice.factors[o] != Factors::integers || c->a != number)
      continue;
    if (c->weight_input)
      found.weights.push_back({value(c->b).name, c->whole->weight_channel, *c->weight_input});
    int64_t points = 1;
    const Formula formula = formula_of(graph, graph.ops[o]);
    for (const Index& index : formula.statements[c->statement].indices)
      points *= index.extent.batch ? 1 : index.extent.size;
    found.multiplications += points;
    found.weight_elements += elements(value(c->b).type.shape);
  }
  return found;
}

} // namespace

std::vector<ToCalibrate> values_to_calibrate(const Graph& graph)
{
  if (!graph.precision || graph.precision->type != DType::i8)
    return {};
  const LowPrecision asked = asked_of(graph);
  // All that would be integers, if every range were known and 8 bits enough.
  LowPrecision all_known = asked;
  all_known.wide.clear();
  for (const Value& value : graph.values)
    all_known.ranges[value.name] = {LowPrecision::Range{}};
  Remarks unheard;
  const NarrowChoice choice = choose_narrow(graph, all_known, unheard);
  std::vector<ToCalibrate> found;
  for (const auto& [number, type] : choice.wanted)
    if (const std::string& name = graph.values[static_cast<size_t>(number)].name;
        !asked.ranges.contains(name) && !asked.wide.contains(name))
      found.push_back(to_calibrate(graph, choice, number));
  return found;
}

void lower_precision(Graph& graph, const Target&, Remarks& remarks)
{
  if (!graph.precision)
    return;
  const LowPrecision asked = asked_of(graph);
  graph.precision.reset();
  const NarrowChoice choice = choose_narrow(graph, asked, remarks);
  ChannelNumbers numbers(graph, codes_of(graph, choice, asked), asked.ranges);
  Rewriting(graph, choice, numbers).run();
}

} // namespace cnnc
