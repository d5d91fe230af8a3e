// An ELF relocatable object by hand:
//
//   header | ... 4096: the data, or nothing | symbols | names | section headers
//
// Sections: null, .rodata, .symtab, .strtab, .note.GNU-stack.
#include "compiler/blob.h"

#include <cstring>
#include <elf.h>

namespace cnnc {

namespace {

constexpr int64_t page = blob_data_offset;
constexpr char section_names[] = "\0.rodata.cnnc\0.symtab\0.strtab\0.note.GNU-stack"; // then the symbol's name
enum Section : uint16_t { null, rodata, symtab, strtab, stack, section_count };

int64_t round_up(int64_t size, int64_t to)
{
  return (size + to - 1) / to * to;
}

struct Frame {
  int64_t symbols, strings, string_bytes, sections, end;
};

Frame frame_of(const std::string& symbol, int64_t stored_bytes)
{
  Frame frame{};
  frame.symbols = round_up(page + stored_bytes, 8);
  frame.strings = frame.symbols + 2 * static_cast<int64_t>(sizeof(Elf64_Sym));
  frame.string_bytes = static_cast<int64_t>(sizeof section_names + symbol.size() + 1);
  frame.sections = round_up(frame.strings + frame.string_bytes, 8);
  frame.end = frame.sections + section_count * static_cast<int64_t>(sizeof(Elf64_Shdr));
  return frame;
}

Elf64_Shdr section(const char* name, uint32_t type, uint64_t flags, int64_t offset, int64_t size, uint64_t align)
{
  Elf64_Shdr header{};
  for (size_t at = 0; at < sizeof section_names; at += std::strlen(section_names + at) + 1)
    if (std::strcmp(section_names + at, name) == 0)
      header.sh_name = static_cast<uint32_t>(at);
  header.sh_type = type;
  header.sh_flags = flags;
  header.sh_offset = static_cast<uint64_t>(offset);
  header.sh_size = static_cast<uint64_t>(size);
  header.sh_addralign = align;
  return header;
}

// Zeros for the data, all of it or none.
std::string make_object(const std::string& symbol, int64_t data_bytes, bool is_stored)
{
  const Frame frame = frame_of(symbol, is_stored ? data_bytes : 0);
  std::string result(static_cast<size_t>(frame.end), '\0');
  char* object = result.data();
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_shoff = static_cast<uint64_t>(frame.sections);
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = section_count;
  header.e_shstrndx = strtab;
  std::memcpy(object, &header, sizeof header);

  Elf64_Sym symbols[2]{};
  symbols[1].st_name = sizeof section_names;
  symbols[1].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT);
  symbols[1].st_other = STV_HIDDEN;
  symbols[1].st_shndx = rodata;
  symbols[1].st_size = static_cast<uint64_t>(data_bytes);
  std::memcpy(object + frame.symbols, symbols, sizeof symbols);
  std::memcpy(object + frame.strings, section_names, sizeof section_names);
  std::memcpy(object + frame.strings + sizeof section_names, symbol.c_str(), symbol.size() + 1);

  Elf64_Shdr sections[section_count]{};
  sections[rodata] = section(".rodata.cnnc", is_stored ? SHT_PROGBITS : SHT_NOBITS, SHF_ALLOC, page, data_bytes, page);
  sections[symtab] = section(".symtab", SHT_SYMTAB, 0, frame.symbols, sizeof symbols, 8);
  sections[symtab].sh_link = strtab;
  sections[symtab].sh_info = 1; // the first global symbol
  sections[symtab].sh_entsize = sizeof(Elf64_Sym);
  sections[strtab] = section(".strtab", SHT_STRTAB, 0, frame.strings, frame.string_bytes, 1);
  sections[stack] = section(".note.GNU-stack", SHT_PROGBITS, 0, frame.strings, 0, 1);
  std::memcpy(object + frame.sections, sections, sizeof sections);
  return result;
}

} // namespace

std::string blob_object(const std::string& symbol, int64_t data_bytes)
{
  return make_object(symbol, data_bytes, true);
}

std::string room_object(const std::string& symbol, int64_t data_bytes)
{
  return make_object(symbol, data_bytes, false);
}

} // namespace cnnc
