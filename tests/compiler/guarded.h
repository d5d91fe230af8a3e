// Memory between two pages that nobody may touch.
#pragma once

#include <cstddef>
#include <stdexcept>

#include <sys/mman.h>
#include <unistd.h>

namespace cnnc::test {

// `size` bytes that end at the guard page, or begin behind one.
class Guarded {
public:
  Guarded(size_t size, bool at_end) : size(size)
  {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t inside = (size + page - 1) / page * page;
    whole = inside + 2 * page;
    base = static_cast<std::byte*>(mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base == MAP_FAILED || (inside > 0 && mprotect(base + page, inside, PROT_READ | PROT_WRITE) != 0))
      throw std::runtime_error("no memory for a guarded buffer");
    data = base + page + (at_end ? inside - size : 0);
  }
  ~Guarded() { munmap(base, whole); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  std::byte* data;
  size_t size;

private:
  std::byte* base;
  size_t whole;
};

} // namespace cnnc::test
