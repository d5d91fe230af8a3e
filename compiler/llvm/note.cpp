// The note's text, and how it is found in a file that nobody vouches for.
#include "compiler/note.h"

#include "compiler/targets.h"

#include <fmt/format.h>
#include <llvm/Support/JSON.h>
#include <llvm/Support/raw_ostream.h>

#include <cerrno>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

namespace cnnc {

namespace {

constexpr int64_t largest_note = 64 << 20;

std::string fixed(const std::string& text)
{
  return llvm::json::isUTF8(text) ? text : llvm::json::fixUTF8(text);
}

llvm::json::Array tensors(const std::vector<Interface::TensorInfo>& all)
{
  llvm::json::Array array;
  for (const Interface::TensorInfo& tensor : all) {
    llvm::json::Array shape;
    for (const Dim& dim : tensor.type.shape) {
      if (dim.batch)
        shape.push_back(to_string(dim));
      else
        shape.push_back(dim.size);
    }
    llvm::json::Object object{{"name", fixed(tensor.name)},
                              {"dtype", std::string(to_string(tensor.type.dtype))},
                              {"shape", std::move(shape)},
                              {"line", tensor.line}};
    if (tensor.limit > 0)
      object["limit"] = tensor.limit;
    array.push_back(std::move(object));
  }
  return array;
}

llvm::json::Object target_object(const Target& target)
{
  llvm::json::Array needs;
  for (const std::string& feature : feature_names(needs_of(target)))
    needs.push_back(feature);
  return llvm::json::Object{
      {"march", fixed(target.march)}, {"cpu", target.cpu}, {"features", target.features}, {"needs", std::move(needs)}};
}

class File {
public:
  explicit File(const std::string& path) : path(path), file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK))
  {
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0)
      throw Error({}, fmt::format("cannot read {}: {}", path, std::strerror(errno)), {}, 3);
    if (!S_ISREG(status.st_mode))
      refuse();
    size = status.st_size;
  }
  ~File() { close(file); }
  File(const File&) = delete;

  [[noreturn]] void refuse() const { throw Error({}, fmt::format("{} is not a network that cnnc has compiled", path)); }

  void read(uint64_t offset, void* to, uint64_t bytes) const
  {
    if (offset > static_cast<uint64_t>(size) || bytes > static_cast<uint64_t>(size) - offset)
      refuse();
    for (uint64_t done = 0; done < bytes;) {
      const ssize_t got = pread(file, static_cast<char*>(to) + done, bytes - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR)
        continue;
      if (got <= 0)
        refuse();
      done += static_cast<uint64_t>(got);
    }
  }

private:
  std::string path;
  int file;
  int64_t size = 0;
};

// The text of our note in a segment of notes, if it is there.
bool find_note(const std::string& notes, uint64_t align, std::string& text)
{
  auto round_up = [&](uint64_t n) { return (n + align - 1) / align * align; };
  for (uint64_t at = 0; notes.size() - at >= sizeof(Elf64_Nhdr);) {
    Elf64_Nhdr header;
    std::memcpy(&header, notes.data() + at, sizeof header);
    at += sizeof header;
    const uint64_t name_bytes = round_up(header.n_namesz), text_bytes = round_up(header.n_descsz);
    if (name_bytes > notes.size() - at)
      return false;
    const bool is_ours =
        header.n_type == note_type && header.n_namesz == 5 && std::memcmp(notes.data() + at, "cnnc", 5) == 0;
    at += name_bytes;
    if (header.n_descsz > notes.size() - at)
      return false;
    if (is_ours) {
      text = notes.substr(at, header.n_descsz);
      return true;
    }
    if (text_bytes > notes.size() - at)
      return false;
    at += text_bytes;
  }
  return false;
}

} // namespace

std::string note_text(const Interface& interface, const Target& target, const ArtefactInfo& info)
{
  llvm::json::Array targets{target_object(target)};
  for (const Variant& lesser : info.lesser)
    targets.push_back(target_object(lesser.target));
  llvm::json::Object memory;
  for (const auto& [name, mode] :
       {std::pair{"forward", CNN_FORWARD}, {"train_step", CNN_TRAIN}, {"gradients", CNN_GRADIENTS}}) {
    if (!interface.functions[mode])
      continue;
    const cnn_memory& m = interface.memory[mode];
    memory[name] = llvm::json::Object{
        {"fixed", m.fixed}, {"per_image", m.per_image}, {"per_thread", m.per_thread}, {"per_run", m.per_run}};
  }
  llvm::json::Object text{{"name", fixed(interface.name)},
                          {"compiler", compiler_version()},
                          {"abi_version", CNN_ABI_VERSION},
                          {"march", fixed(info.march.empty() ? target.march : info.march)},
                          {"targets", std::move(targets)},
                          {"flags", fixed(info.flags)},
                          {"embedded", interface.has_known() && interface.is_embedded()},
                          {"inputs", tensors(interface.inputs)},
                          {"outputs", tensors(interface.outputs)},
                          {"train_inputs", tensors(interface.train_inputs)},
                          {"parameters", tensors(interface.parameters)},
                          {"states", tensors(interface.states)},
                          {"parameter_bytes", interface.parameter_bytes},
                          {"state_bytes", interface.state_bytes},
                          {"memory", std::move(memory)},
                          {"source", fixed(info.source_text)}};
  std::string result;
  llvm::raw_string_ostream(result) << llvm::json::Value(std::move(text));
  return result;
}

std::string note_section(const std::string& text)
{
  const Elf64_Nhdr header{5, static_cast<Elf64_Word>(text.size()), note_type};
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes.append("cnnc\0\0\0", 8);
  bytes += text;
  bytes.resize((bytes.size() + 3) / 4 * 4);
  return bytes;
}

std::string read_note(const std::string& path)
{
  const File file(path);
  Elf64_Ehdr header;
  file.read(0, &header, sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_phentsize != sizeof(Elf64_Phdr))
    file.refuse();
  std::optional<std::string> found;
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    uint64_t at;
    char last;
    if (__builtin_add_overflow(header.e_phoff, i * sizeof segment, &at))
      file.refuse();
    file.read(at, &segment, sizeof segment);
    // The loader maps what a file that was cut short does not have, and the program ends at the first touch. Before
    // memory is taken, too.
    if (segment.p_filesz > 0 && (segment.p_type == PT_LOAD || segment.p_type == PT_NOTE)) {
      if (__builtin_add_overflow(segment.p_offset, segment.p_filesz - 1, &at))
        file.refuse();
      file.read(at, &last, 1);
    }
    if (segment.p_type != PT_NOTE || segment.p_filesz > largest_note || found)
      continue;
    std::string text;
    std::string notes;
    notes.resize(segment.p_filesz);
    file.read(segment.p_offset, notes.data(), notes.size());
    if (find_note(notes, segment.p_align == 8 ? 8 : 4, text))
      found = text;
  }
  if (!found)
    file.refuse();
  return *found;
}

std::string note_name(const std::string& text)
{
  llvm::Expected<llvm::json::Value> parsed = llvm::json::parse(text);
  if (!parsed)
    llvm::consumeError(parsed.takeError());
  else if (const llvm::json::Object* object = parsed->getAsObject())
    if (const std::optional<llvm::StringRef> name = object->getString("name"))
      return name->str();
  throw Error({}, "the note of this network is damaged");
}

} // namespace cnnc
