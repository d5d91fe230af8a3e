// What a network costs and sees, read off its formulas: nothing here knows an op by name.
//
//   conv2d 6 x 5 x 5 over 28 x 28   =>   156 parameters, 117,600 multiply-adds, sees 5 x 5 of the picture
//
// Multiply-adds: the points of every sum whose terms multiply two reads. Receptive field: the box of the network's
// input that one element in the middle of the output depends on, by interval arithmetic on the subscripts, inside of
// the image.
#pragma once

#include "ir/graph.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cnnc {

// For one image; all but the parameters saturate instead of overflowing.
struct OpCost {
  int op = -1;
  int64_t parameters = 0; // elements, each parameter counted at its first reader
  int64_t statistics = 0; // likewise of those that are measured, not learnt (batch_norm's running ones)
  int64_t multiply_adds = 0;
  int64_t bytes = 0; // of its results
  // Extents of the field, one for each dimension of `field_input` but the batch; empty where it reads no input.
  int field_input = -1; // value: the net's first input that it depends on
  std::vector<int64_t> field;
};

std::vector<OpCost> costs_of(const Graph&);
// Of one op's formula, for one image.
int64_t multiply_adds(const Formula&);
// Elements of all learnt parameters: the sum of costs_of(), without the receptive fields, which take long in deep nets.
int64_t parameters_of(const Graph&);

// "5 x 5", "all": without the first dimension (channels) of a picture.
std::string field_text(const Graph&, const OpCost&);

} // namespace cnnc
