// A library that lld has just written, open to be completed: what was only given room is filled in place, so that large
// weights are written once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <elf.h>
#include <span>
#include <string>

namespace cnnc {

class LinkedFile {
public:
  // Maps all of it. Throws Error (exit code 3) where it cannot be written, InternalError where it is not what lld
  // writes.
  explicit LinkedFile(const std::string& path);
  ~LinkedFile();
  LinkedFile(const LinkedFile&) = delete;
  LinkedFile& operator=(const LinkedFile&) = delete;

  std::span<std::byte> all() { return {at_, size_}; }
  // The bytes behind a symbol, local ones too.
  std::span<std::byte> symbol(const std::string& name);
  // The number behind --build-id.
  std::span<std::byte> build_id();

private:
  template<class T>
  std::span<const T> table(uint64_t offset, uint64_t count) const;
  std::span<const Elf64_Shdr> sections() const;
  std::span<std::byte> part(uint64_t offset, uint64_t bytes) const; // within the file, or InternalError

  std::byte* at_ = nullptr;
  size_t size_ = 0;
};

} // namespace cnnc
