// What `cnnc run` reads: arrays, idx files and pictures, to the numbers of a network.
#pragma once

#include "ir/tensor.h"
#include "runtime/artefact/cnn.h"
#include "runtime/preprocessing.h"

#include <optional>
#include <string>

namespace cnnc {

// Does its first extent count images?
bool has_images(const cnn_tensor&);

// The file as the network's input, in its element type, the batch first: [n, ...]. By its first bytes it is a .npy
// array (of the input's shape, or several of them), idx images (their pixels become 0 ... 1), or a picture (PNG, JPEG,
// PGM, PPM), which is preprocessed. Throws Error with both shapes where they do not fit.
Tensor read_input(const std::string& path, const cnn_tensor& input, const Preprocessing&);
// The picture in such a file, u8 [C,H,W]; nothing where there are arrays or idx images. Throws Error where the input takes
// no pictures.
std::optional<Tensor> read_picture(const std::string& path, const cnn_tensor& input);
// As read_input has it.
Tensor input_of(const Tensor& picture, const cnn_tensor& input, const Preprocessing&);

} // namespace cnnc
