// Element types, dimensions and shapes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cnnc {

enum class DType : uint8_t { f32, f64, bf16, i8, u8, i32, i64, boolean };

int64_t bytes_of(DType);
bool is_float(DType);
std::string_view to_string(DType); // "f32", ..., "bool"
std::optional<DType> parse_dtype(std::string_view);

// One extent: `size`, or `size * n` where n is the batch, a number that is known only at run time.
struct Dim {
  int64_t size = 1;
  bool batch = false;

  int64_t at(int64_t n) const { return batch ? size * n : size; }
  friend bool operator==(const Dim&, const Dim&) = default;
};

std::string to_string(const Dim&); // "28", "n", "4*n"

using Shape = std::vector<Dim>;

std::string to_string(const Shape&); // "[n,1,28,28]"

// Elements for one image (the batch counted as 1). Throws Error where the product overflows `limit`.
constexpr int64_t element_limit = int64_t{1} << 40;
int64_t elements(const Shape&);
bool has_batch(const Shape&);

struct TensorType {
  DType dtype = DType::f32;
  Shape shape;

  friend bool operator==(const TensorType&, const TensorType&) = default;
};

std::string to_string(const TensorType&); // "f32[n,1,28,28]"; a scalar is "f32[]"

} // namespace cnnc
