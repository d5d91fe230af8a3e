// lld's ELF driver, called as a function.
#include "compiler/link.h"

#include "compiler/blob.h"
#include "compiler/llvm/linked_file.h"
#include "compiler/llvm/target_machine.h"
#include "ir/location.h"

#include <fmt/format.h>
#include <lld/Common/Driver.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Support/xxhash.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <link.h>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

LLD_HAS_DRIVER(elf)

namespace cnnc {

namespace {

[[noreturn]] void cannot_write(const std::string& what)
{
  throw Error({}, fmt::format("cannot write {}: {}", what, std::strerror(errno)), {}, 3);
}

// Where this process has its "libc.so.6" from; else the usual folders.
std::string find_library(const std::string& name)
{
  struct Search {
    const std::string& name;
    std::string found;
  } search{name, {}};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* raw) {
        auto* s = static_cast<Search*>(raw);
        const std::string path = info->dlpi_name;
        if (path.ends_with("/" + s->name))
          s->found = path;
        return s->found.empty() ? 0 : 1;
      },
      &search);
  if (!search.found.empty())
    return search.found;
  for (const char* folder :
       {"/lib/x86_64-linux-gnu/", "/usr/lib/x86_64-linux-gnu/", "/lib64/", "/usr/lib64/", "/usr/lib/"})
    if (access((folder + name).c_str(), R_OK) == 0)
      return folder + name;
  throw Error({}, fmt::format("there is no {} on this machine to link with", name), {}, 3);
}

// lld writes to a mapped file, where a full disk is a SIGBUS: is there place for this much?
void check_space(const std::string& path, int64_t bytes)
{
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int file = open(folder.empty() ? "." : folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file < 0) // not every file system has it
    return;
  const int code = posix_fallocate(file, 0, bytes);
  close(file);
  errno = code;
  if (code != 0)
    cannot_write(path);
}

// The data, and a build id of all that the library is: lld could only hash the room.
void complete(const std::vector<LinkData>& data, const std::string& path)
{
  LinkedFile file(path);
  for (const LinkData& one : data) {
    const auto room = file.symbol(one.symbol);
    if (static_cast<int64_t>(room.size()) != one.bytes)
      throw InternalError(fmt::format("lld: {} has {} bytes of room, not {}", one.symbol, room.size(), one.bytes));
    one.fill(room.data());
  }
  const auto all = file.all();
  const uint64_t hash = llvm::xxh3_64bits({reinterpret_cast<const uint8_t*>(all.data()), all.size()});
  const auto id = file.build_id();
  std::memcpy(id.data(), &hash, std::min(id.size(), sizeof hash));
}

} // namespace

LinkInput::LinkInput(std::string name, std::string_view bytes)
    : name(std::move(name)),
      bytes(static_cast<int64_t>(bytes.size())),
      file(memfd_create(this->name.c_str(), MFD_CLOEXEC))
{
  for (size_t done = 0; file >= 0 && done < bytes.size();) {
    const ssize_t written = write(file, bytes.data() + done, bytes.size() - done);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0) {
      close(file);
      file = -1;
      break;
    }
    done += static_cast<size_t>(written);
  }
  if (file < 0)
    cannot_write(this->name);
}

LinkInput::LinkInput(LinkInput&& other) noexcept
    : name(other.name),
      bytes(other.bytes),
      file(std::exchange(other.file, -1))
{
}

LinkInput::~LinkInput()
{
  if (file >= 0)
    close(file);
}

std::string LinkInput::path() const
{
  return fmt::format("/proc/self/fd/{}", file);
}

void link_library(std::vector<LinkInput> inputs, const std::vector<LinkData>& data, const std::string& soname,
                  const std::string& path)
{
  if (access("/proc/self/fd", R_OK) != 0)
    throw Error({}, "/proc is not mounted: the linker reads its input there", {}, 3);
  int64_t bytes = 1 << 20; // for the linker's own tables
  for (const LinkInput& input : inputs)
    bytes += input.bytes;
  for (const LinkData& one : data) {
    inputs.emplace_back(one.symbol + ".o", room_object(one.symbol, one.bytes));
    bytes += one.bytes;
  }
  check_space(path, bytes);
  const std::string libc = find_library("libc.so.6"), libm = find_library("libm.so.6");
  std::vector<std::string> arguments{"ld.lld",
                                     "-shared",
                                     "--no-undefined",
                                     "--eh-frame-hdr",
                                     "--hash-style=gnu",
                                     "--build-id=0x0000000000000000", // see complete()
                                     "-z",
                                     "now",
                                     "-z",
                                     "relro",
                                     "--threads=1", // a pool in the caller's process, for a few small objects
                                     "-soname",
                                     soname,
                                     "-o",
                                     path};
  for (const LinkInput& input : inputs)
    arguments.push_back(input.path());
  arguments.insert(arguments.end(), {"--as-needed", libc, libm});
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments)
    pointers.push_back(argument.c_str());

  static std::mutex mutex; // lld keeps its state in globals
  static bool can_run = true;
  const std::lock_guard lock(mutex);
  if (!can_run)
    throw InternalError("lld has crashed before in this process");
  std::string output;
  llvm::raw_string_ostream stream(output);
  const lld::Result result = lld::lldMain(pointers, stream, stream, {{lld::Gnu, &lld::elf::link}});
  set_generator_options();
  can_run = result.canRunAgain;
  if (result.retCode == 0) {
    complete(data, path);
    return;
  }
  for (const LinkInput& input : inputs)
    for (size_t at; (at = output.find(input.path())) != std::string::npos;)
      output.replace(at, input.path().size(), input.name);
  if (output.find("cannot open output file") != std::string::npos ||
      output.find("failed to write output") != std::string::npos || output.find("No space left") != std::string::npos)
    throw Error({}, fmt::format("cannot write {}: {}", path, output), {}, 3);
  throw InternalError("lld: " + output);
}

} // namespace cnnc
