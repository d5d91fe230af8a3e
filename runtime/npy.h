// .npy: one array in a file (numpy.lib.format, versions 1.0 to 3.0).
//
//   "\x93NUMPY", major, minor, header length (2 bytes in version 1, else 4)
//   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
//   the elements
#pragma once

#include "ir/tensor.h"

#include <string>
#include <string_view>

namespace cnnc {

// Row-major, also where the file is in Fortran order; float16 becomes f32. Throws Error: another element type,
// big-endian, truncated, something behind the data. `name` is used in messages.
Tensor parse_npy(std::string_view bytes, const std::string& name);
Tensor read_npy(const std::string& path);

// Version 1.0. NumPy has no bf16: it is written as f32, exactly.
std::string to_npy(const Tensor&);
void write_npy(const std::string& path, const Tensor&);

} // namespace cnnc
