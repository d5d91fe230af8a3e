#include "compiler/program/random_inputs.h"

#include "ir/random.h"
#include "runtime/model.h"

#include <cmath>

namespace cnnc {

namespace {

// Floats in [0, 1), integers in [0, limit): what the network accepts.
Tensor random_input(const cnn_tensor& input, int64_t batch, uint64_t key)
{
  const DType dtype = dtype_of(input);
  Tensor tensor(dtype, dims_of(input, batch));
  const int64_t limit = input.limit > 0 ? input.limit : dtype == DType::boolean ? 2 : 100;
  for (int64_t i = 0; i < tensor.size(); ++i) {
    const double number = random_unit(key, static_cast<uint64_t>(i));
    tensor.set(i, is_float(dtype) ? number : std::floor(number * static_cast<double>(limit)));
  }
  return tensor;
}

} // namespace

std::vector<Tensor> random_inputs(const cnn_tensor* inputs, int32_t count, int64_t batch, uint64_t seed)
{
  std::vector<Tensor> tensors;
  for (int32_t i = 0; i < count; ++i)
    tensors.push_back(random_input(inputs[i], batch, seed_key(seed) + static_cast<uint64_t>(i)));
  return tensors;
}

std::vector<const void*> data_of(const std::vector<Tensor>& tensors)
{
  std::vector<const void*> pointers;
  for (const Tensor& tensor : tensors)
    pointers.push_back(tensor.bytes.data());
  return pointers;
}

} // namespace cnnc
