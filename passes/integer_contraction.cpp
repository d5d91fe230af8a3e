#include "passes/integer_contraction.h"

namespace cnnc {

namespace {

using Part = ChannelNumbers::Part;

constexpr double largest = 127; // integer that a weight becomes

// The subscript of a's channel, from those of b. Any, where channels have no numbers of their own.
const Affine& input_channel(const Contraction& c, const std::vector<Affine>& at)
{
  return at[c.weight_input.value_or(0)];
}

} // namespace

// The weights have the scales of the data's channels then, and their sum the zeros.
bool IntegerContractions::has_channel_codes(const Contraction& c)
{
  return numbers.codes_of(c.a).size() > 1;
}

// What the integers stand for; the weights are tensor 0.
ExprPtr IntegerContractions::scaled(FormulaOp& f, const Contraction& c, const std::vector<Affine>& at)
{
  const ExprPtr w = read(0, DType::f32, at);
  return has_channel_codes(c) ? call(Fn::mul, {w, numbers.of_channel(f, c.a, Part::scale, input_channel(c, at))}) : w;
}

const IntegerContractions::Weights& IntegerContractions::weights_of(const Contraction& c, const Location& where)
{
  const size_t channel = c.whole->weight_channel;
  const auto [found, is_new] = weights.try_emplace({c.b, channel, has_channel_codes(c) ? c.a : -1});
  Weights& made = found->second;
  if (!is_new)
    return made;
  const Shape shape = value(c.b).type.shape;
  const std::string name = value(c.b).name;
  const TensorType each{DType::f32, {shape[channel]}};
  {
    FormulaOp f = formula_on(graph, {{"w", c.b}}, "most", each);
    const std::vector<Affine> at = reduce_to_channel(f.formula, 1, channel, Update::max);
    f.formula.statements[0].value = call(Fn::abs, {scaled(f, c, at)});
    made.most = add_op(graph, f, name + ".most", where);
  }
  {
    FormulaOp f = formula_on(graph, {{"w", c.b}, {"most", made.most}}, "q", {DType::i8, shape});
    const std::vector<Affine> at = assign_each(f.formula, 2);
    const ExprPtr most = read(1, DType::f32, {at[channel]}), zero = constant(0, DType::f32);
    const ExprPtr inverse =
        call(Fn::select, {call(Fn::less, {zero, most}), call(Fn::div, {constant(largest, DType::f32), most}), zero});
    f.formula.statements[0].value = cast(DType::i8, call(Fn::round, {call(Fn::mul, {scaled(f, c, at), inverse})}));
    made.integers = add_op(graph, f, name + ".i8", where);
  }
  {
    FormulaOp f = formula_on(graph, {{"q", made.integers}}, "sum", each);
    const std::vector<Affine> at = reduce_to_channel(f.formula, 1, channel, Update::sum);
    ExprPtr term = cast(DType::f32, read(0, DType::i8, at));
    if (has_channel_codes(c))
      term = call(Fn::mul, {term, numbers.of_channel(f, c.a, Part::zero, input_channel(c, at))});
    f.formula.statements[0].value = term;
    made.sum = add_op(graph, f, name + ".sum", where);
  }
  return made;
}

// Of an integer of the result: a value with one for each of its channels.
int IntegerContractions::factor_of(const Op& op, const Contraction& c, const Weights& of)
{
  const double scale = has_channel_codes(c) ? 1 : numbers.codes_of(c.a)[0].scale;
  FormulaOp f = formula_on(graph, {{"most", of.most}}, "factor", value(of.most).type);
  const std::vector<Affine> at = assign_each(f.formula, 1);
  f.formula.statements[0].value = call(Fn::mul, {read(0, DType::f32, at), constant(scale / largest, DType::f32)});
  return add_op(graph, f, value(op.outputs[0]).name + ".factor", op.location);
}

// By how much the mean of each of the result's channels moves as the weights are rounded, as if no term was ever left
// out; -1 where it is not known, or does not.
int IntegerContractions::drift_of(const Op& op, const Contraction& c, const Weights& of)
{
  const size_t means = numbers.numbers_of(c.a, Part::mean).size(), channel = c.whole->weight_channel;
  if (means == 0 || (means > 1 && !c.weight_input))
    return -1;
  FormulaOp f = formula_on(graph, {{"w", c.b}, {"q", of.integers}, {"most", of.most}}, "drift", value(of.most).type);
  const std::vector<Affine> at = reduce_to_channel(f.formula, 3, channel, Update::sum);
  const ExprPtr w = scaled(f, c, at);
  const ExprPtr step = call(Fn::mul, {read(2, DType::f32, {at[channel]}), constant(1 / largest, DType::f32)});
  const ExprPtr rounded = call(Fn::mul, {cast(DType::f32, read(1, DType::i8, at)), step});
  const ExprPtr mean = numbers.of_channel(f, c.a, Part::mean, input_channel(c, at));
  f.formula.statements[0].value = call(Fn::mul, {call(Fn::sub, {rounded, w}), mean});
  return add_op(graph, f, value(op.outputs[0]).name + ".drift", op.location);
}

// Beside the sum: a value with one for each of the result's channels, or -1 where there is none.
int IntegerContractions::offset_of(const Op& op, const Contraction& c, const Weights& of, int factor)
{
  const std::vector<Code> codes = numbers.codes_of(c.a);
  const int bias = c.whole->bias, drift = drift_of(op, c, of);
  if (!has_zeros(codes) && drift < 0)
    return bias;
  std::vector<std::pair<std::string, int>> inputs;
  const auto input = [&](const char* name, int number) {
    inputs.emplace_back(name, number);
    return static_cast<int>(inputs.size()) - 1;
  };
  const int sums = has_zeros(codes) ? input("sum", of.sum) : -1;
  const int factors = has_zeros(codes) ? input("factor", factor) : -1;
  const int biases = bias >= 0 ? input("bias", bias) : -1, drifts = drift >= 0 ? input("drift", drift) : -1;
  FormulaOp f = formula_on(graph, inputs, "offset", value(of.most).type);
  const std::vector<Affine> at = assign_each(f.formula, static_cast<int>(inputs.size()));
  ExprPtr whole = biases >= 0 ? read(biases, DType::f32, at) : nullptr;
  const auto subtract = [&](const ExprPtr& e) { whole = whole ? call(Fn::sub, {whole, e}) : call(Fn::neg, {e}); };
  if (sums >= 0) {
    const ExprPtr moved_by = call(Fn::mul, {read(sums, DType::f32, at), read(factors, DType::f32, at)});
    subtract(codes.size() > 1 ? moved_by : call(Fn::mul, {moved_by, constant(codes[0].zero, DType::f32)}));
  }
  if (drifts >= 0)
    subtract(read(drifts, DType::f32, at));
  f.formula.statements[0].value = whole;
  return add_op(graph, f, value(op.outputs[0]).name + ".offset", op.location);
}

void IntegerContractions::rewrite(Op& op, const Contraction& c, int integers)
{
  const Weights of = weights_of(c, op.location);
  const int factor = factor_of(op, c, of), offset = offset_of(op, c, of, factor);

  const Formula before = formula_of(graph, op);
  const Statement& sum = before.statements[c.statement];
  const TensorType result = before.tensors[static_cast<size_t>(sum.target)].type;
  std::vector<std::pair<std::string, int>> inputs{{"x", integers}, {"weight", of.integers}, {"factor", factor}};
  if (offset >= 0)
    inputs.emplace_back("offset", offset);
  FormulaOp f = formula_on(graph, inputs, "y", result);
  const int y = static_cast<int>(inputs.size()), sums = y + 1;
  f.formula.tensors.push_back({"sums", Role::local, {DType::i32, result.shape}});

  const bool a_first = operand_of(op, before, sum.value->args[0]->tensor) == c.a;
  const Expr &a = *sum.value->args[a_first ? 0 : 1], &b = *sum.value->args[a_first ? 1 : 0];
  Statement adds = sum;
  adds.target = sums;
  adds.value = call(Fn::mul, {cast(DType::i32, read(0, DType::u8, a.at)), cast(DType::i32, read(1, DType::i8, b.at))});
  f.formula.statements.push_back(std::move(adds));

  const std::vector<Affine> at = assign_each(f.formula, y);
  const Affine& channel = at[c.whole->channel];
  ExprPtr whole = call(Fn::mul, {cast(DType::f32, read(sums, DType::i32, at)), read(2, DType::f32, {channel})});
  if (offset >= 0)
    whole = call(Fn::add, {whole, read(3, DType::f32, {channel})});
  f.formula.statements.back().value = whole;
  become(op, std::move(f));
}

} // namespace cnnc
