#include "runtime/npz.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <zlib.h>

namespace cnnc {

namespace {

constexpr int64_t end_bytes = 22, entry_bytes = 46, local_bytes = 30, locator_bytes = 20, wide_end_bytes = 56;
constexpr int64_t longest_comment = 65535;
constexpr int64_t directory_limit = 64 << 20;
constexpr int64_t deflate_ratio = 1032;  // no deflated byte becomes more (zlib's technical notes)
constexpr uint32_t in_wide = 0xffffffff; // the number is in the zip64 part

template<class T>
T number(std::string_view bytes, size_t at)
{
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

[[noreturn]] void fail(const std::string& path, const std::string& text)
{
  throw bad_file(path, "the .npz archive " + text);
}

std::string read_part(const InputFile& file, int64_t offset, int64_t bytes)
{
  if (offset < 0 || bytes < 0 || offset > file.size() || bytes > file.size() - offset)
    fail(file.path(), "is damaged or cut short");
  std::string part(static_cast<size_t>(bytes), '\0');
  file.read(offset, part.data(), bytes);
  return part;
}

struct Directory {
  int64_t offset = 0, bytes = 0, count = 0;
};

Directory find_directory(const InputFile& file)
{
  const int64_t tail_bytes = std::min(file.size(), end_bytes + longest_comment);
  const std::string tail = read_part(file, file.size() - tail_bytes, tail_bytes);
  const size_t at = tail.rfind(std::string_view("PK\5\6", 4), tail.size() < end_bytes ? 0 : tail.size() - end_bytes);
  if (tail.size() < end_bytes || at == tail.npos)
    fail(file.path(), "has no directory: it is cut short, or no archive");
  Directory directory{number<uint32_t>(tail, at + 16), number<uint32_t>(tail, at + 12),
                      number<uint16_t>(tail, at + 10)};
  if (directory.offset != in_wide && directory.bytes != in_wide && directory.count != 0xffff)
    return directory;
  const int64_t end = file.size() - tail_bytes + static_cast<int64_t>(at);
  const std::string locator = read_part(file, end - locator_bytes, locator_bytes);
  if (!locator.starts_with("PK\6\7"))
    return directory;
  const std::string wide = read_part(file, number<int64_t>(locator, 8), wide_end_bytes);
  if (!wide.starts_with("PK\6\6"))
    fail(file.path(), "has a damaged directory");
  return {number<int64_t>(wide, 48), number<int64_t>(wide, 40), number<int64_t>(wide, 32)};
}

// Numbers that did not fit into 32 bits follow in the extra part of kind 1, in this order.
void read_wide(std::string_view extra, ZipFile::Member& member)
{
  while (extra.size() >= 4) {
    const auto kind = number<uint16_t>(extra, 0);
    const size_t bytes = number<uint16_t>(extra, 2);
    extra.remove_prefix(4);
    if (bytes > extra.size())
      return;
    std::string_view part = extra.substr(0, bytes);
    extra.remove_prefix(bytes);
    if (kind != 1)
      continue;
    for (int64_t* value : {&member.bytes, &member.packed, &member.offset})
      if (*value == in_wide && part.size() >= 8) {
        *value = number<int64_t>(part, 0);
        part.remove_prefix(8);
      }
  }
}

std::string inflated(std::string_view packed, const ZipFile::Member& member, const std::string& path)
{
  std::string bytes(static_cast<size_t>(member.bytes), '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) // no zlib header
    fail(path, "cannot be unpacked: out of memory");
  int code = Z_OK;
  size_t in = 0, out = 0;
  while (code == Z_OK) { // counts are of 32 bits
    const size_t most = 1 << 30;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + in));
    stream.avail_in = static_cast<uInt>(std::min(most, packed.size() - in));
    stream.next_out = reinterpret_cast<Bytef*>(bytes.data() + out);
    stream.avail_out = static_cast<uInt>(std::min(most, bytes.size() - out));
    const uInt had_in = stream.avail_in, had_out = stream.avail_out;
    code = inflate(&stream, Z_NO_FLUSH);
    in += had_in - stream.avail_in;
    out += had_out - stream.avail_out;
    if (code == Z_OK && had_in == stream.avail_in && had_out == stream.avail_out)
      break;
  }
  inflateEnd(&stream);
  if (code != Z_STREAM_END || out != bytes.size() || in != packed.size())
    fail(path, fmt::format("is damaged: '{}' does not unpack to {} bytes", member.name, member.bytes));
  return bytes;
}

} // namespace

ZipFile::ZipFile(const std::string& path) : file_(path)
{
  const Directory directory = find_directory(file_);
  if (directory.bytes > directory_limit)
    fail(path, fmt::format("has a directory of {} bytes, at most {} are read", directory.bytes, directory_limit));
  const std::string all = read_part(file_, directory.offset, directory.bytes);
  std::string_view rest = all;
  while (static_cast<int64_t>(members_.size()) < directory.count) {
    if (rest.size() < entry_bytes || !rest.starts_with("PK\1\2"))
      fail(path, "has a damaged directory");
    const auto flags = number<uint16_t>(rest, 8), method = number<uint16_t>(rest, 10);
    const size_t name = number<uint16_t>(rest, 28), extra = number<uint16_t>(rest, 30),
                 comment = number<uint16_t>(rest, 32);
    if (rest.size() < entry_bytes + name + extra + comment)
      fail(path, "has a damaged directory");
    Member member{std::string(rest.substr(entry_bytes, name)),
                  number<uint32_t>(rest, 42),
                  number<uint32_t>(rest, 20),
                  number<uint32_t>(rest, 24),
                  number<uint32_t>(rest, 16),
                  method == Z_DEFLATED};
    read_wide(rest.substr(entry_bytes + name, extra), member);
    rest.remove_prefix(entry_bytes + name + extra + comment);
    if ((flags & 1) != 0 || (method != 0 && method != Z_DEFLATED))
      fail(path, fmt::format("holds '{}' encrypted or packed in a way that is not read (only stored and deflated are)",
                             member.name));
    // Before memory is taken: the file has these bytes, and they can become that many.
    if (member.offset < 0 || member.packed < 0 || member.bytes < 0 || member.packed > file_.size() ||
        (member.deflated ? member.bytes / deflate_ratio > member.packed : member.bytes != member.packed))
      fail(path, fmt::format("lies about the size of '{}'", member.name));
    members_.push_back(std::move(member));
  }
}

std::string ZipFile::read(const Member& member) const
{
  const std::string local = read_part(file_, member.offset, local_bytes);
  if (!local.starts_with("PK\3\4"))
    fail(file_.path(), fmt::format("has no '{}' where its directory says", member.name));
  const int64_t start = member.offset + local_bytes + number<uint16_t>(local, 26) + number<uint16_t>(local, 28);
  std::string bytes = read_part(file_, start, member.packed);
  if (member.deflated)
    bytes = inflated(bytes, member, file_.path());
  uLong checksum = crc32(0, nullptr, 0);
  checksum = crc32_z(checksum, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  if (checksum != member.checksum)
    fail(file_.path(), fmt::format("is damaged: the checksum of '{}' differs", member.name));
  return bytes;
}

} // namespace cnnc
