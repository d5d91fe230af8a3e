// Whole files: read up to a limit; written aside, then renamed, so that no reader ever sees half of one.
#pragma once

#include "ir/location.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cnnc {

// "w.safetensors: the header says 99 bytes, the file has 20": the content is wrong (exit code 1).
Error bad_file(const std::string& path, const std::string& text);
// "cannot open w.safetensors: No such file or directory": exit code 3; `number` is an errno.
Error cannot(std::string_view verb, const std::string& path, int number);

// The bytes of a file (or pipe). Throws Error: it cannot be read, or holds more than `limit` bytes.
std::string read_file(const std::string& path, int64_t limit);

// `pieces`, one behind the other, become the file: written without a name (where the file system can, else as
// ".NAME.PID.NUMBER.part") in the same directory, synced, then renamed over it; an existing file keeps its permissions.
// Symbolic links are followed. Devices and pipes are written directly. Throws Error; the old file is then untouched.
void write_file_atomically(const std::string& path, std::span<const std::string_view> pieces);
void write_file_atomically(const std::string& path, std::string_view bytes);

// Asks before the work whether its result can be written: the folder is there and lets files in. Throws Error.
void check_writable(const std::string& path);

// Do both paths lead to one existing file?
bool same_file(const std::string& a, const std::string& b);

// A regular file that is read piece by piece.
class InputFile {
public:
  explicit InputFile(const std::string& path); // throws Error; also where it is not a regular file
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }
  // Exactly `count` bytes from `offset`; throws Error where the file ends before.
  void read(int64_t offset, void* to, int64_t count) const;

private:
  std::string path_;
  int64_t size_ = 0;
  int fd_ = -1;
};

} // namespace cnnc
