#include "compiler/program/calibration_inputs.h"

#include "compiler/program/random_crop.h"
#include "compiler/program/run_input.h"
#include "runtime/model.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fmt/format.h>
#include <iterator>

namespace cnnc {

namespace {

namespace fs = std::filesystem;

bool is_input_file(const fs::path& path)
{
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  const std::string known[] = {".png", ".jpg", ".jpeg", ".pgm", ".ppm", ".npy"};
  return std::find(std::begin(known), std::end(known), ending) != std::end(known);
}

Preprocessing preprocessing_of(const Network& network, const cnn_tensor& input)
{
  const auto stated = network.preprocessing.find(input.name);
  if (stated != network.preprocessing.end())
    return stated->second;
  std::vector<int64_t> dims = dims_of(input, 1);
  if (has_images(input) || dims.size() == 4)
    dims.erase(dims.begin());
  return default_preprocessing(dims);
}

} // namespace

std::vector<std::string> calibration_files(const std::vector<std::string>& paths)
{
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : fs::directory_iterator(path, error))
      if (is_input_file(entry.path()))
        inside.push_back(entry.path().string());
    if (error)
      throw Error({}, fmt::format("cannot read the folder {}: {}", path, error.message()), {}, 3);
    if (inside.empty())
      throw Error({}, fmt::format("--calibrate: there is no picture and no .npy file in {}", path));
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  if (files.empty())
    throw Error({}, "which pictures? --calibrate FOLDER, or files: the ranges of integers are taken from them", {}, 2);
  return files;
}

std::vector<Tensor> calibration_inputs(const Network& network, const cnn_model& model,
                                       const std::vector<std::string>& files, size_t wanted)
{
  if (model.input_count != 1)
    throw Error({}, fmt::format("--calibrate: {} has {} inputs, pictures are for one", model.name, model.input_count));
  const cnn_tensor& input = model.inputs[0];
  const Preprocessing preprocessing = preprocessing_of(network, input);
  const size_t of_each = wanted / files.size();
  std::vector<Tensor> inputs, parts;
  std::mt19937 random(2);
  for (const std::string& file : files) {
    const std::optional<Tensor> picture = of_each > 1 ? read_picture(file, input) : std::nullopt;
    inputs.push_back(picture ? input_of(*picture, input, preprocessing) : read_input(file, input, preprocessing));
    for (size_t i = 1; picture && i < of_each; ++i)
      parts.push_back(input_of(random_crop(*picture, random), input, preprocessing));
  }
  std::move(parts.begin(), parts.end(), std::back_inserter(inputs));
  return inputs;
}

} // namespace cnnc
