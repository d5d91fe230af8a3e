// A network that can be called: out of a library, or compiled here and now.
#pragma once

#include "compiler/compile.h"
#include "compiler/program/compile_options.h"
#include "runtime/model.h"

namespace cnnc {

struct ModelOptions {
  std::string path;                 // .yaml, .ir or .so
  std::string weights;              // as in runtime/weights.h; "" for those inside, or first values from the seed
  std::vector<std::string> without; // layers that are taken out
  std::optional<uint64_t> seed;
  int threads = available_threads();
  CompileOptions compile;
  TuningOptions tuning;
};
void add_model_options(Parser&, ModelOptions&);

struct OpenModel {
  LoadedModel loaded;
  TrainConfig config; // of the file's `train:`, where the network's text is known
  // What the file says of its inputs, by name.
  std::map<std::string, Preprocessing, std::less<>> preprocessing;
  bool has_weights = false; // given, or inside: not random

  const cnn_model& model() const { return *loaded.model; }
};

// `train`: with train_step. Throws Error, also where a library was compiled without that.
OpenModel open_model(const ModelOptions&, bool train);

// How pictures are brought to the network's first input.
PictureFormat picture_format(const OpenModel&);

// What forward reads: the file, else what is inside (no copy: nobody writes there), else first values.
Block parameters_of(const OpenModel&, const ModelOptions&);

} // namespace cnnc
