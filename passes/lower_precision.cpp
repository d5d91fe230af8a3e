// Contractions multiply narrower numbers than the rest of the network computes with.
//
//   %r : f32[n,64,56,56]                         %r.bf16 = cast %r {to = "bf16"} : bf16[n,64,56,56]
//   @w : f32[64,64,3,3]                          %w.bf16 = cast @w {to = "bf16"} : bf16[64,64,3,3]
//   %c = conv2d %r, @w                     =>    %c = formula %r.bf16, %w.bf16 {text = "
//                                                  c[n,o,h,w] += cast(f32, r[n,c,h + i,w + j]) * cast(f32, w[o,c,i,j])"}
//
// A contraction is out += a * b, where b is made of parameters alone. Both become narrow where they share a reduced
// index that neither subscript scales: a target with such an instruction multiplies neighbours along it in one step.
// Where they do not (a depthwise window, a dense layer that looks through a flatten), or where only weights were asked
// for, a large b of which each element is read once an image becomes bf16 alone: that halves what comes from memory.
//
// With `precision i8`, a is u8 with a scale and a zero for each channel, of the ranges that they were found to have; b is
// i8 with one scale for each element of the dimension that the result shares with it. Sums are i32:
//
//   q[n,c] = cast(u8, round(r[n,c] / s[c] + z[c]))     w.i8[o,c] = cast(i8, round(w[o,c] * s[c] * 127 / most[o]))
//   acc[n,o] += cast(i32, q[n,c]) * cast(i32, w.i8[o,c])
//   c[n,o] = cast(f32, acc[n,o]) * factor[o] + offset[o]
//            most[o] = largest |w[o,c] * s[c]|, factor = most/127, offset = bias - factor * sum of z[c] * w.i8[o,c]
//
// Rounding the weights moves the mean of each channel of c, by the sum of what it added to each times the mean of what
// that is multiplied with. Where that mean is known, offset is less by so much (bias correction: Nagel et al. 2019,
// "Data-free quantization through weight equalization and bias correction", section 4.2): of all that rounding does, this
// alone is the same for every picture, and the layers behind would add it up.
//
// A value that was found to need more than 8 bits is bf16 for its readers, as with `precision bf16`.
//
// Where a's channels are not what is summed over, by one index that subscripts one dimension of b (groups), or a has one
// range for all of it, s and z are numbers that go into factor and offset.
//
// Only where nothing but a bias stands beside the sum, and where a term outside (which is left out, as if q were z) and
// a zero are the same.
//
// What was made narrow for one reader is read so by all; what only moves numbers (a concatenation, a pool that takes
// the largest) moves narrow ones: channels keep their codes. All that is not a contraction is computed as before.
//
// Needs:  gradients are ops; no kernels yet.
// Leaves: `precision` is gone from the graph.
#include "passes/lower_precision.h"

#include "passes/channel_codes.h"
#include "passes/formula_op.h"
#include "passes/pass.h"
#include "passes/prepared.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace cnnc {

namespace {

constexpr int64_t large = 1 << 15; // elements: smaller weights stay in the first cache in any form

// out += a * b.
struct Contraction {
  int a = -1, b = -1; // values
  bool has_neighbours = false;
  bool is_read_once = false; // each element of b, for each image
  // Of integers:
  bool is_whole = false;        // bias + sum is all there is
  bool reaches_outside = false; // terms may be left out
  int bias = -1;
  size_t statement = 0, channel = 0, weight_channel = 0; // the sum; the dimensions that the result and b share
  std::optional<size_t> weight_input; // b's dimension of a's channels, where a scale of each can go into the weights
  bool is_wide = false;               // bf16, though others are integers
};

class Lowering {
public:
  Lowering(Graph& graph, Remarks& remarks)
      : graph(graph),
        remarks(remarks),
        asked(*graph.precision),
        is_integer(asked.type == DType::i8),
        type(is_integer ? DType::u8 : asked.type)
  {
    is_parameter = steady_values(graph);
    contractions.resize(graph.ops.size());
    for (size_t o = 0; o < graph.ops.size(); ++o)
      contractions[o] = contraction_of(graph.ops[o]);
    if (is_integer)
      for (const Op& op : graph.ops)
        take_range(op);
  }

  void run()
  {
    graph.precision.reset();
    for (size_t o = 0; o < graph.ops.size(); ++o)
      choose(graph.ops[o], contractions[o]);
    // Last: what another reader has as integers is there already.
    for (Contraction& c : contractions)
      if (c.is_wide)
        c.is_wide = want(c.a, DType::bf16) == DType::bf16;
    if (is_integer)
      find_codes();
    rewrite();
  }

