// Parameters by name, whatever they lie in: a .safetensors file, an .npz archive, or a folder of .npy files.
//
//   net.safetensors    conv1.weight, conv1.bias, ...
//   net.npz            conv1.weight.npy, or conv1/weight.npy
//   net/               conv1.weight.npy, or conv1/weight.npy
//   bias.npy           one tensor: for a network with one parameter
#pragma once

#include "ir/tensor.h"
#include "runtime/artefact/cnn.h"

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace cnnc {

class Weights {
public:
  // Looks and lists; throws Error: exit code 3 where it cannot be read, 1 for other files.
  explicit Weights(const std::string& path);
  Weights(Weights&&) noexcept = default;

  const std::string& path() const { return path_; }
  bool has(std::string_view name) const { return readers_.find(name) != readers_.end(); }
  std::vector<std::string> names() const;
  // Throws Error, also where it would take more than `most` bytes: a small archive can unpack to a very large array.
  Tensor read(const std::string& name, int64_t most) const;

private:
  using Reader = std::function<Tensor(int64_t most)>;
  void add(std::string name, Reader read);

  std::string path_;
  std::map<std::string, Reader, std::less<>> readers_;
};

struct WantedTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  bool is_known = false; // may be missing: the network has it already
};

// Each wanted tensor by name and in its type, of those that the file has; others in it are ignored. Throws one Error
// that lists all that is missing, of another shape, or extra (which may be what is missing, under another name).
std::map<std::string, Tensor> read_wanted(const Weights&, std::span<const WantedTensor>);

// Into a parameter block of the network, which has its first values. Throws Error.
void load_weights(const cnn_model&, void* parameters, const std::string& path);

} // namespace cnnc
