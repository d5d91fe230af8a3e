#include "runtime/files.h"

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

namespace cnnc {

namespace {

struct Descriptor {
  int fd = -1;

  explicit Descriptor(int fd) : fd(fd) {}
  ~Descriptor()
  {
    if (fd >= 0)
      close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

// A name that is removed unless the file arrived where it should.
struct TemporaryName {
  std::string path;

  ~TemporaryName()
  {
    if (!path.empty())
      unlink(path.c_str());
  }
};

// A write of more than 2 GiB is cut short by the kernel anyway.
constexpr size_t piece_limit = size_t{1} << 30;

void write_all(int fd, std::span<const std::string_view> pieces, const std::string& path)
{
  for (std::string_view bytes : pieces)
    while (!bytes.empty()) {
      ssize_t written = write(fd, bytes.data(), std::min(bytes.size(), piece_limit));
      if (written < 0 && errno == EINTR)
        continue;
      if (written < 0)
        throw cannot("write", path, errno);
      bytes.remove_prefix(static_cast<size_t>(written));
    }
}

std::string directory_of(const std::string& path)
{
  size_t slash = path.rfind('/');
  if (slash == std::string::npos)
    return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Where a write to `path` would end up: its links followed, also when the last one leads to a file that is not there
// yet.
std::string follow_links(const std::string& path)
{
  std::string at = path;
  for (int hops = 0; hops < 40; ++hops) {
    char target[PATH_MAX];
    ssize_t length = readlink(at.c_str(), target, sizeof target);
    if (length < 0)
      return at;
    std::string next(target, static_cast<size_t>(length));
    at = next.starts_with('/') ? next : directory_of(at) + "/" + next;
  }
  throw cannot("write", path, ELOOP);
}

// The complete file under the name `aside`, as the file system allows. A file without a name is gone with the process,
// whatever ends it: so it gets the name last. Where that cannot be (no O_TMPFILE, no /proc), it has the name from the
// start.
void write_aside(const std::string& aside, TemporaryName& temporary, std::span<const std::string_view> pieces,
                 std::optional<mode_t> mode, const std::string& path)
{
  auto fill = [&](int fd) {
    write_all(fd, pieces, path);
    if ((mode && fchmod(fd, *mode) != 0) || fsync(fd) != 0)
      throw cannot("write", path, errno);
  };
  unlink(aside.c_str()); // left by a process that had our number and was killed
  if (access("/proc/self/fd", X_OK) == 0) {
    Descriptor nameless(open(directory_of(aside).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666));
    if (nameless.fd >= 0) {
      fill(nameless.fd);
      std::string link = fmt::format("/proc/self/fd/{}", nameless.fd);
      if (linkat(AT_FDCWD, link.c_str(), AT_FDCWD, aside.c_str(), AT_SYMLINK_FOLLOW) == 0) {
        temporary.path = aside;
        return;
      }
    }
  }
  Descriptor named(open(aside.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666));
  if (named.fd < 0)
    throw cannot("write", path, errno);
  temporary.path = aside;
  fill(named.fd);
}

} // namespace

Error bad_file(const std::string& path, const std::string& text)
{
  return Error({}, path + ": " + text, {}, 1);
}

Error cannot(std::string_view verb, const std::string& path, int number)
{
  return Error({}, fmt::format("cannot {} {}: {}", verb, path, std::strerror(number)), {}, 3);
}

std::string read_file(const std::string& path, int64_t limit)
{
  Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0)
    throw cannot("open", path, errno);
  struct stat about;
  if (fstat(file.fd, &about) != 0)
    throw cannot("read", path, errno);
  auto too_large = [&] {
    return bad_file(path, fmt::format("is larger than {} bytes, the most that is read here", limit));
  };
  if (S_ISREG(about.st_mode) && about.st_size > limit)
    throw too_large();
  // A pipe has no size and a file may grow while it is read: so the end is where read says so.
  std::string bytes;
  size_t used = 0;
  bytes.resize(S_ISREG(about.st_mode) ? static_cast<size_t>(about.st_size) + 1 : 65536);
  for (;;) {
    if (used == bytes.size())
      bytes.resize(bytes.size() * 2);
    ssize_t got = ::read(file.fd, bytes.data() + used, std::min(bytes.size() - used, piece_limit));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      throw cannot("read", path, errno);
    if (got == 0)
      break;
    used += static_cast<size_t>(got);
    if (used > static_cast<size_t>(limit))
      throw too_large();
  }
  bytes.resize(used);
  return bytes;
}

void write_file_atomically(const std::string& path, std::span<const std::string_view> pieces)
{
  if (path.empty())
    throw cannot("write", "a file without a name", ENOENT);
  std::string target = follow_links(path);
  struct stat about;
  bool exists = stat(target.c_str(), &about) == 0;
  if (exists && S_ISDIR(about.st_mode))
    throw cannot("write", path, EISDIR);
  if (exists && access(target.c_str(), W_OK) != 0)
    throw cannot("write", path, errno);
  if (exists && !S_ISREG(about.st_mode)) {
    Descriptor device(open(target.c_str(), O_WRONLY | O_CLOEXEC));
    if (device.fd < 0)
      throw cannot("write", path, errno);
    write_all(device.fd, pieces, path);
    return;
  }

  std::string directory = directory_of(target);
  std::string name = target.substr(target.rfind('/') + 1);
  static std::atomic<unsigned> number = 0; // two threads may write one file: the last rename wins
  std::string aside = fmt::format("{}/.{}.{}.{}.part", directory, name.substr(0, 200), getpid(), number++);
  std::optional<mode_t> mode;
  if (exists)
    mode = about.st_mode & 07777;
  TemporaryName temporary;
  write_aside(aside, temporary, pieces, mode, path);
  if (rename(aside.c_str(), target.c_str()) != 0)
    throw cannot("write", path, errno);
  temporary.path.clear();
  // The name is on disk once the directory is. Some file systems cannot sync one, and the file is complete without.
  Descriptor folder(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd >= 0)
    fsync(folder.fd);
}

void write_file_atomically(const std::string& path, std::string_view bytes)
{
  write_file_atomically(path, std::span<const std::string_view>(&bytes, 1));
}

void check_writable(const std::string& path)
{
  const size_t slash = path.rfind('/');
  const std::string folder = slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  struct stat status;
  if (stat(folder.c_str(), &status) != 0)
    throw cannot("write", path, errno);
  if (!S_ISDIR(status.st_mode))
    throw cannot("write", path, ENOTDIR);
  if (stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode))
    throw cannot("write", path, EISDIR);
  // A device or a pipe is written itself.
  const bool is_itself = stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode);
  if (access(is_itself ? path.c_str() : folder.c_str(), W_OK) != 0)
    throw cannot("write", path, errno);
}

bool same_file(const std::string& a, const std::string& b)
{
  struct stat first, second;
  return stat(a.c_str(), &first) == 0 && stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

InputFile::InputFile(const std::string& path) : path_(path)
{
  // Not blocking: opening a pipe that nobody writes would wait for ever.
  fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0)
    throw cannot("open", path, errno);
  struct stat about;
  if (fstat(fd_, &about) != 0 || !S_ISREG(about.st_mode)) {
    close(fd_);
    throw Error({}, fmt::format("cannot read {}: it is not a regular file", path), {}, 3);
  }
  size_ = about.st_size;
}

InputFile::~InputFile()
{
  close(fd_);
}

void InputFile::read(int64_t offset, void* to, int64_t count) const
{
  auto* at = static_cast<char*>(to);
  while (count > 0) {
    ssize_t got = pread(fd_, at, std::min(static_cast<size_t>(count), piece_limit), offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      throw cannot("read", path_, errno);
    if (got == 0)
      throw bad_file(path_, fmt::format("ends at byte {}, {} more were expected", offset, count));
    at += got;
    offset += got;
    count -= got;
  }
}

} // namespace cnnc