  // Values that `run` would make narrow, were their ranges known.
  std::vector<ToCalibrate> candidates()
  {
    for (const Contraction& c : contractions)
      if (c.b >= 0 && is_candidate(c))
        want(c.a, type);
    std::vector<ToCalibrate> found;
    for (const auto& [number, narrow_type] : wanted)
      if (!asked.ranges.contains(value(number).name) && !asked.wide.contains(value(number).name))
        found.push_back(with_work({value(number).name, weights_behind(number)}, number));
    return found;
  }

private:
  const Value& value(int number) const { return graph.values[static_cast<size_t>(number)]; }

  // x = (cast(f32, q) - zero) * scale: the numbers that q can stand for.
  void take_range(const Op& op)
  {
    if (op.def != &op_formula || op.outputs.size() != 1)
      return;
    const Formula formula = formula_of(graph, op);
    if (formula.statements.size() != 1 || formula.statements[0].value->fn != Fn::mul)
      return;
    const Expr* number = formula.statements[0].value->args[0].get();
    const Expr& scale = *formula.statements[0].value->args[1];
    double zero = 0;
    if (number->fn == Fn::sub && number->args[1]->fn == Fn::constant) {
      zero = number->args[1]->value;
      number = number->args[0].get();
    }
    if (scale.fn != Fn::constant || !(scale.value > 0) || number->fn != Fn::cast || number->type != DType::f32 ||
        number->args[0]->fn != Fn::read)
      return;
    const DType from = number->args[0]->type;
    if (from != DType::u8 && from != DType::i8)
      return;
    const double least = from == DType::u8 ? 0 : -128;
    asked.ranges.try_emplace(value(op.outputs[0]).name,
                             LowPrecision::Ranges{{(least - zero) * scale.value, (least + 255 - zero) * scale.value}});
  }

  Contraction contraction_of(const Op& op) const
  {
    Contraction found;
    const Formula formula = formula_of(graph, op);
    for (size_t number = 0; number < formula.statements.size(); ++number) {
      const Statement& s = formula.statements[number];
      if (s.update != Update::sum || s.value->fn != Fn::mul || s.value->type != DType::f32)
        continue;
      const Expr *a = s.value->args[0].get(), *b = s.value->args[1].get();
      for (const Expr* read : {a, b})
        if (read->fn != Fn::read || read->checked || read->type != DType::f32 ||
            formula.tensors[static_cast<size_t>(read->tensor)].role != Role::input)
          return {};
      if (is_parameter[static_cast<size_t>(operand(op, formula, a->tensor))])
        std::swap(a, b);
      const int data = operand(op, formula, a->tensor), weight = operand(op, formula, b->tensor);
      if (found.b >= 0 || is_parameter[static_cast<size_t>(data)] || !is_parameter[static_cast<size_t>(weight)] ||
          !has_batch(value(data).type.shape) || value(weight).type.shape.size() < 2)
        return {};
      found.a = data;
      found.b = weight;
      found.statement = number;
      for (size_t i = 0; i < s.indices.size(); ++i)
        found.has_neighbours =
            found.has_neighbours || (!s.is_output_index(static_cast<int>(i)) && s.indices[i].extent.size % 16 == 0 &&
                                     is_plain(a->at, static_cast<int>(i)) && is_plain(b->at, static_cast<int>(i)));
      for (size_t i = 0; i < s.indices.size(); ++i)
        found.is_read_once =
            (i == 0 || found.is_read_once) &&
            (s.indices[i].extent.batch ||
             std::any_of(b->at.begin(), b->at.end(), [&](const Affine& at) { return at.uses(static_cast<int>(i)); }));
      found.reaches_outside = !is_inside(a->at, value(data).type.shape, s.indices);
      found.is_whole = is_whole(op, formula, s, *b, found);
      found.weight_input = input_channels(s, *a, *b, value(data).type.shape);
    }
    return found;
  }

  // The index stands in one subscript, by itself or behind multiples of what it runs through.
  static bool is_plain(const std::vector<Affine>& at, int index)
  {
    int uses = 0;
    bool plain = true;
    for (const Affine& subscript : at)
      if (subscript.uses(index)) {
        ++uses;
        plain = plain && subscript.factor(index) == 1 && subscript.constant % 16 == 0;
        for (const Affine::Term& term : subscript.terms)
          plain = plain && (term.index == index || term.factor % 16 == 0);
      }
    return plain && uses == 1;
  }

