#include "compiler/load.h"

#include "compiler/blob.h"
#include "compiler/known.h"
#include "compiler/llvm/emit_model.h"
#include "compiler/note.h"
#include "runtime/artefact/embed.h"

#include <fmt/format.h>

#include <dlfcn.h>
#include <filesystem>
#include <utility>

namespace cnnc {

LoadedModel LoadedModel::from_library(const std::string& path)
{
  const std::string name = note_name(read_note(path));
  LoadedModel loaded;
  // With a slash, or dlopen would search for it.
  loaded.library = dlopen(std::filesystem::absolute(path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!loaded.library)
    throw Error({}, fmt::format("cannot load {}: {}", path, dlerror()), {}, 3);
  auto descriptor = reinterpret_cast<const cnn_model* (*)()>(dlsym(loaded.library, name.c_str()));
  if (!descriptor)
    throw Error({}, fmt::format("{} has no descriptor '{}'", path, name));
  loaded.model = descriptor();
  if (loaded.model->abi_version != CNN_ABI_VERSION || loaded.model->struct_size != sizeof(cnn_model))
    throw Error({}, fmt::format("{} has version {} of the interface, this is version {}: compile it again", path,
                                loaded.model->abi_version, CNN_ABI_VERSION));
  return loaded;
}

LoadedModel LoadedModel::from_program(const Program& program, const Target& target, const ArtefactInfo& info)
{
  return from_interface(program, target, interface_of(program, info), info);
}

LoadedModel LoadedModel::from_interface(const Program& program, const Target& target, const Interface& interface,
                                        const ArtefactInfo& info)
{
  const EmittedModel model = emit_model(program, target, interface, info, Emit::object);
  LoadedModel loaded;
  loaded.jit = std::make_unique<Jit>();
  loaded.jit->add(artefact_object());
  for (const LinkData& one : carried_data(model, program, target, interface)) {
    std::string object = blob_object(one.symbol, one.bytes);
    one.fill(reinterpret_cast<std::byte*>(object.data()) + blob_data_offset);
    loaded.jit->add(std::move(object));
  }
  loaded.jit->add(model.text);
  loaded.model = loaded.jit->find<const cnn_model*()>(interface.name)();
  return loaded;
}

LoadedModel::~LoadedModel()
{
  if (library)
    dlclose(library);
}

LoadedModel::LoadedModel(LoadedModel&& other) noexcept
    : model(std::exchange(other.model, nullptr)),
      library(std::exchange(other.library, nullptr)),
      jit(std::move(other.jit))
{
}

LoadedModel& LoadedModel::operator=(LoadedModel&& other) noexcept
{
  std::swap(model, other.model);
  std::swap(library, other.library);
  std::swap(jit, other.jit);
  return *this;
}

} // namespace cnnc
