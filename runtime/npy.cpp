#include "runtime/npy.h"

#include "runtime/files.h"
#include "runtime/half.h"

#include <cstring>
#include <fmt/format.h>
#include <optional>

namespace cnnc {

namespace {

constexpr size_t header_limit = 65536;
constexpr size_t rank_limit = 32; // NumPy's own
constexpr int64_t file_limit = int64_t{1} << 36;

struct Header {
  std::string descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<int64_t>> shape;
};

// A Python dictionary of a string, a bool and a tuple of integers; no more of Python is understood.
class HeaderParser {
public:
  HeaderParser(std::string_view text, const std::string& name) : rest_(text), name_(name) {}

  Header parse()
  {
    Header header;
    expect('{');
    while (!accept('}')) {
      std::string key = string();
      expect(':');
      if (key == "descr" && header.descr.empty())
        header.descr = string();
      else if (key == "fortran_order" && !header.fortran_order)
        header.fortran_order = boolean();
      else if (key == "shape" && !header.shape)
        header.shape = tuple();
      else
        fail(fmt::format("unknown or repeated key '{}'", key));
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (!rest_.empty())
      fail("something follows the dictionary");
    if (header.descr.empty() || !header.fortran_order || !header.shape)
      fail("needs descr, fortran_order and shape");
    return header;
  }

private:
  [[noreturn]] void fail(const std::string& text) { throw bad_file(name_, "the .npy header: " + text); }

  void skip_space()
  {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\n' || rest_.front() == '\t'))
      rest_.remove_prefix(1);
  }
  bool accept(char c)
  {
    skip_space();
    if (rest_.empty() || rest_.front() != c)
      return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c)
  {
    if (!accept(c))
      fail(fmt::format("'{}' expected, {} bytes before its end", c, rest_.size()));
  }
  std::string string()
  {
    skip_space();
    char quote = rest_.empty() ? '\0' : rest_.front();
    size_t end = quote == '\'' || quote == '"' ? rest_.find(quote, 1) : std::string_view::npos;
    if (end == std::string_view::npos || end > 40)
      fail("a short string expected (arrays of records cannot be read)");
    std::string text(rest_.substr(1, end - 1));
    for (char c : text)
      if (c < 32 || c > 126)
        fail("a string holds a character that is not printable");
    rest_.remove_prefix(end + 1);
    return text;
  }
  bool boolean()
  {
    skip_space();
    for (bool value : {false, true}) {
      std::string_view word = value ? "True" : "False";
      if (rest_.starts_with(word)) {
        rest_.remove_prefix(word.size());
        return value;
      }
    }
    fail("True or False expected");
  }
  std::vector<int64_t> tuple()
  {
    std::vector<int64_t> dims;
    expect('(');
    while (!accept(')')) {
      if (dims.size() == rank_limit)
        fail(fmt::format("more than {} dimensions", rank_limit));
      dims.push_back(integer());
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return dims;
  }
  int64_t integer()
  {
    skip_space();
    int64_t value = 0;
    size_t digits = 0;
    for (; !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9'; ++digits, rest_.remove_prefix(1)) {
      value = value * 10 + (rest_.front() - '0');
      if (value > element_limit)
        fail("a dimension is too large");
    }
    if (digits == 0)
      fail("a dimension expected");
    if (!rest_.empty() && rest_.front() == 'L') // Python 2 wrote long integers so
      rest_.remove_prefix(1);
    return value;
  }

  std::string_view rest_;
  const std::string& name_;
};

struct ElementType {
  std::string_view descr; // without the byte order
  int64_t bytes;
  DType dtype;
};
constexpr ElementType element_types[] = {
    {"f4", 4, DType::f32}, {"f8", 8, DType::f64}, {"f2", 2, DType::f32}, {"i1", 1, DType::i8},
    {"u1", 1, DType::u8},  {"i4", 4, DType::i32}, {"i8", 8, DType::i64}, {"b1", 1, DType::boolean},
};

// column-major => row-major: counted up like an odometer, first index fastest in the source.
void transpose(const std::byte* from, Tensor& to)
{
  size_t rank = to.dims.size();
  auto element = static_cast<size_t>(bytes_of(to.dtype));
  std::vector<int64_t> stride(rank, 1), at(rank, 0);
  for (size_t d = rank; d-- > 1;)
    stride[d - 1] = stride[d] * to.dims[d];
  int64_t offset = 0;
  for (int64_t i = 0, size = to.size(); i < size; ++i) {
    std::memcpy(to.bytes.data() + static_cast<size_t>(offset) * element, from + static_cast<size_t>(i) * element,
                element);
    for (size_t d = 0; d < rank; ++d) {
      offset += stride[d];
      if (++at[d] < to.dims[d])
        break;
      offset -= stride[d] * to.dims[d];
      at[d] = 0;
    }
  }
}

} // namespace

Tensor parse_npy(std::string_view bytes, const std::string& name)
{
  constexpr std::string_view magic = "\x93NUMPY";
  if (!bytes.starts_with(magic))
    throw bad_file(name, "is not a .npy file: it does not start with \\x93NUMPY");
  if (bytes.size() < 10)
    throw bad_file(name, "the .npy file is cut short within its first 10 bytes");
  auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(bytes[i])); };
  size_t major = byte(6), start = 10, length = byte(8) | byte(9) << 8;
  if (major < 1 || major > 3)
    throw bad_file(name, fmt::format("has .npy version {}, 1 to 3 are known", major));
  if (major > 1) {
    if (bytes.size() < 12)
      throw bad_file(name, "the .npy file is cut short within its first 12 bytes");
    start = 12;
    length |= byte(10) << 16 | byte(11) << 24;
  }
  if (length > bytes.size() - start)
    throw bad_file(name, fmt::format("the .npy file is cut short: its header should have {} bytes, {} follow", length,
                                     bytes.size() - start));
  if (length > header_limit)
    throw bad_file(name, fmt::format("the .npy header has {} bytes, at most {} are read", length, header_limit));
  Header header = HeaderParser(bytes.substr(start, length), name).parse();
  bytes.remove_prefix(start + length);

