#include "ir/type.h"

#include "ir/location.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

struct DTypeRow {
  std::string_view name;
  int64_t bytes;
  bool is_float;
};

constexpr DTypeRow rows[] = {
    {"f32", 4, true}, {"f64", 8, true},  {"bf16", 2, true}, {"i8", 1, false},
    {"u8", 1, false}, {"i32", 4, false}, {"i64", 8, false}, {"bool", 1, false},
};

const DTypeRow& row(DType t)
{
  return rows[static_cast<size_t>(t)];
}

} // namespace

int64_t bytes_of(DType t)
{
  return row(t).bytes;
}

bool is_float(DType t)
{
  return row(t).is_float;
}

std::string_view to_string(DType t)
{
  return row(t).name;
}

std::optional<DType> parse_dtype(std::string_view name)
{
  for (size_t i = 0; i < std::size(rows); ++i)
    if (rows[i].name == name)
      return static_cast<DType>(i);
  return {};
}

std::string to_string(const Dim& d)
{
  if (!d.batch)
    return std::to_string(d.size);
  return d.size == 1 ? "n" : fmt::format("{}*n", d.size);
}

std::string to_string(const Shape& shape)
{
  std::string text = "[";
  for (const Dim& d : shape) {
    if (text.size() > 1)
      text += ",";
    text += to_string(d);
  }
  return text + "]";
}

int64_t elements(const Shape& shape)
{
  int64_t count = 1;
  bool too_many = false;
  for (const Dim& d : shape) {
    if (d.size < 0)
      throw Error({}, fmt::format("a dimension of {} is negative", to_string(shape)));
    if (d.size == 0)
      return 0;
    too_many = too_many || count > element_limit / d.size;
    count = too_many ? count : count * d.size;
  }
  if (too_many)
    throw Error({}, fmt::format("a tensor {} has more than 2^40 elements", to_string(shape)));
  return count;
}

bool has_batch(const Shape& shape)
{
  for (const Dim& d : shape)
    if (d.batch)
      return true;
  return false;
}

std::string to_string(const TensorType& type)
{
  return std::string(to_string(type.dtype)) + to_string(type.shape);
}

} // namespace cnnc