  // Dimension 1 of a is summed over, and so is one of b, by the same index that nothing else subscripts.
  static std::optional<size_t> input_channels(const Statement& sum, const Expr& a, const Expr& b, const Shape& shape)
  {
    const int index = a.at.size() > 1 ? a.at[1].bare() : -1;
    if (index < 0 || sum.is_output_index(index) || sum.indices[static_cast<size_t>(index)].extent != shape[1])
      return {};
    const auto uses = [&](const std::vector<Affine>& at) {
      return std::count_if(at.begin(), at.end(), [&](const Affine& subscript) { return subscript.uses(index); });
    };
    if (uses(a.at) != 1 || uses(b.at) != 1)
      return {};
    for (size_t d = 0; d < b.at.size(); ++d)
      if (b.at[d].bare() == index)
        return d;
    return {};
  }

  static bool is_inside(const std::vector<Affine>& at, const Shape& shape, const std::vector<Index>& indices)
  {
    for (size_t d = 0; d < at.size(); ++d)
      if (!cnnc::is_inside(at[d], shape[d], indices))
        return false;
    return true;
  }

  // y[n,o] = bias[o], y[n,o] += a * b, and y shares one dimension with b.
  bool is_whole(const Op& op, const Formula& formula, const Statement& sum, const Expr& b, Contraction& found) const
  {
    const FormulaTensor& y = formula.tensors[static_cast<size_t>(sum.target)];
    if (y.role != Role::output || op.outputs.size() != 1 || y.type.dtype != DType::f32)
      return false;
    int shared = 0;
    for (size_t d = 0; d < sum.at.size(); ++d) {
      const int bare = sum.at[d].bare();
      if (bare < 0 || sum.indices[static_cast<size_t>(bare)].extent != y.type.shape[d])
        return false;
      for (size_t k = 0; k < b.at.size(); ++k)
        if (b.at[k] == sum.at[d]) {
          found.channel = d;
          found.weight_channel = k;
          ++shared;
        }
    }
    if (shared != 1)
      return false;
    for (const Statement& s : formula.statements) {
      if (&s == &sum)
        continue;
      if (s.target != sum.target || s.update != Update::assign || s.value->fn != Fn::read ||
          formula.tensors[static_cast<size_t>(s.value->tensor)].role != Role::input || s.value->at.size() != 1 ||
          !(s.value->at[0] == s.at[found.channel]) || s.value->at[0].bare() < 0 || found.bias >= 0)
        return false;
      found.bias = operand(op, formula, s.value->tensor);
      if (!is_parameter[static_cast<size_t>(found.bias)])
        return false;
    }
    return true;
  }

  static int operand(const Op& op, const Formula& formula, int tensor)
  {
    size_t number = 0;
    for (int t = 0; t < tensor; ++t)
      number += formula.tensors[static_cast<size_t>(t)].role == Role::input;
    return op.inputs[static_cast<size_t>(formula.input_numbers[number])];
  }

  std::vector<ToCalibrate::Weight> weights_behind(int number) const
  {
    std::vector<ToCalibrate::Weight> found;
    for (const Contraction& c : contractions)
      if (c.a == number && is_candidate(c) && c.weight_input)
        found.push_back({value(c.b).name, c.weight_channel, *c.weight_input});
    return found;
  }

  ToCalibrate with_work(ToCalibrate of, int number) const
  {
    for (size_t o = 0; o < contractions.size(); ++o) {
      const Contraction& c = contractions[o];
      if (c.a != number || !is_candidate(c))
        continue;
      int64_t points = 1;
      for (const Index& index : formula_of(graph, graph.ops[o]).statements[c.statement].indices)
        points *= index.extent.batch ? 1 : index.extent.size;
      of.multiplications += points;
      of.weight_elements += elements(value(c.b).type.shape);
    }
    return of;
  }

  // ---- what becomes narrow ----

  bool is_candidate(const Contraction& c) const
  {
    return c.has_neighbours && !asked.weights_only && (!is_integer || c.is_whole);
  }

  void choose(const Op& op, Contraction& c)
  {
    if (c.b < 0)
      return;
    const bool is_large = c.is_read_once && elements(value(c.b).type.shape) >= large;
    if (is_integer && is_candidate(c) && asked.wide.contains(value(c.a).name)) {
      c.is_wide = true;
      remarks.add(op.location, fmt::format("{} multiplies bf16: 8 bits are too few for {}", value(op.outputs[0]).name,
                                           value(c.a).name));
      return;
    }
    if (is_candidate(c) && (!is_integer || has_code(op, c))) {
      want(c.a, type);
      remarks.add(op.location, fmt::format("{} multiplies {}", value(op.outputs[0]).name, to_string(asked.type)));
      return;
    }
    c.has_neighbours = false;
    if (!is_large)
      c = {};
    else
      remarks.add(op.location, fmt::format("{} multiplies weights as bf16", value(op.outputs[0]).name));
  }

  bool has_code(const Op& op, const Contraction& c)
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

