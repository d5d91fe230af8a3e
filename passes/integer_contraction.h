// A contraction of f32 numbers as a sum of products of 8-bit integers: u8 data, of which each channel has a scale s and
// a zero z, and i8 weights, with one scale for each element of the dimension that the result shares with them.
//
//   c[n,o] = bias[o]                        acc[n,o] += cast(i32, q[n,c]) * cast(i32, w.i8[o,c])
//   c[n,o] += r[n,c] * w[o,c]        =>     c[n,o] = cast(f32, acc[n,o]) * factor[o] + offset[o]
//
//   most[o] = largest |w[o,c] * s[c]|       w.i8[o,c] = cast(i8, round(w[o,c] * s[c] * 127 / most[o]))
//   factor[o] = most[o] / 127               offset[o] = bias[o] - factor[o] * sum over c of z[c] * w.i8[o,c] - drift[o]
//   drift[o] = sum over c of (w.i8[o,c] * factor[o] - w[o,c] * s[c]) * mean[c] / s[c]
//
// Rounding the weights moves the mean of each channel of c, by the sum of what it added to each times the mean of what
// that is multiplied with. Where that mean is known, offset is less by so much, the drift (bias correction: Nagel et
// al. 2019, "Data-free quantization through weight equalization and bias correction", section 4.2): of all that
// rounding does, this alone is the same for every picture, and the layers behind would add it up.
//
// Where a's channels are not what is summed over, by one index that subscripts one dimension of b (groups), or a has
// one code for all of it, s and z are numbers that go into factor and offset.
#pragma once

#include "passes/channel_numbers.h"
#include "passes/contraction.h"

#include <map>
#include <tuple>

namespace cnnc {

// Weights that several contractions share in the same form are made once.
class IntegerContractions {
public:
  IntegerContractions(Graph& graph, ChannelNumbers& numbers) : graph(graph), numbers(numbers) {}

  // `op`, which is not in the graph, is this contraction, a whole one, and becomes a formula of `integers`, the value
  // of c.a as u8. What it reads besides is appended to the graph. A term outside is left out, as if q were z: so where
  // reaches_outside, no channel may have a zero.
  void rewrite(Op& op, const Contraction& c, int integers);

private:
  // Values: i8 as b; f32, one for each element of the dimension shared with the result: largest of the numbers that the
  // integers stand for, and sum of the integers, each times its channel's zero where channels have their own.
  struct Weights {
    int integers, most, sum;
  };

  bool has_channel_codes(const Contraction& c);
  ExprPtr scaled(FormulaOp& f, const Contraction& c, const std::vector<Affine>& at);
  const Weights& weights_of(const Contraction& c, const Location& where);
  int factor_of(const Op& op, const Contraction& c, const Weights& weights);
  int drift_of(const Op& op, const Contraction& c, const Weights& weights);
  int offset_of(const Op& op, const Contraction& c, const Weights& weights, int factor);
  const Value& value(int number) const { return graph.values[static_cast<size_t>(number)]; }

  Graph& graph;
  ChannelNumbers& numbers;
  std::map<std::tuple<int, size_t, int>, Weights> weights; // by value, weight_channel, and data whose scales are in it
};

} // namespace cnnc
