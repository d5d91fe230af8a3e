// Any compiled network, through its C interface. Objects live until the process ends: they are few.
//
//   net.so ─ dlopen ─▶ the one function that it exports under its own name ─▶ cnn_model ─▶ parameters, workspace, forward
#pragma once

#include "bench/fail.h"
#include "runtime/artefact/cnn.h"

#include <dlfcn.h>

#include <cstdint>
#include <string>
#include <sys/mman.h>
#include <vector>

class Compiled {
public:
  // `name`: the network's, which is the prefix of what the library exports.
  Compiled(const std::string& path, const std::string& name)
  {
    void* library = dlopen(path.c_str(), RTLD_NOW);
    if (!library)
      fail(dlerror());
    auto get = reinterpret_cast<const cnn_model* (*)()>(dlsym(library, name.c_str()));
    if (!get)
      fail(path + " holds no network '" + name + "'");
    model = get();
    if (model->abi_version != CNN_ABI_VERSION)
      fail(path + " has another version of the interface");
    parameters = model->embedded;
  }

  static void* block(int64_t bytes)
  {
    if (bytes < 0)
      fail("no memory of " + std::to_string(bytes) + " bytes");
    constexpr size_t large_page = 2 << 20; // as cnnc.hpp's blocks have it
    const size_t unit = static_cast<size_t>(bytes) < large_page ? CNN_ALIGNMENT : large_page;
    const size_t rounded = (static_cast<size_t>(bytes) / unit + 1) * unit;
    void* memory = std::aligned_alloc(unit, rounded);
    if (memory && unit == large_page)
      madvise(memory, rounded, MADV_HUGEPAGE);
    return memory ? memory : (fail("no memory"), nullptr);
  }

  // First values from a seed, in memory that can be written.
  void* first_parameters(uint64_t seed)
  {
    void* memory = block(model->parameter_bytes);
    check(model->init_parameters(memory, seed));
    parameters = memory;
    return memory;
  }

  void check(int code) const
  {
    if (code != CNN_OK)
      fail(std::string(model->name) + ": " + model->error(code));
  }

  static int64_t elements(const cnn_tensor& tensor, int64_t batch)
  {
    int64_t count = 1;
    for (int32_t d = 0; d < tensor.rank; d++)
      count *= tensor.dims[d] < 0 ? -tensor.dims[d] * batch : tensor.dims[d];
    return count;
  }

  static std::vector<int64_t> shape(const cnn_tensor& tensor, int64_t batch)
  {
    std::vector<int64_t> dims(tensor.dims, tensor.dims + tensor.rank);
    for (int64_t& dim : dims)
      dim = dim < 0 ? -dim * batch : dim;
    return dims;
  }

  const cnn_model* model = nullptr;
  const void* parameters = nullptr;
};

// What one call of forward needs, and the call. Inputs and outputs are f32.
class Forward {
public:
  Forward(const Compiled& network, int64_t batch, int count) : network(network), batch(batch)
  {
    const cnn_model& model = *network.model;
    if (!network.parameters)
      fail(std::string(model.name) + " was compiled without weights");
    workspace = Compiled::block(model.workspace_bytes(batch, count, CNN_FORWARD));
    if (count > 1)
      network.check(model.create_threads(count, &threads));
    const auto add = [&](const cnn_tensor& tensor, std::vector<std::vector<float>>& to) {
      if (tensor.dtype != CNN_F32)
        fail(std::string(model.name) + ": '" + tensor.name + "' is not f32: such networks are not compared");
      to.emplace_back(static_cast<size_t>(Compiled::elements(tensor, batch)));
    };
    for (int i = 0; i < model.input_count; i++)
      add(model.inputs[i], inputs);
    for (int i = 0; i < model.output_count; i++)
      add(model.outputs[i], outputs);
    // Numbers between -2 and 2 like those of a normalized picture, the same in each run.
    for (std::vector<float>& input : inputs)
      for (size_t i = 0; i < input.size(); i++)
        input[i] = static_cast<float>((i * 2654435761u >> 12) % 4096) / 1024.0f - 2.0f;
    for (std::vector<float>& input : inputs)
      in.push_back(input.data());
    for (std::vector<float>& output : outputs)
      out.push_back(output.data());
  }

  void run() const
  {
    network.check(network.model->forward(network.parameters, batch, in.data(), out.data(), workspace, threads));
  }

  std::vector<std::vector<float>> inputs, outputs;

private:
  const Compiled& network;
  const int64_t batch;
  void* workspace = nullptr;
  cnn_threads* threads = nullptr;
  std::vector<const void*> in;
  std::vector<void*> out;
};
