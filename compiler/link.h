// Objects become a shared library, by lld inside this process: nothing is executed, no compiler and no C development
// files are needed. The library is linked against the libc.so.6 and libm.so.6 that this very program runs with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cnnc {

// A file without a name, which lld reads by its descriptor: nothing is left behind, whatever happens.
class LinkInput {
public:
  // In memory. Throws Error (exit code 3).
  LinkInput(std::string name, std::string_view bytes);
  // On the disk, in `folder`, where it can be, so that large weights do not stay in memory; `size` bytes of zeros.
  LinkInput(std::string name, const std::string& folder, int64_t size);
  ~LinkInput();
  LinkInput(LinkInput&&) noexcept;
  LinkInput& operator=(LinkInput&&) = delete;

  std::string path() const; // "/proc/self/fd/7"
  std::byte* map();         // all of it, writable
  void unmap();             // so that its pages do not stay in memory
  const std::string name;   // for messages

private:
  int file = -1;
  int64_t size = 0;
  std::byte* mapped = nullptr;
};

// Links `inputs` to a shared library at `path` that exports its default-visible symbols and lacks none; written in one
// piece by lld. Throws Error (exit code 3) where `path` cannot be written, InternalError with lld's words for all else.
void link_library(const std::vector<LinkInput>& inputs, const std::string& soname, const std::string& path);

} // namespace cnnc