  if (header.descr.size() < 2 || header.descr.front() == '>')
    throw bad_file(name, fmt::format("holds '{}' elements: little-endian ones are wanted", header.descr));
  std::string_view descr = std::string_view(header.descr).substr(std::string_view("<|=").find(header.descr[0]) < 3);
  const ElementType* type = nullptr;
  for (const ElementType& t : element_types)
    if (t.descr == descr)
      type = &t;
  if (!type)
    throw bad_file(name, fmt::format("holds '{}' elements: f2, f4, f8, i1, i4, i8, u1 or b1 are wanted", header.descr));

  int64_t count = 1;
  for (int64_t extent : *header.shape) {
    if (extent != 0 && count > element_limit / extent)
      throw bad_file(name, fmt::format("the shape ({}) is too large", fmt::join(*header.shape, ", ")));
    count *= extent;
  }
  if (static_cast<size_t>(count * type->bytes) != bytes.size())
    throw bad_file(name, fmt::format("an array ({}) of {} has {} bytes, {} follow the header",
                                     fmt::join(*header.shape, ", "), header.descr, count * type->bytes, bytes.size()));

  Tensor tensor(type->dtype, std::move(*header.shape));
  std::vector<std::byte> wide;
  const auto* from = reinterpret_cast<const std::byte*>(bytes.data());
  if (descr == "f2") {
    wide.resize(tensor.bytes.size());
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      uint16_t half;
      std::memcpy(&half, from + i * sizeof half, sizeof half);
      float value = half_to_float(half);
      std::memcpy(wide.data() + i * sizeof value, &value, sizeof value);
    }
    from = wide.data();
  }
  if (*header.fortran_order && tensor.dims.size() > 1)
    transpose(from, tensor);
  else if (count > 0)
    std::memcpy(tensor.bytes.data(), from, tensor.bytes.size());
  if (tensor.dtype == DType::boolean)
    for (std::byte b : tensor.bytes)
      if (b > std::byte{1})
        throw bad_file(name, fmt::format("a bool is {}, neither 0 nor 1", static_cast<int>(b)));
  return tensor;
}

Tensor read_npy(const std::string& path)
{
  return parse_npy(read_file(path, file_limit), path);
}

std::string to_npy(const Tensor& tensor)
{
  if (tensor.dtype == DType::bf16)
    return to_npy(convert(tensor, DType::f32));
  std::string_view descr;
  for (const ElementType& type : element_types)
    if (type.dtype == tensor.dtype && descr.empty())
      descr = type.descr;
  std::string header = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}{}), }}",
                                   bytes_of(tensor.dtype) == 1 ? '|' : '<', descr, fmt::join(tensor.dims, ", "),
                                   tensor.dims.size() == 1 ? "," : "");
  constexpr size_t before = 10, alignment = 64;
  header.append((alignment - (before + header.size() + 1) % alignment) % alignment, ' ');
  header += '\n';
  std::string bytes = "\x93NUMPY";
  bytes += '\1';
  bytes += '\0';
  bytes += static_cast<char>(header.size() & 255);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  return bytes;
}

void write_npy(const std::string& path, const Tensor& tensor)
{
  write_file_atomically(path, to_npy(tensor));
}

} // namespace cnnc
