// Objects become a shared library, by lld inside this process: nothing is executed, no compiler and no C development
// files are needed. The library is linked against the libc.so.6 and libm.so.6 that this very program runs with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace cnnc {

// A file in memory without a name, which lld reads by its descriptor: nothing is left behind, whatever happens.
class LinkInput {
public:
  // Throws Error (exit code 3).
  LinkInput(std::string name, std::string_view bytes);
  ~LinkInput();
  LinkInput(LinkInput&&) noexcept;
  LinkInput& operator=(LinkInput&&) = delete;

  std::string path() const; // "/proc/self/fd/7"
  const std::string name;   // for messages
  const int64_t bytes;

private:
  int file = -1;
};

// Data of any size, without going through the linker: it makes room, and `fill` writes to the library's own pages.
struct LinkData {
  std::string symbol; // hidden, page-aligned and read-only
  int64_t bytes = 0;  // zeros, when `fill` gets them
  std::function<void(std::byte*)> fill;
};

// Links to a shared library at `path` that exports its default-visible symbols and lacks none. Throws Error (exit code
// 3) where `path` cannot be written, and may leave a part of it then; InternalError with lld's words for all else.
void link_library(std::vector<LinkInput> inputs, const std::vector<LinkData>& data, const std::string& soname,
                  const std::string& path);

} // namespace cnnc
