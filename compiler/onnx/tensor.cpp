#include "compiler/onnx/tensor.h"
#include "runtime/files.h"

#include <bit>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <optional>

namespace cnnc {

namespace {

namespace fs = std::filesystem;
using onnx::TensorProto;

// Elements of the types that cnnc does not compute in: they become the nearest one that it has.
enum class Stored : uint8_t { same, half, u16, i16, u32, u64 };

struct TypeRow {
  int number;
  DType dtype;
  Stored stored;
  int64_t bytes;
};
constexpr TypeRow types[] = {
    {TensorProto::FLOAT, DType::f32, Stored::same, 4},     {TensorProto::DOUBLE, DType::f64, Stored::same, 8},
    {TensorProto::BFLOAT16, DType::bf16, Stored::same, 2}, {TensorProto::INT8, DType::i8, Stored::same, 1},
    {TensorProto::UINT8, DType::u8, Stored::same, 1},      {TensorProto::INT32, DType::i32, Stored::same, 4},
    {TensorProto::INT64, DType::i64, Stored::same, 8},     {TensorProto::BOOL, DType::boolean, Stored::same, 1},
    {TensorProto::FLOAT16, DType::f32, Stored::half, 2},   {TensorProto::UINT16, DType::i32, Stored::u16, 2},
    {TensorProto::INT16, DType::i32, Stored::i16, 2},      {TensorProto::UINT32, DType::i64, Stored::u32, 4},
    {TensorProto::UINT64, DType::i64, Stored::u64, 8},
};

const TypeRow* find_type(int64_t number)
{
  for (const TypeRow& row : types)
    if (row.number == number)
      return &row;
  return nullptr;
}

float float_of_half(uint16_t half)
{
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const int exponent = (half >> 10) & 31;
  const uint32_t mantissa = half & 1023;
  float value;
  if (exponent == 31)
    value = std::bit_cast<float>(0x7f800000 | mantissa << 13);
  else if (exponent == 0)
    value = static_cast<float>(mantissa) * 0x1p-24F;
  else
    value = std::bit_cast<float>(static_cast<uint32_t>(exponent + 112) << 23 | mantissa << 13);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}

std::string title(const TensorProto& proto)
{
  return fmt::format("tensor '{}'", proto.name());
}

// A name of the file as a number; throws where it is none.
int64_t number_of(const std::string& text, const std::string& what)
{
  if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != text.npos)
    throw Error({}, fmt::format("{} is '{}', not a number of bytes", what, text));
  return std::stoll(text);
}

// Below the model's folder, by names alone, through no symbolic link.
fs::path external_path(const std::string& location, const std::string& model_path, const std::string& what)
{
  const fs::path relative(location);
  if (location.empty() || location.find('\0') != location.npos || relative.is_absolute())
    throw Error({}, fmt::format("{}: its external data '{}' is not a path below the model's folder", what, location));
  fs::path path = fs::path(model_path).parent_path();
  for (const fs::path& part : relative) {
    if (part == "..")
      throw Error({}, fmt::format("{}: its external data '{}' leads out of the model's folder", what, location));
    path /= part;
    std::error_code error;
    if (fs::is_symlink(fs::symlink_status(path, error)))
      throw Error({}, fmt::format("{}: its external data '{}' leads through a symbolic link", what, location));
  }
  return path;
}

std::string read_external(const TensorProto& proto, const std::string& model_path, int64_t wanted)
{
  std::string location;
  int64_t offset = 0, length = -1;
  for (const auto& entry : proto.external_data()) {
    if (entry.key() == "location")
      location = entry.value();
    else if (entry.key() == "offset")
      offset = number_of(entry.value(), title(proto) + ": the offset of its external data");
    else if (entry.key() == "length")
      length = number_of(entry.value(), title(proto) + ": the length of its external data");
  }
  const std::string path = external_path(location, model_path, title(proto)).string();
  std::optional<InputFile> opened;
  try {
    opened.emplace(path);
  } catch (const Error& e) {
    throw Error({}, fmt::format("{}: its external data: {}", title(proto), e.what()));
  }
  const InputFile& file = *opened;
  if (length < 0)
    length = wanted;
  if (length != wanted || offset > file.size() || length > file.size() - offset)
    throw Error({}, fmt::format("{} takes {} bytes; '{}' has {}, of which {} from {} are meant", title(proto), wanted,
                                location, file.size(), length, offset));
  std::string bytes(static_cast<size_t>(wanted), '\0');
  file.read(offset, bytes.data(), wanted);
  return bytes;
}

void set_raw(Tensor& tensor, const TypeRow& type, const std::string& raw)
{
  if (type.stored == Stored::same) {
    if (!raw.empty())
      std::memcpy(tensor.bytes.data(), raw.data(), raw.size());
    if (type.dtype == DType::boolean)
      for (std::byte& byte : tensor.bytes)
        byte = byte == std::byte{0} ? byte : std::byte{1};
    return;
  }
  const auto at = [&](size_t i, auto number) {
    std::memcpy(&number, raw.data() + i * sizeof(number), sizeof(number));
    return number;
  };
  const auto count = static_cast<size_t>(tensor.size());
  for (size_t i = 0; i < count; ++i)
    switch (type.stored) {
    case Stored::half: tensor.data<float>()[i] = float_of_half(at(i, uint16_t{})); break;
    case Stored::u16: tensor.data<int32_t>()[i] = at(i, uint16_t{}); break;
    case Stored::i16: tensor.data<int32_t>()[i] = at(i, int16_t{}); break;
    case Stored::u32: tensor.data<int64_t>()[i] = at(i, uint32_t{}); break;
    default: tensor.data<int64_t>()[i] = static_cast<int64_t>(std::min<uint64_t>(at(i, uint64_t{}), INT64_MAX));
    }
}

// The typed lists. `count` elements are wanted.
template<class List, class Set>
void set_list(const TensorProto& proto, const List& list, int64_t count, const Set& set)
{
  if (list.size() != count)
    throw Error({}, fmt::format("{} wants {} elements, the file has {}", title(proto), count, list.size()));
  for (int i = 0; i < list.size(); ++i)
    set(i, list.Get(i));
}

void set_typed(Tensor& tensor, const TypeRow& type, const TensorProto& proto)
{
  const int64_t count = tensor.size();
  switch (type.number) {
  case TensorProto::FLOAT:
    set_list(proto, proto.float_data(), count, [&](int i, float v) { tensor.data<float>()[i] = v; });
    break;
  case TensorProto::DOUBLE:
    set_list(proto, proto.double_data(), count, [&](int i, double v) { tensor.data<double>()[i] = v; });
    break;
  case TensorProto::INT64:
    set_list(proto, proto.int64_data(), count, [&](int i, int64_t v) { tensor.data<int64_t>()[i] = v; });
    break;
  case TensorProto::UINT32:
  case TensorProto::UINT64:
    set_list(proto, proto.uint64_data(), count, [&](int i, uint64_t v) {
      tensor.data<int64_t>()[i] = static_cast<int64_t>(std::min<uint64_t>(v, INT64_MAX));
    });
    break;
  case TensorProto::FLOAT16:
    set_list(proto, proto.int32_data(), count,
             [&](int i, int32_t v) { tensor.data<float>()[i] = float_of_half(static_cast<uint16_t>(v)); });
    break;
  case TensorProto::BFLOAT16:
    set_list(proto, proto.int32_data(), count,
             [&](int i, int32_t v) { tensor.data<uint16_t>()[i] = static_cast<uint16_t>(v); });
    break;
  default: // the small integers
    set_list(proto, proto.int32_data(), count, [&](int i, int32_t v) {
      tensor.set(i, type.dtype == DType::boolean ? static_cast<double>(v != 0) : static_cast<double>(v));
    });
  }
}

} // namespace

