#include "compiler/compile_nest.h"

#include "compiler/llvm/emit_nest.h"
#include "compiler/llvm/target_machine.h"

#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

namespace cnnc {

CompiledNest compile_nest(const Nest& nest, const Target& target, NestForm form)
{
  llvm::LLVMContext context;
  llvm::Module module(nest.name, context);
  std::unique_ptr<llvm::TargetMachine> machine = make_target_machine(target);
  set_target(module, *machine);
  CompiledNest result;
  for (const EmittedRegion& region : emit_nest(module, nest, target))
    result.regions.push_back({region.function->getName().str(), region.tasks});
  switch (form) {
  case NestForm::object: result.bytes = emit_object(module, *machine); break;
  case NestForm::assembly: result.bytes = emit_assembly(module, *machine); break;
  case NestForm::ir: result.bytes = emit_ir(module); break;
  }
  return result;
}

} // namespace cnnc
