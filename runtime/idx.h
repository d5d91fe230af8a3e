// idx: arrays of bytes, as MNIST comes (http://yann.lecun.com/exdb/mnist, "the IDX file format"), plain or gzipped.
//
//   0, 0, 8 (unsigned bytes), rank, then the extents as big-endian 32-bit numbers, then the elements, the last fastest
#pragma once

#include "ir/tensor.h"

#include <string>

namespace cnnc {

// u8, with exactly `rank` dimensions. Whether it is gzipped, its first bytes say. Throws Error: not idx, another
// element type or rank, truncated, something behind the end. A size that the file cannot hold is refused before it is
// allocated.
Tensor read_idx(const std::string& path, int rank);
Tensor parse_idx(std::string_view bytes, const std::string& name, int rank);
std::string to_idx(const Tensor& u8);

} // namespace cnnc
