// ORC's object layer alone: no IR is compiled here.
#include "compiler/jit.h"

#include "compiler/llvm/target_machine.h"
#include "ir/location.h"

#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Target/TargetMachine.h>

namespace cnnc {

namespace {

template<class T>
T take(llvm::Expected<T> value)
{
  if (!value)
    throw InternalError("JIT: " + llvm::toString(value.takeError()));
  return std::move(*value);
}

} // namespace

struct Jit::State {
  std::unique_ptr<llvm::orc::LLJIT> lljit;
};

Jit::Jit() : state(std::make_unique<State>())
{
  Target target;
  target.cpu = "x86-64";
  make_target_machine(target); // registers the back end
  state->lljit = take(llvm::orc::LLJITBuilder().create());
}

Jit::~Jit() = default;
Jit::Jit(Jit&&) noexcept = default;
Jit& Jit::operator=(Jit&&) noexcept = default;

void Jit::add(std::string_view object)
{
  auto buffer = llvm::MemoryBuffer::getMemBufferCopy(llvm::StringRef(object.data(), object.size()), "object");
  if (llvm::Error error = state->lljit->addObjectFile(std::move(buffer)))
    throw InternalError("JIT: " + llvm::toString(std::move(error)));
}

void* Jit::find(const std::string& symbol)
{
  return take(state->lljit->lookup(symbol)).toPtr<void*>();
}

} // namespace cnnc
