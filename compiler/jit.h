// Object bytes, loaded into this process: the very ones that the linker gets.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace cnnc {

class Jit {
public:
  Jit();
  ~Jit();
  Jit(Jit&&) noexcept;
  Jit& operator=(Jit&&) noexcept;

  // Symbols it lacks come from objects added before, or from this process (libm). Throws InternalError.
  void add(std::string_view object);
  // Throws InternalError where no object has it. Valid as long as the Jit lives.
  void* find(const std::string& symbol);
  template<class Function>
  Function* find(const std::string& symbol)
  {
    return reinterpret_cast<Function*>(find(symbol));
  }

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace cnnc
