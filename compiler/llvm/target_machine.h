// The TargetMachine and what it writes. For compiler/llvm/ alone; compiler/machine.h is for everybody.
#pragma once

#include "passes/target.h"

#include <memory>
#include <string>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace cnnc {

// The switches of LLVM's that code is made with; they are global, and lld sets all of them back to LLVM's defaults.
// make_target_machine sets them the first time; after lld has run it is for its caller to set them again.
void set_generator_options();
// Position-independent code, -O2 of the code generator. Throws InternalError.
std::unique_ptr<llvm::TargetMachine> make_target_machine(const Target& target);
// Triple and data layout; before the first function is made.
void set_target(llvm::Module& module, const llvm::TargetMachine& machine);

std::string emit_ir(const llvm::Module& module);
std::string emit_assembly(llvm::Module& module, llvm::TargetMachine& machine);
std::string emit_object(llvm::Module& module, llvm::TargetMachine& machine); // ELF, relocatable

} // namespace cnnc
