// ELF64 read by hand: header, section headers, .symtab and its names, the note of the build.
#include "compiler/llvm/linked_file.h"

#include "ir/location.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cnnc {

LinkedFile::LinkedFile(const std::string& path)
{
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct stat status {};
  void* at = MAP_FAILED;
  int code = 0;
  if (file < 0 || fstat(file, &status) != 0)
    code = errno;
  else if (code = posix_fallocate(file, 0, status.st_size); code == 0) { // a full disk is an error here, and no SIGBUS
    size_ = static_cast<size_t>(status.st_size);
    at = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    code = errno;
  }
  if (file >= 0)
    close(file);
  if (at == MAP_FAILED)
    throw Error({}, fmt::format("cannot write {}: {}", path, std::strerror(code)), {}, 3);
  at_ = static_cast<std::byte*>(at);
}

LinkedFile::~LinkedFile()
{
  munmap(at_, size_);
}

std::span<std::byte> LinkedFile::part(uint64_t offset, uint64_t bytes) const
{
  if (offset > size_ || bytes > size_ - offset)
    throw InternalError("lld: a table lies outside of the file");
  return {at_ + offset, bytes};
}

template<class T>
std::span<const T> LinkedFile::table(uint64_t offset, uint64_t count) const
{
  if (offset % alignof(T) != 0)
    throw InternalError("lld: a table is not aligned");
  return {reinterpret_cast<const T*>(part(offset, count * sizeof(T)).data()), count};
}

std::span<const Elf64_Shdr> LinkedFile::sections() const
{
  const Elf64_Ehdr& header = table<Elf64_Ehdr>(0, 1)[0];
  return table<Elf64_Shdr>(header.e_shoff, header.e_shnum);
}

std::span<std::byte> LinkedFile::symbol(const std::string& name)
{
  const auto sections = this->sections();
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size())
      continue;
    const Elf64_Shdr& strings = sections[section.sh_link];
    const auto names = part(strings.sh_offset, strings.sh_size);
    for (const Elf64_Sym& symbol : table<Elf64_Sym>(section.sh_offset, section.sh_size / sizeof(Elf64_Sym))) {
      if (symbol.st_name >= names.size() || names.size() - symbol.st_name <= name.size() ||
          std::memcmp(&names[symbol.st_name], name.c_str(), name.size() + 1) != 0 || symbol.st_shndx >= sections.size())
        continue;
      const Elf64_Shdr& home = sections[symbol.st_shndx];
      const uint64_t within = symbol.st_value - home.sh_addr;
      if (home.sh_type != SHT_PROGBITS || within > home.sh_size || symbol.st_size > home.sh_size - within)
        break;
      return part(home.sh_offset + within, symbol.st_size);
    }
  }
  throw InternalError(fmt::format("lld: no room for {}", name));
}

std::span<std::byte> LinkedFile::build_id()
{
  for (const Elf64_Shdr& section : sections()) {
    if (section.sh_type != SHT_NOTE || section.sh_size < sizeof(Elf64_Nhdr) + 4)
      continue;
    const Elf64_Nhdr& note = table<Elf64_Nhdr>(section.sh_offset, 1)[0];
    const uint64_t begin = section.sh_offset + sizeof note;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(part(begin, 4).data(), "GNU", 4) == 0)
      return part(begin + 4, note.n_descsz);
  }
  throw InternalError("lld: no build id");
}

} // namespace cnnc
