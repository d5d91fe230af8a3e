// Program => net.so and net.h.
#include "compiler/artefact.h"

#include "compiler/header_writer.h"
#include "compiler/known.h"
#include "compiler/link.h"
#include "compiler/llvm/emit_model.h"
#include "runtime/artefact/embed.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace cnnc {

namespace {

namespace fs = std::filesystem;

// Removed again unless it has been renamed.
struct Aside {
  explicit Aside(const fs::path& path) : final(path), path(path.string() + fmt::format(".part-{}", getpid())) {}
  ~Aside() { ::unlink(path.c_str()); }
  void rename() const
  {
    if (std::rename(path.c_str(), final.c_str()) != 0)
      throw Error({}, fmt::format("cannot write {}: {}", final.string(), std::strerror(errno)), {}, 3);
  }
  const fs::path final;
  const std::string path;
};

} // namespace

std::string compiler_version()
{
  return "cnnc " CNNC_VERSION;
}

std::string emit(const Program& program, const Target& target, const ArtefactInfo& info, Emit what)
{
  return emit_model(program, target, interface_of(program, info), info, what).text;
}

void write_library(const Program& program, const Target& target, const ArtefactInfo& info, const std::string& so_path)
{
  const fs::path path = so_path;
  if (path.filename().empty() || path.extension() == ".h")
    throw Error({},
                fmt::format("'{}' is no name for a library: one like {}.so wanted", so_path,
                            info.name.empty() ? "net" : info.name),
                {}, 2);
  const std::string folder = path.has_parent_path() ? path.parent_path().string() : ".";
  if (access(folder.c_str(), W_OK) != 0 || fs::is_directory(path))
    throw Error(
        {},
        fmt::format("cannot write {}: {}", so_path, fs::is_directory(path) ? "it is a folder" : std::strerror(errno)),
        {}, 3);

  const Interface interface = interface_of(program, info);
  const EmittedModel model = emit_model(program, target, interface, info, Emit::object);
  std::vector<LinkInput> inputs;
  inputs.emplace_back(interface.name + ".o", model.text);
  inputs.emplace_back("artefact.o", artefact_object());
  const Aside library(path), header(fs::path(path).replace_extension(".h"));
  link_library(std::move(inputs), carried_data(model, program, target, interface), path.filename().string(),
               library.path);
  std::ofstream file(header.path, std::ios::binary);
  file << header_text(interface, target, info);
  file.close();
  if (!file)
    throw Error({}, fmt::format("cannot write {}: {}", header.final.string(), std::strerror(errno)), {}, 3);
  header.rename();
  library.rename();
}

} // namespace cnnc
