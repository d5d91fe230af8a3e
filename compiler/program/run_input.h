// What `cnnc run` reads and writes: arrays, pictures, idx files, to the numbers of a network and back.
#pragma once

#include "ir/tensor.h"
#include "runtime/artefact/cnn.h"

#include <string>

namespace cnnc {

// Does its first extent count images?
bool has_images(const cnn_tensor&);

// The file as the network's input, in its element type, the batch first: [n, ...]. By its first bytes it is a .npy
// array (of the input's shape, or several of them), idx images, or a picture (PNG, JPEG, PGM, PPM), which is resized.
// Pixels become 0 ... 1. Throws Error with both shapes where they do not fit.
Tensor read_input(const std::string& path, const cnn_tensor& input);

// [n, ...]: .npy as it is; .png: one image of [1,C,H,W] or [1,H,W]. Values within 0 ... 1 are brightness; others are
// stretched so that the smallest is black and the largest white. Several channels lie side by side, three are colours.
// Throws Error.
void write_output(const std::string& path, const Tensor& output);

// For the eye: classes by probability, small outputs in full, large ones in brief.
std::string describe_output(const std::string& name, const Tensor& output, int64_t top);

} // namespace cnnc
