#include "ir/tensor.h"

#include "ir/location.h"

#include <bit>
#include <cmath>
#include <limits>

namespace cnnc {

namespace {

// Nearest even, saturating; NaN becomes 0.
template<class Integer>
Integer to_integer(double value)
{
  constexpr Integer lowest = std::numeric_limits<Integer>::min(), highest = std::numeric_limits<Integer>::max();
  value = std::nearbyint(value);
  if (!(value >= static_cast<double>(lowest)))
    return std::isnan(value) ? 0 : lowest;
  if (value >= static_cast<double>(highest)) // for i64 this is 2^63, one past the end
    return highest;
  return static_cast<Integer>(value);
}

uint16_t to_bf16(double value)
{
  float f = static_cast<float>(value);
  if (std::isnan(f))
    return 0x7fc0;
  uint32_t bits = std::bit_cast<uint32_t>(f);
  // Rounding twice would be wrong where the first result is a tie: the first goes to odd instead.
  if (static_cast<double>(f) != value && std::isfinite(f)) {
    if (std::abs(static_cast<double>(f)) > std::abs(value))
      --bits;
    bits |= 1;
  }
  bits += 0x7fff + ((bits >> 16) & 1);
  return static_cast<uint16_t>(bits >> 16);
}

} // namespace

Tensor::Tensor(DType dtype, std::vector<int64_t> dims) : dtype(dtype), dims(std::move(dims))
{
  Shape shape;
  for (int64_t d : this->dims)
    shape.push_back({d, false});
  bytes.resize(static_cast<size_t>(elements(shape) * bytes_of(dtype)));
}

int64_t Tensor::size() const
{
  int64_t count = 1;
  for (int64_t d : dims)
    count *= d;
  return count;
}

double Tensor::get(int64_t i) const
{
  switch (dtype) {
  case DType::f32: return data<float>()[i];
  case DType::f64: return data<double>()[i];
  case DType::bf16: return std::bit_cast<float>(static_cast<uint32_t>(data<uint16_t>()[i]) << 16);
  case DType::i8: return data<int8_t>()[i];
  case DType::u8: return data<uint8_t>()[i];
  case DType::i32: return data<int32_t>()[i];
  case DType::i64: return static_cast<double>(data<int64_t>()[i]);
  case DType::boolean: return data<uint8_t>()[i] != 0;
  }
  throw InternalError("Tensor::get: no such element type");
}

void Tensor::set(int64_t i, double value)
{
  switch (dtype) {
  case DType::f32: data<float>()[i] = static_cast<float>(value); return;
  case DType::f64: data<double>()[i] = value; return;
  case DType::bf16: data<uint16_t>()[i] = to_bf16(value); return;
  case DType::i8: data<int8_t>()[i] = to_integer<int8_t>(value); return;
  case DType::u8: data<uint8_t>()[i] = to_integer<uint8_t>(value); return;
  case DType::i32: data<int32_t>()[i] = to_integer<int32_t>(value); return;
  case DType::i64: data<int64_t>()[i] = to_integer<int64_t>(value); return;
  case DType::boolean: data<uint8_t>()[i] = value != 0; return;
  }
}

Tensor convert(const Tensor& from, DType to)
{
  Tensor result(to, from.dims);
  if (from.dtype == to) {
    result.bytes = from.bytes;
    return result;
  }
  for (int64_t i = 0, size = from.size(); i < size; ++i)
    result.set(i, from.get(i));
  return result;
}

} // namespace cnnc
