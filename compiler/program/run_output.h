// What `cnnc run` says of outputs: classes by their numbers, small arrays in full, large ones in brief; arrays,
// pictures and JSON for those who want to keep them.
#pragma once

#include "ir/tensor.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace cnnc {

struct ShowOptions {
  int64_t top = 3;                      // classes shown
  std::vector<std::string> class_names; // empty: their numbers
};

// A number for each class of each image: [n,C], or [n,C,1,1].
bool has_classes(const Tensor& output);

// One name a line, as many as the output has classes. Throws Error.
std::vector<std::string> read_labels(const std::string& path, const std::string& output_name, const Tensor& output);

// [n, ...]: .npy as it is; .png: one image of [1,C,H,W] or [1,H,W]. Values within 0 ... 1 are brightness; others are
// stretched so that the smallest is black and the largest white. Several channels lie side by side, three are colours.
// Throws Error.
void write_output(const std::string& path, const Tensor& output);

// For the eye; of many images only the first, and a line that says so.
std::string describe_output(const std::string& name, const Tensor& output, const ShowOptions&);

// {"name", "dtype", "shape", "min", "max", "mean", "top": for each image [{"class", "label", "value"}], "values"}: all
// values in one list, where there are not too many.
nlohmann::ordered_json json_of_output(const std::string& name, const Tensor& output, const ShowOptions&);

} // namespace cnnc
