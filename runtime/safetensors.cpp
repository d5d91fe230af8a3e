#include "runtime/safetensors.h"

#include "runtime/half.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>

namespace cnnc {

static_assert(std::endian::native == std::endian::little, "files are little-endian and copied as they are");

namespace {

constexpr int64_t header_limit = 100'000'000; // as in the reference implementation
constexpr size_t rank_limit = 32;

struct StoredType {
  std::string_view name;
  int64_t bytes;
  std::optional<DType> dtype;
};

constexpr StoredType stored_types[] = {
    {"F32", 4, DType::f32}, {"F64", 8, DType::f64}, {"BF16", 2, DType::bf16},
    {"F16", 2, DType::f32}, {"I8", 1, DType::i8},   {"U8", 1, DType::u8},
    {"I32", 4, DType::i32}, {"I64", 8, DType::i64}, {"BOOL", 1, DType::boolean},
    {"I16", 2, {}},         {"U16", 2, {}},         {"U32", 4, {}},
    {"U64", 8, {}},         {"F8_E4M3", 1, {}},     {"F8_E5M2", 1, {}},
};

const StoredType* stored_type(std::string_view name)
{
  for (const StoredType& type : stored_types)
    if (type.name == name)
      return &type;
  return nullptr;
}

std::string_view name_of(DType dtype)
{
  // The first row of a type is the one it is written as.
  for (const StoredType& type : stored_types)
    if (type.dtype == dtype)
      return type.name;
  throw InternalError("safetensors: an element type without a name");
}

// Names come from a stranger's file: what cannot be printed is not.
std::string in_quotes(std::string_view name)
{
  std::string text = "'";
  for (char c : name.substr(0, 80))
    text += static_cast<unsigned char>(c) < 32 || c == 127 ? '?' : c;
  return text + (name.size() > 80 ? "...'" : "'");
}

// The header as events: no tree is built, so that nesting costs nothing and a name that comes twice is seen.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
public:
  std::vector<SafetensorsFile::Entry> entries;
  Metadata metadata;
  std::string error; // where a handler returned false

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("true or false"); }
  bool number_integer(number_integer_t value) override { return unexpected(fmt::format("the number {}", value)); }
  bool number_float(number_float_t, const string_t& text) override { return unexpected("the number " + text); }
  bool binary(binary_t&) override { return unexpected("bytes"); }

