// A tensor with its data, on the host: parameters, constants, test inputs. Row-major, the batch a number.
#pragma once

#include "ir/type.h"

#include <cstddef>

namespace cnnc {

struct Tensor {
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  std::vector<std::byte> bytes; // elements(dims) * bytes_of(dtype)

  Tensor() = default;
  Tensor(DType dtype, std::vector<int64_t> dims); // zeros; throws Error where the size overflows element_limit

  int64_t size() const; // elements
  // One element, whatever the type. i64 beyond 2^53 loses bits.
  double get(int64_t i) const;
  void set(int64_t i, double value); // rounds to nearest even; integers saturate
  template<class T>
  T* data()
  {
    return reinterpret_cast<T*>(bytes.data());
  }
  template<class T>
  const T* data() const
  {
    return reinterpret_cast<const T*>(bytes.data());
  }
};

Tensor convert(const Tensor&, DType to);

} // namespace cnnc
