#include "passes/channel_numbers.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

using Part = ChannelNumbers::Part;

const char* name_of(Part part)
{
  switch (part) {
  case Part::scale: return "scale";
  case Part::inverse: return "inverse";
  case Part::zero: return "zero";
  case Part::mean: break;
  }
  return "mean";
}

double number_of(const Code& code, Part part)
{
  switch (part) {
  case Part::scale: return code.scale;
  case Part::inverse: return 1 / code.scale;
  default: return code.zero;
  }
}

Affine channel_of(const std::vector<Affine>& at)
{
  return at.size() > 1 ? at[1] : Affine();
}

ExprPtr is_in(const Shape& shape, const std::vector<Affine>& at)
{
  std::vector<Affine> pairs;
  for (size_t d = 1; d < at.size(); ++d) { // the first is the batch
    pairs.push_back(at[d]);
    pairs.push_back(shape[d].size);
  }
  return inside(std::move(pairs));
}

} // namespace

int64_t channels_of(const Value& value)
{
  const Shape& shape = value.type.shape;
  return shape.size() > 1 && shape[0].batch ? shape[1].size : 1;
}

ChannelNumbers::ChannelNumbers(Graph& graph, ChannelCodes codes, std::map<std::string, LowPrecision::Ranges> ranges)
    : graph(graph),
      codes(std::move(codes)),
      ranges(std::move(ranges))
{
}

std::vector<Code> ChannelNumbers::codes_of(int value)
{
  return codes.of(value);
}

std::vector<double> ChannelNumbers::numbers_of(int value, Part part)
{
  const std::vector<Code> code = codes_of(value);
  if (part == Part::mean)
    return means_of(value, code);
  std::vector<double> numbers;
  for (const Code& of_channel : code)
    numbers.push_back(number_of(of_channel, part));
  return numbers;
}

std::vector<double> ChannelNumbers::means_of(int value, const std::vector<Code>& code) const
{
  const auto found = ranges.find(graph.values[static_cast<size_t>(value)].name);
  if (found == ranges.end() || std::all_of(found->second.begin(), found->second.end(),
                                           [](const LowPrecision::Range& range) { return range.mean == 0; }))
    return {};
  std::vector<double> means;
  for (const LowPrecision::Range& range : found->second) // where there is one scale, weights are as they are
    means.push_back(code.size() > 1 ? range.mean / code[means.size()].scale : range.mean);
  return means;
}

ExprPtr ChannelNumbers::of_channel(FormulaOp& f, int value, Part part, const Affine& channel, bool checked)
{
  const std::vector<double> numbers = numbers_of(value, part);
  if (numbers.size() == 1)
    return constant(numbers[0], DType::f32);
  const int operand = input_for(f, graph, constant_of(value, part, numbers), name_of(part));
  return read(operand, DType::f32, {channel}, checked);
}

ExprPtr ChannelNumbers::encoded(FormulaOp& f, int value, const ExprPtr& x, const std::vector<Affine>& at)
{
  const Affine channel = channel_of(at);
  ExprPtr scaled = call(Fn::mul, {x, of_channel(f, value, Part::inverse, channel)});
  if (has_zeros(codes_of(value)))
    scaled = call(Fn::add, {scaled, of_channel(f, value, Part::zero, channel)});
  return cast(DType::u8, call(Fn::round, {scaled}));
}

ExprPtr ChannelNumbers::decoded(FormulaOp& f, int value, const ExprPtr& q)
{
  const Affine channel = channel_of(q->at);
  const bool zeros = has_zeros(codes_of(value));
  ExprPtr x = cast(DType::f32, q);
  if (zeros)
    x = call(Fn::sub, {x, of_channel(f, value, Part::zero, channel, q->checked)});
  x = call(Fn::mul, {x, of_channel(f, value, Part::scale, channel, q->checked)});
  // Outside is zero, and that is another integer.
  const Shape& shape = graph.values[static_cast<size_t>(value)].type.shape;
  return q->checked && zeros ? call(Fn::select, {is_in(shape, q->at), x, constant(0, DType::f32)}) : x;
}

int ChannelNumbers::constant_of(int value, Part part, const std::vector<double>& numbers)
{
  const auto [found, is_new] = constants.try_emplace({value, part});
  if (!is_new)
    return found->second;
  const auto count = static_cast<int64_t>(numbers.size());
  Tensor data(DType::f32, {count});
  for (int64_t i = 0; i < count; ++i)
    data.set(i, numbers[static_cast<size_t>(i)]);
  const Value& of = graph.values[static_cast<size_t>(value)];
  Value made;
  made.name = fmt::format("{}.{}", of.name, name_of(part));
  made.kind = ValueKind::constant;
  made.type = {DType::f32, {Dim{count}}};
  made.data = std::make_shared<const Tensor>(std::move(data));
  made.location = of.location;
  return found->second = graph.add_value(std::move(made));
}

} // namespace cnnc