  // `number` shall exist in a narrow type; and what it was moved from, if it was only moved, unless that has another one.
  // Returns the type that it has.
  DType want(int number, DType to)
  {
    const auto [found, is_new] = wanted.try_emplace(number, to);
    if (!is_new || value(number).kind != ValueKind::result)
      return found->second;
    const Op& op = graph.ops[static_cast<size_t>(value(number).op)];
    const auto has_other = [&](int input) {
      const auto other = wanted.find(input);
      return other != wanted.end() && other->second != to;
    };
    if (!only_moves(op) || std::any_of(op.inputs.begin(), op.inputs.end(), has_other))
      return to;
    moved.insert(value(number).op);
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

  // ---- codes ----

  int64_t channels(int number) const
  {
    const Shape& shape = value(number).type.shape;
    return shape.size() > 1 && shape[0].batch ? shape[1].size : 1;
  }

  void find_codes()
  {
    for (const auto& [number, narrow_type] : wanted)
      if (narrow_type == DType::u8) {
        codes.add(number, channels(number));
        take_ranges(number);
      }
    for (int o : moved)
      if (const Op& op = graph.ops[static_cast<size_t>(o)]; wanted.at(op.outputs[0]) == DType::u8)
        join_moved(op);
    for (const Contraction& c : contractions)
      if (c.has_neighbours && !c.is_wide && !c.weight_input)
        codes.join_all(c.a);
  }

  void take_ranges(int number)
  {
    const auto found = asked.ranges.find(value(number).name);
    if (found == asked.ranges.end())
      return;
    const LowPrecision::Ranges& ranges = found->second;
    const auto count = static_cast<int64_t>(ranges.size());
    if (count == 1)
      codes.join_all(number);
    else if (count != channels(number))
      throw Error(value(number).location, fmt::format("{} ranges are given for '{}', which has {} channels", count,
                                                      value(number).name, channels(number)));
    for (int64_t i = 0; i < count; ++i)
      codes.widen(number, i, ranges[static_cast<size_t>(i)].low, ranges[static_cast<size_t>(i)].high);
  }

  // A channel that is moved into another as a whole leaves the other channels their codes.
  void join_moved(const Op& op)
  {
    const Formula formula = formula_of(graph, op);
    const int to = op.outputs[0];
    for (const Statement& s : formula.statements) {
      const int from = operand(op, formula, s.value->tensor);
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

  // y[n,c + 64,h,w] = x[n,c,...]: 64.
  static std::optional<int64_t> channels_ahead(const Statement& s)
  {
    if (s.at.size() < 2 || s.value->at.size() < 2)
      return {};
    const Affine ahead = s.at[1] - s.value->at[1];
    if (!ahead.is_constant() || s.at[1].terms.size() != 1 || s.at[1].terms[0].factor != 1)
      return {};
    return ahead.constant;
  }

  // ---- the new ops ----

  void rewrite()
  {
    std::vector<Op> old;
    old.swap(graph.ops);
    for (const auto& [number, narrow_type] : wanted)
      if (value(number).kind != ValueKind::result)
        make_narrow(number, narrow_type, value(number).location);
    for (size_t o = 0; o < old.size(); ++o) {
      Op& op = old[o];
      const Location where = op.location;
      const std::vector<int> outputs = op.outputs;
      const bool multiplies_integers = is_integer && contractions[o].has_neighbours && !contractions[o].is_wide;
      if (moved.contains(static_cast<int>(o)))
        move(op);
      else if (multiplies_integers && contractions[o].reaches_outside && has_zeros(codes.of(contractions[o].a)))
        read_narrow(op, -1); // its operand has got the code of others
      else if (multiplies_integers)
        contract(op, contractions[o]);
      else
        read_narrow(op, contractions[o].b);
      for (int output : outputs)
        if (const auto found = wanted.find(output); found != wanted.end() && !narrow.contains(output))
          make_narrow(output, found->second, where);
    }
    compact(graph);
  }

  // The same op on narrow numbers.
  void move(Op& op)
  {
    Op narrow_op = op;
    for (int& input : narrow_op.inputs)
      if (input >= 0)
        input = narrow.at(input);
    const int to = op.outputs[0];
    narrow_op.outputs = {new_value(to, wanted.at(to))};
    narrow[to] = narrow_op.outputs[0];
    append(std::move(narrow_op));
    if (std::find(graph.outputs.begin(), graph.outputs.end(), to) != graph.outputs.end())
      append(std::move(op));
  }

  int new_value(int of, DType narrow_type)
  {
    Value made;
    made.name = fmt::format("{}.{}", value(of).name, to_string(narrow_type));
    made.type = {narrow_type, value(of).type.shape};
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

  void make_narrow(int number, DType to, const Location& where)
  {
    const std::string name = fmt::format("{}.{}", value(number).name, to_string(to));
    if (to != DType::u8) {
      const int op = graph.add_op(*find_op("cast"), name, {number}, {{"to", std::string(to_string(to))}}, where);
      narrow[number] = graph.ops[static_cast<size_t>(op)].outputs[0];
      return;
    }
    Formula f = formula({{"x", value(number).type}}, {"q", {DType::u8, value(number).type.shape}});
    std::vector<int> inputs{number};
    const std::vector<Affine> at = every_element(f, 1);
    const std::vector<Code> code = codes.of(number);
    const ExprPtr scaled = call(Fn::mul, {read(0, DType::f32, at), of_channel(f, inputs, number, Part::inverse, at)});
    const ExprPtr zero = code.size() == 1 || has_zeros(code) ? of_channel(f, inputs, number, Part::zero, at) : nullptr;
    f.statements[0].value = cast(DType::u8, call(Fn::round, {zero ? call(Fn::add, {scaled, zero}) : scaled}));
    narrow[number] = add(f, name, inputs, where);
  }

  static bool has_zeros(const std::vector<Code>& code)
  {
    return std::any_of(code.begin(), code.end(), [](const Code& of_channel) { return of_channel.zero != 0; });
  }

  enum class Part : uint8_t { scale, inverse, zero, mean }; // the last in the unit of the weights that it meets

  double part_of(int number, const std::vector<Code>& code, size_t channel, Part part) const
  {
    switch (part) {
    case Part::scale: return code[channel].scale;
    case Part::inverse: return 1 / code[channel].scale;
    case Part::zero: return code[channel].zero;
    case Part::mean: break;
    }
    const double mean = asked.ranges.at(value(number).name)[channel].mean;
    return code.size() > 1 ? mean / code[channel].scale : mean; // where there is one scale, weights are as they are
  }
  static const char* name_of(Part part)
  {
    switch (part) {
    case Part::scale: return "scale";
    case Part::inverse: return "inverse";
    case Part::zero: return "zero";
    case Part::mean: break;
    }
    return "mean";
  }

  // The number that belongs to the channel at[1] of a value: written out where it is the same in all of them, else read
  // from a constant, which becomes an operand.
  ExprPtr of_channel(Formula& f, std::vector<int>& inputs, int number, Part part, const std::vector<Affine>& at,
                     bool checked = false)
  {
    const std::vector<Code> code = codes.of(number);
    if (code.size() == 1)
      return constant(part_of(number, code, 0, part), DType::f32);
    return of_each_channel(f, inputs, number, part, at, checked);
  }

  ExprPtr of_each_channel(Formula& f, std::vector<int>& inputs, int number, Part part, const std::vector<Affine>& at,
                          bool checked = false)
  {
    return read(tensor_of(f, inputs, constant_of(number, part), name_of(part)), DType::f32, {at[1]}, checked);
  }

  // The tensor that stands for a value, which may become one more operand.
  int tensor_of(Formula& f, std::vector<int>& inputs, int number, std::string name)
  {
    for (size_t t = 0, k = 0; t < f.tensors.size(); ++t)
      if (f.tensors[t].role == Role::input && inputs[static_cast<size_t>(f.input_numbers[k++])] == number)
        return static_cast<int>(t);
    while (f.find(name) >= 0)
      name += '_';
    f.input_numbers.push_back(static_cast<int>(inputs.size()));
    inputs.push_back(number);
    f.tensors.push_back({std::move(name), Role::input, value(number).type});
    return static_cast<int>(f.tensors.size()) - 1;
  }

  int constant_of(int number, Part part)
  {
    auto [found, is_new] = constants.try_emplace({number, part});
    if (!is_new)
      return found->second;
    const std::vector<Code> code = codes.of(number);
    const int64_t count = channels(number);
    Tensor data(DType::f32, {count});
    for (int64_t i = 0; i < count; ++i)
      data.set(i, part_of(number, code, static_cast<size_t>(i), part));
    Value made;
    made.name = fmt::format("{}.{}", value(number).name, name_of(part));
    made.kind = ValueKind::constant;
    made.type = {DType::f32, {Dim{count}}};
    made.data = std::make_shared<const Tensor>(std::move(data));
    made.location = value(number).location;
    return found->second = graph.add_value(std::move(made));
  }

  ExprPtr decoded(Formula& f, std::vector<int>& inputs, int number, const ExprPtr& narrow_read)
  {
    ExprPtr result = cast(DType::f32, narrow_read);
    if (narrow_read->type != DType::u8)
      return result;
    const std::vector<Affine>& at = narrow_read->at;
    const bool checked = narrow_read->checked, zeros = has_zeros(codes.of(number));
    if (zeros)
      result = call(Fn::sub, {result, of_channel(f, inputs, number, Part::zero, at, checked)});
    result = call(Fn::mul, {result, of_channel(f, inputs, number, Part::scale, at, checked)});
    // Outside is zero, and that is another integer.
    return checked && zeros ? call(Fn::select, {is_in(number, at), result, constant(0, DType::f32)}) : result;
  }

  ExprPtr is_in(int number, const std::vector<Affine>& at) const
  {
    std::vector<Affine> pairs;
    for (size_t d = 1; d < at.size(); ++d) { // the first is the batch
      pairs.push_back(at[d]);
      pairs.push_back(value(number).type.shape[d].size);
    }
    return inside(std::move(pairs));
  }

  // Operands that are there as narrow numbers are read so, and so is this op's own weight.
  void read_narrow(Op& op, int weight)
  {
    if (weight >= 0 && !narrow.contains(weight))
      make_narrow(weight, DType::bf16, op.location);
    const auto is_narrow = [&](int input) {
      return input >= 0 && narrow.contains(input) && (wanted.contains(input) || input == weight);
    };
    if (std::none_of(op.inputs.begin(), op.inputs.end(), is_narrow))
      return append(std::move(op));
    Formula f = formula_of(graph, op);
    std::vector<int> inputs, from(f.tensors.size(), -1);
    for (size_t t = 0; t < f.tensors.size(); ++t) {
      if (f.tensors[t].role != Role::input)
        continue;
      const int input = operand(op, f, static_cast<int>(t));
      f.input_numbers[inputs.size()] = static_cast<int>(inputs.size()); // those that are absent have none
      inputs.push_back(is_narrow(input) ? narrow.at(input) : input);
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
        return decoded(f, inputs, from[t], read(e->tensor, f.tensors[t].type.dtype, e->at, e->checked));
      });
    op.attributes = attributes_of(f);
    op.def = &op_formula;
    op.inputs = std::move(inputs);
    append(std::move(op));
  }

  // ---- integers ----

  struct Weight {
    int integers, most, sum; // values: i8 as b; f32, one an element of the channel: largest, and sum of the integers
  };

  // One input after the other, one output, no statements.
  static Formula formula(const std::vector<std::pair<std::string, TensorType>>& inputs,
                         const std::pair<std::string, TensorType>& output)
  {
    Formula f;
    for (const auto& [name, input_type] : inputs) {
      f.input_numbers.push_back(static_cast<int>(f.tensors.size()));
      f.tensors.push_back({name, Role::input, input_type});
    }
    f.tensors.push_back({output.first, Role::output, output.second});
    return f;
  }

  // An assignment to each element of a tensor, without a value yet; returns the subscripts.
  static std::vector<Affine> every_element(Formula& f, int target)
  {
    Statement s;
    s.target = target;
    const Shape& shape = f.tensors[static_cast<size_t>(target)].type.shape;
    for (size_t d = 0; d < shape.size(); ++d) {
      s.indices.push_back({shape[d].batch ? "n" : fmt::format("i{}", d), shape[d]});
      s.at.push_back(Affine::of(static_cast<int>(d)));
    }
    f.statements.push_back(s);
    return s.at;
  }

  // f[o] update= value, over all elements of operand 0, whose dimension `channel` is o.
  static std::vector<Affine> every_element_of(Formula& f, int target, size_t channel, Update update)
  {
    Statement s;
    s.target = target;
    s.update = update;
    std::vector<Affine> at;
    const Shape& shape = f.tensors[0].type.shape;
    for (size_t d = 0; d < shape.size(); ++d) {
      s.indices.push_back({fmt::format("i{}", d), shape[d]});
      at.push_back(Affine::of(static_cast<int>(d)));
    }
    s.at = {at[channel]};
    f.statements.push_back(std::move(s));
    return at;
  }

  int add(const Formula& f, const std::string& name, std::vector<int> inputs, const Location& where)
  {
    const int op = graph.add_op(op_formula, name, std::move(inputs), attributes_of(f), where);
    return graph.ops[static_cast<size_t>(op)].outputs[0];
  }

  // Of the data's channels, where each has a scale: w times that is what the integers stand for.
  const Weight& weight_of(const Contraction& c, const Location& where)
  {
    const bool by_channel = codes.of(c.a).size() > 1;
    auto [found, is_new] = weights.try_emplace({c.b, c.weight_channel, by_channel ? c.a : -1});
    Weight& weight = found->second;
    if (!is_new)
      return weight;
    const TensorType wide = value(c.b).type;
    const std::string name = value(c.b).name;
    const TensorType each{DType::f32, {wide.shape[c.weight_channel]}}, integers{DType::i8, wide.shape};
    const auto input_channel = [&](const std::vector<Affine>& at) {
      return std::vector<Affine>{Affine(), at[c.weight_input.value_or(0)]};
    };
    const auto scaled = [&](Formula& f, std::vector<int>& inputs, const std::vector<Affine>& at) {
      const ExprPtr w = read(0, DType::f32, at);
      return by_channel ? call(Fn::mul, {w, of_channel(f, inputs, c.a, Part::scale, input_channel(at))}) : w;
    };
    {
      Formula f = formula({{"w", wide}}, {"most", each});
      std::vector<int> inputs{c.b};
      const std::vector<Affine> at = every_element_of(f, 1, c.weight_channel, Update::max);
      f.statements[0].value = call(Fn::abs, {scaled(f, inputs, at)});
      weight.most = add(f, name + ".most", inputs, where);
    }
    {
      Formula f = formula({{"w", wide}, {"most", each}}, {"q", integers});
      std::vector<int> inputs{c.b, weight.most};
      const std::vector<Affine> at = every_element(f, 2);
      const ExprPtr most = read(1, DType::f32, {at[c.weight_channel]}), zero = constant(0, DType::f32);
      const ExprPtr scale =
          call(Fn::select, {call(Fn::less, {zero, most}), call(Fn::div, {constant(127, DType::f32), most}), zero});
      f.statements[0].value = cast(DType::i8, call(Fn::round, {call(Fn::mul, {scaled(f, inputs, at), scale})}));
      weight.integers = add(f, name + ".i8", inputs, where);
    }
    {
      Formula f = formula({{"q", integers}}, {"sum", each});
      std::vector<int> inputs{weight.integers};
      const std::vector<Affine> at = every_element_of(f, 1, c.weight_channel, Update::sum);
      f.statements[0].value = cast(DType::f32, read(0, DType::i8, at));
      if (by_channel)
        f.statements[0].value =
            call(Fn::mul, {f.statements[0].value, of_channel(f, inputs, c.a, Part::zero, input_channel(at))});
      weight.sum = add(f, name + ".sum", inputs, where);
    }
    return weight;
  }

  // By how much the mean of each of the result's channels moves as the weights are rounded, or -1: the sum of what
  // rounding added to each, times the mean of what it is multiplied with. (As if no term was ever left out.)
  int drift_of(const Contraction& c, const Weight& weight, const std::string& name, const Location& where)
  {
    const auto found = asked.ranges.find(value(c.a).name);
    if (found == asked.ranges.end())
      return -1;
    const LowPrecision::Ranges& ranges = found->second;
    if ((ranges.size() > 1 && !c.weight_input) ||
        std::all_of(ranges.begin(), ranges.end(), [](const LowPrecision::Range& range) { return range.mean == 0; }))
      return -1;
    const TensorType wide = value(c.b).type, integers = value(weight.integers).type, each = value(weight.most).type;
    Formula f = formula({{"w", wide}, {"q", integers}, {"most", each}}, {"drift", each});
    std::vector<int> inputs{c.b, weight.integers, weight.most};
    const std::vector<Affine> at = every_element_of(f, 3, c.weight_channel, Update::sum);
    const std::vector<Affine> input_channel{Affine(), at[c.weight_input.value_or(0)]};
    ExprPtr w = read(0, DType::f32, at);
    if (codes.of(c.a).size() > 1)
      w = call(Fn::mul, {w, of_channel(f, inputs, c.a, Part::scale, input_channel)});
    const ExprPtr step = call(Fn::mul, {read(2, DType::f32, {at[c.weight_channel]}), constant(1. / 127, DType::f32)});
    const ExprPtr rounded = call(Fn::mul, {cast(DType::f32, read(1, DType::i8, at)), step});
    const ExprPtr mean = ranges.size() == 1 ? constant(ranges[0].mean, DType::f32)
                                            : of_each_channel(f, inputs, c.a, Part::mean, input_channel);
    f.statements[0].value = call(Fn::mul, {call(Fn::sub, {rounded, w}), mean});
    return add(f, name + ".drift", inputs, where);
  }

  // Dead ones go: a sum that is not used, a bias that was read elsewhere.
  void contract(Op& op, const Contraction& c)
  {
    const Location where = op.location;
    const Weight weight = weight_of(c, where);
    const std::vector<Code> code = codes.of(c.a);
    const bool by_channel = code.size() > 1; // the weights have the scale, and their sum the zero
    const double scale = by_channel ? 1 : code[0].scale, zero = by_channel ? 1 : code[0].zero;
    const TensorType each = value(weight.most).type;
    const std::string name = value(op.outputs[0]).name;

    Formula of_factor = formula({{"most", each}}, {"factor", each});
    std::vector<Affine> at = every_element(of_factor, 1);
    of_factor.statements[0].value = call(Fn::mul, {read(0, DType::f32, at), constant(scale / 127, DType::f32)});
    const int factor = add(of_factor, name + ".factor", {weight.most}, where);

    int offset = c.bias;
    const int drift = drift_of(c, weight, name, where);
    if (has_zeros(code) || drift >= 0) {
      std::vector<std::pair<std::string, TensorType>> terms;
      std::vector<int> inputs;
      const auto term = [&](const char* term_name, int number) {
        terms.emplace_back(term_name, each);
        inputs.push_back(number);
        return static_cast<int>(terms.size()) - 1;
      };
      const int zeros = has_zeros(code) ? term("sum", weight.sum) : -1;
      const int factors = has_zeros(code) ? term("factor", factor) : -1;
      const int bias = c.bias >= 0 ? term("bias", c.bias) : -1, drifts = drift >= 0 ? term("drift", drift) : -1;
      Formula f = formula(terms, {"offset", each});
      at = every_element(f, static_cast<int>(terms.size()));
      ExprPtr whole = bias >= 0 ? read(bias, DType::f32, at) : nullptr;
      const auto subtract = [&](const ExprPtr& e) { whole = whole ? call(Fn::sub, {whole, e}) : call(Fn::neg, {e}); };
      if (zeros >= 0) {
        const ExprPtr moved_by = call(Fn::mul, {read(zeros, DType::f32, at), read(factors, DType::f32, at)});
        subtract(by_channel ? moved_by : call(Fn::mul, {moved_by, constant(zero, DType::f32)}));
      }
      if (drifts >= 0)
        subtract(read(drifts, DType::f32, at));
      f.statements[0].value = whole;
      offset = add(f, name + ".offset", inputs, where);
    }

    const Formula before = formula_of(graph, op);
    const Statement& sum = before.statements[c.statement];
    const TensorType result = before.tensors[static_cast<size_t>(sum.target)].type;
    std::vector<std::pair<std::string, TensorType>> operands{
        {"x", {DType::u8, value(c.a).type.shape}}, {"weight", value(weight.integers).type}, {"factor", each}};
    std::vector<int> inputs{narrow.at(c.a), weight.integers, factor};
    if (offset >= 0) {
      operands.push_back({"offset", each});
      inputs.push_back(offset);
    }
    Formula f = formula(operands, {"y", result});
    const int y = static_cast<int>(operands.size()), sums = y + 1;
    f.tensors.push_back({"sums", Role::local, {DType::i32, result.shape}});
    const bool a_first = operand(op, before, sum.value->args[0]->tensor) == c.a;
    const Expr &a = *sum.value->args[a_first ? 0 : 1], &b = *sum.value->args[a_first ? 1 : 0];
    Statement adds = sum;
    adds.target = sums;
    adds.value =
        call(Fn::mul, {cast(DType::i32, read(0, DType::u8, a.at)), cast(DType::i32, read(1, DType::i8, b.at))});
    f.statements.push_back(std::move(adds));
    at = every_element(f, y);
    ExprPtr whole = call(Fn::mul, {cast(DType::f32, read(sums, DType::i32, at)), read(2, DType::f32, {at[c.channel]})});
    if (offset >= 0)
      whole = call(Fn::add, {whole, read(3, DType::f32, {at[c.channel]})});
    f.statements.back().value = whole;

    op.attributes = attributes_of(f);
    op.def = &op_formula;
    op.inputs = std::move(inputs);
    append(std::move(op));
  }

  Graph& graph;
  Remarks& remarks;
  LowPrecision asked;
  const bool is_integer;
  const DType type;                                       // of the data, where no other is said
  std::vector<bool> is_parameter;                         // by value
  std::vector<Contraction> contractions;                  // by op
  std::map<int, DType> wanted;                            // values of the data
  std::set<int> moved;                                    // ops that make a wanted value by moving wanted ones
  ChannelCodes codes;                                     // of wanted values, where they are integers
  std::map<int, int> narrow;                              // value -> its narrow form
  std::map<std::pair<int, Part>, int> constants;          // of wanted values' channels
  std::map<std::tuple<int, size_t, int>, Weight> weights; // by value, channel, and data whose scales are in it
};

} // namespace

std::vector<ToCalibrate> values_to_calibrate(const Graph& graph)
{
  if (!graph.precision)
    return {};
  Graph copy = graph;
  Remarks remarks;
  return Lowering(copy, remarks).candidates();
}

void lower_precision(Graph& graph, const Target&, Remarks& remarks)
{
  if (graph.precision)
    Lowering(graph, remarks).run();
}

} // namespace cnnc
