// The pictures that stand for those to come: files, and random parts of the pictures among them.
#pragma once

#include "compiler/compile.h"
#include "runtime/artefact/cnn.h"

namespace cnnc {

// Files as they are, of a folder those that are pictures or arrays, by name. Throws Error: a folder that cannot be read
// or has none, no paths.
std::vector<std::string> calibration_files(const std::vector<std::string>& paths);

// The model's input in each of one or more files, in their order, and then parts of the pictures, file by file and
// always the same ones: as many of each as there can be with no more than `wanted` inputs from all files. Each picture
// is read once. Throws Error: a model of several inputs, a file that cannot be read or does not fit.
std::vector<Tensor> calibration_inputs(const Network&, const cnn_model&, const std::vector<std::string>& files,
                                       size_t wanted = 0);

} // namespace cnnc
