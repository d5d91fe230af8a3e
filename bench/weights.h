// Weights for a network that nobody has trained: its first values from a seed, made such that numbers stay in range and
// that a mistake anywhere would show in the results.
#pragma once

#include "bench/compiled.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

// Counter-based, in [0, 1).
inline double random_unit(uint64_t key)
{
  key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9u;
  key = (key ^ key >> 27) * 0x94d049bb133111ebu;
  return static_cast<double>((key ^ key >> 31) >> 11) * 0x1p-53;
}

// What starts as zeros or ones would hide a mistake, or be folded away: biases, and what a norm has learnt.
inline void spread_constants(const cnn_model& model, void* parameters, const Compiled& network)
{
  for (int i = 0; i < model.parameter_count; i++) {
    const cnn_tensor& tensor = model.parameters[i];
    const bool zero = !std::strcmp(tensor.initial, "zero"), one = !std::strcmp(tensor.initial, "one");
    if (tensor.dtype != CNN_F32 || (!zero && !one))
      continue;
    std::vector<float> values(static_cast<size_t>(Compiled::elements(tensor, 1)));
    for (size_t k = 0; k < values.size(); k++) {
      const double unit = random_unit((static_cast<uint64_t>(i + 1) << 32) + k);
      values[k] = static_cast<float>(one ? 0.5 + unit : 0.2 * unit - 0.1);
    }
    network.check(model.set_parameter(parameters, tensor.name, values.data(), static_cast<int64_t>(values.size())));
  }
}

// Probabilities (they sum to one) as flat as a uniform draw's: 0; one of them 1 and the others 0: sqrt(count - 1).
inline double peakedness(const std::vector<float>& values)
{
  double sum = 0, squares = 0;
  for (float value : values) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const auto count = static_cast<double>(values.size());
  const double mean = sum / count;
  return std::sqrt(std::max(0.0, squares / count - mean * mean)) / mean;
}

// Where a network ends in probabilities, all but one of them would vanish behind hundreds of drawn layers, and two results
// would be equal whatever came before. So the last weights are scaled until the probabilities differ like real ones.
inline void soften(const Compiled& network, void* parameters)
{
  const cnn_model& model = *network.model;
  const cnn_tensor* last = nullptr;
  for (int i = 0; i < model.parameter_count; i++)
    if (model.parameters[i].rank >= 2 && model.parameters[i].dtype == CNN_F32)
      last = &model.parameters[i];
  const Forward forward(network, 1, 1);
  const std::vector<float>& probabilities = forward.outputs.at(0);
  for (int tries = 0; last && tries < 40; tries++) {
    forward.run();
    double sum = 0;
    for (float p : probabilities)
      sum += p;
    if (std::isnan(sum))
      fail(std::string(model.name) + ": the first values give no numbers");
    const double now = peakedness(probabilities);
    if (!(std::abs(sum - 1) < 1e-3) || probabilities.size() < 3 || (now > 0.5 && now < 2))
      return;
    std::vector<float> values(static_cast<size_t>(Compiled::elements(*last, 1)));
    const auto count = static_cast<int64_t>(values.size());
    network.check(model.get_parameter(parameters, last->name, values.data(), count));
    for (float& value : values)
      value *= now >= 2 ? 0.5f : 1.5f;
    network.check(model.set_parameter(parameters, last->name, values.data(), count));
  }
}

inline void write_weights(const std::string& library, const std::string& name, const char* path)
{
  Compiled network(library, name);
  void* parameters = network.first_parameters(1);
  spread_constants(*network.model, parameters, network);
  soften(network, parameters);
  network.check(network.model->save_parameters(parameters, path));
}
