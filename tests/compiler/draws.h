// How each op's operands and attributes are drawn: one file a family in tests/compiler/draws/, a row an op.
//
//   const Draws rows = {{"relu", pointwise("relu")}, {"conv2d", conv2d}};
#pragma once

#include "tests/compiler/draw.h"

#include <functional>
#include <map>

namespace cnnc::test {

using Numbers = std::vector<int64_t>;

// Adds the op's operands and the op to the graph; the op's first result.
using DrawOp = std::function<int(Dice&, DrawnGraph&)>;

// Its constructor adds rows to the table.
class Draws {
public:
  Draws(std::initializer_list<std::pair<std::string, DrawOp>> rows);
  static const std::map<std::string, DrawOp>& table();
};

int64_t draw_channels(Dice&);
// [n, ...] of some rank.
Numbers draw_shape(Dice&, int64_t least_rank, int64_t most_rank);

// Of one input "x" of some rank.
DrawOp pointwise(const std::string& name, int64_t least_rank = 1, int64_t most_rank = 4);
// Of one of these types; floats reach up to 8.
DrawOp pointwise_of(const std::string& name, std::vector<DType> types);
// Of positive numbers.
DrawOp pointwise_positive(const std::string& name);
// Of two inputs; the second one lacks dimensions in front, or repeats some.
DrawOp broadcast(const std::string& name);
// Both inputs of one of these types.
DrawOp broadcast_of(const std::string& name, std::vector<DType> types);
// Repeats some dimensions, or lacks some in front.
Numbers draw_broadcast(Dice&, Numbers dims);

} // namespace cnnc::test
