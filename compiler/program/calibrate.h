// What the values of a network are on pictures that stand for those to come, and how far a narrow network is from it.
#pragma once

#include "compiler/compile.h"

namespace cnnc {

// Where `options` ask for integers: runs the network as it is on options.calibration and puts the ranges of all values
// that lower_precision wants to know into options.low_precision: for each picture all but the outermost ten thousandth
// of the numbers at either end. Values that the network itself quantizes need none. `weights`: of the parameters that are not in the network, or "". Throws Error: no
// pictures, or such that cannot be read.
void calibrate(const Network&, CompileOptions& options, const std::string& weights, uint64_t seed);

// "3 pictures: 3 of 3 have the same largest output as f32; relative difference 0.0021 (L2), largest 0.013"
std::string accuracy_report(const Network&, const CompileOptions&, const std::string& weights, uint64_t seed);

} // namespace cnnc
