// `input:` => what a network reads, and what happens to a picture before.
//
//   input: {image: [3, 224, 224]}
//   input: {image: {shape: [3, 224, 224], resize: 256, crop: 224, order: rgb, scale: 1/255,
//                   mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}
#pragma once

#include "compiler/layers.h"
#include "compiler/yaml_document.h"

namespace cnnc {

struct YamlInputs {
  std::vector<InputSpec> inputs;
  std::map<std::string, Preprocessing, std::less<>> preprocessing; // of those that say something
  std::vector<Warning> warnings;
};

// Throws Error.
YamlInputs read_inputs(const YamlEntry& input);

} // namespace cnnc