  bool number_unsigned(number_unsigned_t value) override
  {
    if (depth_ != 3)
      return unexpected(fmt::format("the number {}", value));
    if (value > static_cast<uint64_t>(INT64_MAX))
      return fail(fmt::format("the number {} is too large", value));
    if (field_ == Field::shape) {
      if (entries.back().dims.size() == rank_limit)
        return fail(fmt::format("has more than {} dimensions", rank_limit));
      entries.back().dims.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (offset_count_ == 2)
      return fail("data_offsets holds more than two numbers");
    (offset_count_++ == 0 ? entries.back().begin : entries.back().end) = static_cast<int64_t>(value);
    return true;
  }

  bool string(string_t& value) override
  {
    if (depth_ == 2 && in_metadata_) {
      metadata[key_] = value;
      return true;
    }
    if (depth_ != 2 || field_ != Field::dtype)
      return unexpected("the string " + in_quotes(value));
    const StoredType* type = stored_type(value);
    if (!type)
      return fail("unknown dtype " + in_quotes(value));
    entries.back().stored_as = value;
    entries.back().dtype = type->dtype;
    return true;
  }

  bool key(string_t& value) override
  {
    if (depth_ == 1) {
      key_ = value;
      if (!names_.insert(value).second)
        return fail("the name occurs twice");
      in_metadata_ = value == "__metadata__";
      return true;
    }
    if (in_metadata_) {
      key_ = value;
      return metadata.contains(value) ? fail("the name occurs twice") : true;
    }
    field_ = value == "dtype"          ? Field::dtype
             : value == "shape"        ? Field::shape
             : value == "data_offsets" ? Field::offsets
                                       : Field::none;
    if (field_ == Field::none)
      return fail("unknown key " + in_quotes(value));
    if (seen_ & 1u << static_cast<unsigned>(field_))
      return fail("the key " + in_quotes(value) + " occurs twice");
    seen_ |= 1u << static_cast<unsigned>(field_);
    return true;
  }

  bool start_object(size_t) override
  {
    if (depth_ > 1)
      return unexpected("an object");
    if (++depth_ == 2 && !in_metadata_) {
      entries.emplace_back().name = key_;
      seen_ = 0;
      offset_count_ = 0;
      field_ = Field::none;
    }
    return true;
  }

  bool end_object() override
  {
    constexpr unsigned all =
        1u << unsigned(Field::dtype) | 1u << unsigned(Field::shape) | 1u << unsigned(Field::offsets);
    if (depth_ == 2 && !in_metadata_) {
      if (seen_ != all)
        return fail("needs dtype, shape and data_offsets");
      if (offset_count_ != 2)
        return fail("data_offsets must hold two numbers");
    }
    --depth_;
    return true;
  }

  bool start_array(size_t) override
  {
    if (depth_ != 2 || in_metadata_ || (field_ != Field::shape && field_ != Field::offsets))
      return unexpected("a list");
    ++depth_;
    return true;
  }

  bool end_array() override
  {
    --depth_;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override
  {
    error = fmt::format("the header is not JSON at its byte {}", position);
    return false;
  }

private:
  enum class Field : uint8_t { none, dtype, shape, offsets };

  bool fail(const std::string& text)
  {
    error = depth_ == 0 ? text : fmt::format("{}: {}", in_quotes(key_), text);
    return false;
  }
  bool unexpected(const std::string& what)
  {
    return fail(depth_ == 0 ? "the header must be an object, it is " + what : what + " is not expected here");
  }

  int depth_ = 0;
  bool in_metadata_ = false;
  std::string key_;
  Field field_ = Field::none;
  unsigned seen_ = 0;
  int offset_count_ = 0;
  std::set<std::string> names_;
};

// Bytes that a tensor of these extents takes; nothing where that is beyond any file.
std::optional<int64_t> byte_count(const std::vector<int64_t>& dims, int64_t element)
{
  int64_t count = 1;
  // One by one too: behind a zero any extent would do, and readers of dims expect sane ones.
  for (int64_t extent : dims)
    if (extent > element_limit)
      return {};
  for (int64_t extent : dims) {
    if (extent != 0 && count > element_limit / extent)
      return {};
    count *= extent;
  }
  return count * element;
}

std::string to_text(const std::vector<int64_t>& dims)
{
  return fmt::format("[{}]", fmt::join(dims, ","));
}

} // namespace

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path)
{
  constexpr int64_t length_bytes = 8;
  if (file_.size() < length_bytes)
    throw bad_file(path, fmt::format("is not a safetensors file: {} bytes are too few", file_.size()));
  uint64_t length = 0;
  file_.read(0, &length, length_bytes);
  if (length > static_cast<uint64_t>(file_.size() - length_bytes))
    throw bad_file(path,
                   fmt::format("is not a safetensors file, or cut short: a header of {} bytes is announced, {} follow",
                               length, file_.size() - length_bytes));
  if (length > static_cast<uint64_t>(header_limit))
    throw bad_file(path, fmt::format("the header has {} bytes, at most {} are read", length, header_limit));
  std::string header(length, '\0');
  file_.read(length_bytes, header.data(), static_cast<int64_t>(length));
  data_ = length_bytes + static_cast<int64_t>(length);
  int64_t data_size = file_.size() - data_;

  HeaderReader reader;
  if (!nlohmann::json::sax_parse(header, &reader))
    throw bad_file(path, reader.error);
  entries_ = std::move(reader.entries);
  metadata_ = std::move(reader.metadata);

  for (const Entry& entry : entries_) {
    std::optional<int64_t> bytes = byte_count(entry.dims, stored_type(entry.stored_as)->bytes);
    if (!bytes)
      throw bad_file(path, fmt::format("{}: the shape {} is too large", in_quotes(entry.name), to_text(entry.dims)));
    if (entry.begin > entry.end || entry.end > data_size)
      throw bad_file(path, fmt::format("{}: bytes {} to {} are not within the {} bytes of data", in_quotes(entry.name),
                                       entry.begin, entry.end, data_size));
    if (entry.end - entry.begin != *bytes)
      throw bad_file(path, fmt::format("{}: {} {} takes {} bytes, the header gives it {}", in_quotes(entry.name),
                                       entry.stored_as, to_text(entry.dims), *bytes, entry.end - entry.begin));
  }
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  int64_t covered = 0;
  for (const Entry& entry : entries_) {
    if (entry.begin != covered)
      throw bad_file(path,
                     fmt::format("{}: starts at byte {} of the data, {} was expected (tensors overlap or leave a gap)",
                                 in_quotes(entry.name), entry.begin, covered));
    covered = entry.end;
  }
  if (covered != data_size)
    throw bad_file(path, fmt::format("{} bytes follow the last tensor", data_size - covered));
  for (size_t i = 0; i < entries_.size(); ++i)
    numbers_[entries_[i].name] = i;
}

