// A compiled network in this process: out of a library, or compiled here and now.
#pragma once

#include "compiler/artefact.h"
#include "compiler/interface.h"
#include "compiler/jit.h"
#include "runtime/artefact/cnn.h"

namespace cnnc {

class LoadedModel {
public:
  // Throws Error: exit code 3 where the library cannot be loaded, 1 where it is not one of cnnc's, or of another
  // version of the interface. Loading runs the library's code: only for files that are trusted.
  static LoadedModel from_library(const std::string& path);
  // The very objects that write_library links, loaded by the JIT.
  static LoadedModel from_program(const Program&, const Target&, const ArtefactInfo&);
  static LoadedModel from_interface(const Program&, const Target&, const Interface&, const ArtefactInfo&);
  ~LoadedModel();
  LoadedModel(LoadedModel&&) noexcept;
  LoadedModel& operator=(LoadedModel&&) noexcept;

  const cnn_model* model = nullptr; // as long as this lives

private:
  LoadedModel() = default;
  void* library = nullptr;
  std::unique_ptr<Jit> jit;
};

} // namespace cnnc
