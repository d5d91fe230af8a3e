// What belongs to the channels of a value, in formulas: a number, where all of them have one code, else an operand with
// a number for each, a constant of the graph.
//
//   x[n,c,h,w] * 50 + 100                  the code of every channel is {1/50, 100}
//   x[n,c,h,w] * inverse[c] + zero[c]      constant @x.inverse: f32[2] = [50, 100], constant @x.zero: f32[2] = [100, 0]
//
// A value's channels are its dimension 1; one with fewer dimensions has one channel.
#pragma once

#include "passes/channel_codes.h"
#include "passes/formula_op.h"

namespace cnnc {

int64_t channels_of(const Value&); // how many

// A constant that several formulas need is made once.
class ChannelNumbers {
public:
  // The mean is in the unit of the weights that it is multiplied with: where each channel has a scale, these have it.
  enum class Part : uint8_t { scale, inverse, zero, mean };

  // `codes`: of values that become integers, all joined. `ranges`: by the value's name, where it has means.
  ChannelNumbers(Graph& graph, ChannelCodes codes, std::map<std::string, LowPrecision::Ranges> ranges);

  // One for each channel, or a single one where they are the same.
  std::vector<Code> codes_of(int value);
  // Of these codes; a mean for each range that the value has. No means where none is known, or all are zero.
  std::vector<double> numbers_of(int value, Part part);

  // The number of the channel with this subscript, in a formula that may get an operand for it. `checked`: the channel
  // may be outside, where the number is zero.
  ExprPtr of_channel(FormulaOp&, int value, Part part, const Affine& channel, bool checked = false);
  // cast(u8, round(x * inverse[c] + zero[c])): the integer that stands for x, which is the value at these subscripts.
  ExprPtr encoded(FormulaOp&, int value, const ExprPtr& x, const std::vector<Affine>& at);
  // (cast(f32, q) - zero[c]) * scale[c], for a read of the value's integers; zero outside.
  ExprPtr decoded(FormulaOp&, int value, const ExprPtr& q);

private:
  std::vector<double> means_of(int value, const std::vector<Code>& code) const;
  int constant_of(int value, Part part, const std::vector<double>& numbers);

  Graph& graph;
  ChannelCodes codes;
  std::map<std::string, LowPrecision::Ranges> ranges;
  std::map<std::pair<int, Part>, int> constants; // values
};

} // namespace cnnc
