// lld's ELF driver, called as a function.
#include "compiler/link.h"

#include "compiler/llvm/target_machine.h"
#include "ir/location.h"

#include <fmt/format.h>
#include <lld/Common/Driver.h>
#include <llvm/Support/raw_ostream.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
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

} // namespace

LinkInput::LinkInput(std::string name, std::string_view bytes)
    : name(std::move(name)),
      file(memfd_create(this->name.c_str(), MFD_CLOEXEC)),
      size(static_cast<int64_t>(bytes.size()))
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

LinkInput::LinkInput(std::string name, const std::string& folder, int64_t size)
    : name(std::move(name)),
      file(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)),
      size(size)
{
  if (file < 0) // not every file system has it
    file = memfd_create(this->name.c_str(), MFD_CLOEXEC);
  if (file < 0)
    cannot_write(this->name);
  // posix_fallocate: a full disk is an error here, and not a SIGBUS later.
  if (const int code = posix_fallocate(file, 0, size); code != 0) {
    close(file);
    errno = code;
    cannot_write(this->name);
  }
}

LinkInput::LinkInput(LinkInput&& other) noexcept
    : name(other.name),
      file(std::exchange(other.file, -1)),
      size(other.size),
      mapped(std::exchange(other.mapped, nullptr))
{
}

void LinkInput::unmap()
{
  if (mapped)
    munmap(mapped, static_cast<size_t>(size));
  mapped = nullptr;
}

LinkInput::~LinkInput()
{
  unmap();
  if (file >= 0)
    close(file);
}

std::string LinkInput::path() const
{
  return fmt::format("/proc/self/fd/{}", file);
}

std::byte* LinkInput::map()
{
  if (!mapped) {
    void* at = mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (at == MAP_FAILED)
      cannot_write(name);
    mapped = static_cast<std::byte*>(at);
  }
  return mapped;
}

void link_library(const std::vector<LinkInput>& inputs, const std::string& soname, const std::string& path)
{
  if (access("/proc/self/fd", R_OK) != 0)
    throw Error({}, "/proc is not mounted: the linker reads its input there", {}, 3);
  const std::string libc = find_library("libc.so.6"), libm = find_library("libm.so.6");
  std::vector<std::string> arguments{"ld.lld",
                                     "-shared",
                                     "--no-undefined",
                                     "--eh-frame-hdr",
                                     "--hash-style=gnu",
                                     "--build-id=fast",
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
  if (result.retCode == 0)
    return;
  for (const LinkInput& input : inputs)
    for (size_t at; (at = output.find(input.path())) != std::string::npos;)
      output.replace(at, input.path().size(), input.name);
  if (output.find("cannot open output file") != std::string::npos ||
      output.find("failed to write output") != std::string::npos || output.find("No space left") != std::string::npos)
    throw Error({}, fmt::format("cannot write {}: {}", path, output), {}, 3);
  throw InternalError("lld: " + output);
}

} // namespace cnnc