std::optional<DType> dtype_of_onnx(int64_t number)
{
  const TypeRow* row = find_type(number);
  return row ? std::optional(row->dtype) : std::nullopt;
}

int64_t onnx_number_of(DType dtype)
{
  for (const TypeRow& row : types)
    if (row.dtype == dtype && row.stored == Stored::same)
      return row.number;
  throw InternalError("an element type without a number");
}

Tensor tensor_of(const TensorProto& proto, const std::string& model_path)
{
  const TypeRow* type = find_type(proto.data_type());
  if (!type)
    throw Error({},
                fmt::format("{} has elements of type {}, which cnnc does not know", title(proto), proto.data_type()));
  if (proto.has_segment())
    throw Error({}, fmt::format("{} is a part of a tensor: segments are not supported", title(proto)));
  if (proto.dims_size() > 15)
    throw Error({}, fmt::format("{} has {} dimensions", title(proto), proto.dims_size()));
  Shape shape;
  for (const int64_t dim : proto.dims())
    shape.push_back({dim, false});
  int64_t count = 0;
  try {
    count = elements(shape);
  } catch (const Error& e) {
    throw Error({}, fmt::format("{}: {}", title(proto), e.what()));
  }
  const bool external = proto.data_location() == TensorProto::EXTERNAL;
  const int64_t wanted = count * type->bytes; // at most 2^40 * 8
  // What is there bounds what is taken, before any memory is.
  if (!external && proto.has_raw_data() && static_cast<int64_t>(proto.raw_data().size()) != wanted)
    throw Error({}, fmt::format("{} {} takes {} bytes, the file has {}", title(proto), to_string(shape), wanted,
                                proto.raw_data().size()));
  const int64_t listed = int64_t{proto.float_data_size()} + proto.double_data_size() + proto.int32_data_size() +
                         proto.int64_data_size() + proto.uint64_data_size();
  if (!external && !proto.has_raw_data() && listed != count)
    throw Error({},
                fmt::format("{} {} wants {} elements, the file has {}", title(proto), to_string(shape), count, listed));
  std::string outside;
  if (external)
    outside = read_external(proto, model_path, wanted);
  Tensor tensor(type->dtype, {proto.dims().begin(), proto.dims().end()});
  if (external || proto.has_raw_data())
    set_raw(tensor, *type, external ? outside : proto.raw_data());
  else
    set_typed(tensor, *type, proto);
  return tensor;
}

void fill_tensor(TensorProto& proto, const std::string& name, const Tensor& tensor)
{
  proto.set_name(name);
  proto.set_data_type(static_cast<int>(onnx_number_of(tensor.dtype)));
  for (const int64_t dim : tensor.dims)
    proto.add_dims(dim);
  proto.set_raw_data(tensor.bytes.data(), tensor.bytes.size());
}

} // namespace cnnc