const SafetensorsFile::Entry* SafetensorsFile::find(std::string_view name) const
{
  auto it = numbers_.find(name);
  return it == numbers_.end() ? nullptr : &entries_[it->second];
}

Tensor SafetensorsFile::read(const Entry& entry) const
{
  if (!entry.dtype)
    throw bad_file(path(), fmt::format("{}: {} is not supported", in_quotes(entry.name), entry.stored_as));
  Tensor tensor(*entry.dtype, entry.dims);
  int64_t bytes = entry.end - entry.begin;
  if (entry.stored_as == "F16") {
    std::vector<uint16_t> halves(static_cast<size_t>(bytes / 2));
    file_.read(data_ + entry.begin, halves.data(), bytes);
    std::transform(halves.begin(), halves.end(), tensor.data<float>(), half_to_float);
    return tensor;
  }
  file_.read(data_ + entry.begin, tensor.bytes.data(), bytes);
  if (entry.dtype == DType::boolean)
    for (std::byte b : tensor.bytes)
      if (b > std::byte{1})
        throw bad_file(path(),
                       fmt::format("{}: a BOOL is {}, neither 0 nor 1", in_quotes(entry.name), static_cast<int>(b)));
  return tensor;
}

std::map<std::string, Tensor> read_safetensors(const std::string& path)
{
  SafetensorsFile file(path);
  std::map<std::string, Tensor> tensors;
  for (const SafetensorsFile::Entry& entry : file.entries())
    tensors.emplace(entry.name, file.read(entry));
  return tensors;
}

void write_safetensors(const std::string& path, const std::vector<std::pair<std::string, const Tensor*>>& tensors,
                       const Metadata& metadata)
{
  auto order = tensors;
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return bytes_of(a.second->dtype) > bytes_of(b.second->dtype); });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty())
    header["__metadata__"] = metadata;
  std::vector<std::string_view> pieces(2);
  std::set<std::string_view> names = {"__metadata__"};
  size_t offset = 0;
  for (const auto& [name, tensor] : order) {
    if (!names.insert(name).second)
      throw bad_file(path, "two tensors would have the name " + in_quotes(name));
    header[name] = {{"dtype", name_of(tensor->dtype)},
                    {"shape", tensor->dims},
                    {"data_offsets", {offset, offset + tensor->bytes.size()}}};
    offset += tensor->bytes.size();
    pieces.emplace_back(reinterpret_cast<const char*>(tensor->bytes.data()), tensor->bytes.size());
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::type_error&) {
    throw bad_file(path, "a name is not UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' '); // the data starts at a multiple of 8, as readers that map it want
  uint64_t length = text.size();
  pieces[0] = {reinterpret_cast<const char*>(&length), sizeof length};
  pieces[1] = text;
  write_file_atomically(path, pieces);
}

} // namespace cnnc
