// What a network says about labelled pictures.
#pragma once

#include "runtime/dataset.h"
#include "runtime/model.h"

#include <atomic>

namespace cnnc {

struct Evaluation {
  // For each image, or each of its places, the class with the highest output (the first of equals).
  std::vector<int32_t> predictions;
  int64_t correct = 0;
  bool has_classes = true;
  double deviation = 0;     // where labels are numbers: the mean distance of the outputs from them
  bool interrupted = false; // then predictions are fewer

  double accuracy() const
  {
    return predictions.empty() ? 0 : static_cast<double>(correct) / static_cast<double>(predictions.size());
  }
};

// Runs `forward` over the first `limit` images (0: all), the last batch as small as is left. Throws Error where images,
// labels and network do not fit.
Evaluation evaluate(const cnn_model&, const void* parameters, const Examples&, const Scaling&, const ModelThreads&,
                    int64_t batch, int64_t limit = 0, const std::atomic<bool>* interrupt = nullptr);

} // namespace cnnc
