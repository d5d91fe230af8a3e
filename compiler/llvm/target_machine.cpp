// Module => IR text, assembly, object bytes: the back end at its O2, and nothing of the middle-end before it.
#include "compiler/llvm/target_machine.h"

#include "ir/location.h"

#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Module.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/CommandLine.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Target/TargetOptions.h>
#include <llvm/TargetParser/Triple.h>

namespace cnnc {

namespace {

std::string emit(llvm::Module& module, llvm::TargetMachine& machine, llvm::CodeGenFileType type)
{
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, stream, nullptr, type))
    throw InternalError("LLVM cannot write this kind of file");
  passes.run(module);
  return std::string(bytes.begin(), bytes.end());
}

void set_option(const char* name, const char* value)
{
  const auto option = llvm::cl::getRegisteredOptions().find(name);
  if (option != llvm::cl::getRegisteredOptions().end() && option->second->getNumOccurrences() == 0)
    option->second->addOccurrence(0, name, value);
}

} // namespace

// There are no other switches than LLVM's own options.
// - emit_nest already makes pointers that go on with their loops. Loop strength reduction finds nothing better there, and
//   takes up to 0.2 s for one kernel with many addresses.
// - It also writes the loads of a step beside what multiplies by them, and counts the registers. The scheduler before
//   register allocation gathers the loads of several steps first and spills them: a third of the speed of a convolution
//   with 24 accumulators.
void set_generator_options()
{
  set_option("disable-lsr", "true");
  set_option("enable-misched", "false");
}

std::unique_ptr<llvm::TargetMachine> make_target_machine(const Target& target)
{
  static const bool registered = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    set_generator_options();
    return true;
  }();
  (void)registered;
  std::string message;
  llvm::Triple triple("x86_64-unknown-linux-gnu");
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(triple, message);
  if (!found)
    throw InternalError("LLVM without x86-64: " + message);
  llvm::TargetOptions options;
  std::unique_ptr<llvm::TargetMachine> machine(found->createTargetMachine(triple, target.cpu, target.features, options,
                                                                          llvm::Reloc::PIC_, llvm::CodeModel::Small,
                                                                          llvm::CodeGenOptLevel::Default));
  if (!machine)
    throw InternalError("LLVM makes no code for '" + target.march + "'");
  return machine;
}

void set_target(llvm::Module& module, const llvm::TargetMachine& machine)
{
  module.setTargetTriple(machine.getTargetTriple());
  module.setDataLayout(machine.createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
}

std::string emit_ir(const llvm::Module& module)
{
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, nullptr);
  return text;
}

std::string emit_assembly(llvm::Module& module, llvm::TargetMachine& machine)
{
  return emit(module, machine, llvm::CodeGenFileType::AssemblyFile);
}

std::string emit_object(llvm::Module& module, llvm::TargetMachine& machine)
{
  return emit(module, machine, llvm::CodeGenFileType::ObjectFile);
}

} // namespace cnnc
