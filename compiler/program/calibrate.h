// What the values of a network are on pictures that stand for those to come, and how far a narrow network is from it.
#pragma once

#include "compiler/compile.h"

namespace cnnc {

// Where `options` ask for integers: runs the network as it is on options.calibration, and on random parts of these
// pictures where they are few. options.low_precision gets the ranges and means of the values that lower_precision wants to
// know, and those for which 8 bits are too few (wide_values.h); options.rounded gets weights (weight_rounding.h). Values
// that the network itself quantizes need nothing. `weights`: of the parameters that are not in the network, or "": what is
// loaded from there later is rounded to the nearest. Throws Error: no pictures, or such that cannot be read.
void calibrate(const Network&, CompileOptions& options, const std::string& weights, uint64_t seed);

// "3 pictures: 3 of 3 have the same largest output as f32; relative difference 0.0021 (L2), largest 0.013"
std::string accuracy_report(const Network&, const CompileOptions&, const std::string& weights, uint64_t seed);

} // namespace cnnc
