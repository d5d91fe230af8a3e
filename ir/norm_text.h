// Texts of y = (x - mean) / sqrt(var + epsilon) * weight + bias, the mean and the variance over some of x's elements,
// and of their adjoint. var is the mean of the squared distances.
#pragma once

#include "ir/op.h"

namespace cnnc {

struct NormText {
  std::string x;                      // subscripts of x and y: "n, g*4 + c, i2"
  std::string statistics;             // of the mean: "n,g"; may be empty
  std::string points;                 // how many elements a mean is of: "(N*12)"
  std::string weight = "", bias = ""; // "weight[g*4 + c]"; empty where there is none
  std::string ranges = "";            // " where ..." of statements over x
};

std::string norm_formula(const NormText&);
// `weights`: subscripts of weight and bias. Reads the kept outputs mean and inverse.
std::string norm_gradient(const NormText&);

AttributeDef epsilon_attribute(double default_value);

} // namespace cnnc
