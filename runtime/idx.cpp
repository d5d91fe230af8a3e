#include "runtime/idx.h"

#include "runtime/files.h"

#include <cstring>
#include <fmt/format.h>
#include <zlib.h>

namespace cnnc {

namespace {

constexpr int64_t file_limit = int64_t{1} << 32;
// A gzip of n bytes holds at most this often n bytes (deflate's limit is 1032).
constexpr int64_t gzip_ratio = 1040;

// Hands out the bytes behind a gzip file, exactly as many as are asked for: what is announced has been checked before.
class Bytes {
public:
  Bytes(std::string_view bytes, const std::string& name) : name_(name), in_(bytes)
  {
    zipped_ = bytes.size() > 2 && bytes[0] == '\x1f' && bytes[1] == '\x8b';
    if (zipped_ && inflateInit2(&stream_, 15 + 16) != Z_OK) // 16: a gzip header, nothing else
      throw std::bad_alloc();
  }
  ~Bytes()
  {
    if (zipped_)
      inflateEnd(&stream_);
  }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  // How many can follow at most.
  int64_t most() const
  {
    auto left = static_cast<int64_t>(in_.size());
    return zipped_ ? left * gzip_ratio + gzip_ratio : left;
  }

  void take(void* to, int64_t count)
  {
    if (count > most() || read(to, count) != count)
      throw bad_file(name_, fmt::format("is cut short: {} more bytes were expected", count));
  }

  void expect_end()
  {
    char more;
    if (read(&more, 1) != 0 || !in_.empty())
      throw bad_file(name_, "something follows the end of the data");
    if (zipped_ && !ended_)
      throw bad_file(name_, "is cut short: the gzip checksum is missing");
  }

private:
  int64_t read(void* to, int64_t count)
  {
    if (!zipped_) {
      count = std::min(count, static_cast<int64_t>(in_.size()));
      if (count > 0)
        std::memcpy(to, in_.data(), static_cast<size_t>(count));
      in_.remove_prefix(static_cast<size_t>(count));
      return count;
    }
    constexpr int64_t step = 1 << 30; // zlib counts in 32 bits
    int64_t done = 0;
    while (done < count && !ended_) {
      int64_t want = std::min(count - done, step), offer = std::min(static_cast<int64_t>(in_.size()), step);
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in_.data()));
      stream_.avail_in = static_cast<uInt>(offer);
      stream_.next_out = static_cast<Bytef*>(to) + done;
      stream_.avail_out = static_cast<uInt>(want);
      int status = inflate(&stream_, Z_NO_FLUSH);
      in_.remove_prefix(static_cast<size_t>(offer) - stream_.avail_in);
      done += want - stream_.avail_out;
      ended_ = status == Z_STREAM_END;
      if (status == Z_BUF_ERROR || (status == Z_OK && in_.empty() && stream_.avail_out > 0))
        return done; // the input is used up
      if (status != Z_OK && status != Z_STREAM_END)
        throw bad_file(name_, fmt::format("is damaged: {}", stream_.msg ? stream_.msg : "not a gzip stream"));
    }
    return done;
  }

  const std::string& name_;
  std::string_view in_;
  bool zipped_ = false, ended_ = false;
  z_stream stream_ = {};
};

} // namespace

Tensor parse_idx(std::string_view bytes, const std::string& name, int rank)
{
  Bytes in(bytes, name);
  unsigned char head[4];
  in.take(head, 4);
  if (head[0] != 0 || head[1] != 0)
    throw bad_file(name, "is not an idx file: it does not start with two zero bytes");
  if (head[2] != 8)
    throw bad_file(name, fmt::format("holds elements of idx type 0x{:02x}, 0x08 (unsigned bytes) is wanted", head[2]));
  if (head[3] != rank)
    throw bad_file(name, fmt::format("has {} dimensions, {} are wanted", head[3], rank));
  std::vector<int64_t> dims;
  int64_t count = 1;
  for (int d = 0; d < rank; ++d) {
    unsigned char b[4];
    in.take(b, 4);
    int64_t extent = int64_t{b[0]} << 24 | b[1] << 16 | b[2] << 8 | b[3];
    if (extent != 0 && count > element_limit / extent)
      throw bad_file(name, "the extents are too large");
    count *= extent;
    dims.push_back(extent);
  }
  if (count > in.most())
    throw bad_file(name, fmt::format("is cut short: {} bytes of data are announced, more than can follow", count));
  Tensor tensor(DType::u8, std::move(dims));
  in.take(tensor.bytes.data(), count);
  in.expect_end();
  return tensor;
}

Tensor read_idx(const std::string& path, int rank)
{
  return parse_idx(read_file(path, file_limit), path, rank);
}

std::string to_idx(const Tensor& tensor)
{
  if (tensor.dtype != DType::u8 || tensor.dims.size() > 255)
    throw InternalError("to_idx: u8 is wanted");
  std::string bytes = {'\0', '\0', '\x08', static_cast<char>(tensor.dims.size())};
  for (int64_t extent : tensor.dims)
    for (int shift = 24; shift >= 0; shift -= 8)
      bytes += static_cast<char>(extent >> shift & 255);
  bytes.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  return bytes;
}

} // namespace cnnc
