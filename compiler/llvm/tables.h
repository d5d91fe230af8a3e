// Constant tables for the runtime, laid out as C lays out the structs of runtime/artefact.
#pragma once

#include <llvm/IR/Constants.h>
#include <llvm/IR/GlobalVariable.h>
#include <llvm/IR/Module.h>

#include <map>
#include <string>
#include <vector>

namespace cnnc {

class Tables {
public:
  explicit Tables(llvm::Module& module) : module(module), context(module.getContext()) {}

  llvm::Constant* i32(int64_t value) { return number(llvm::Type::getInt32Ty(context), value); }
  llvm::Constant* i64(int64_t value) { return number(llvm::Type::getInt64Ty(context), value); }
  llvm::Constant* f64(double value) { return llvm::ConstantFP::get(llvm::Type::getDoubleTy(context), value); }
  llvm::Constant* null() { return llvm::ConstantPointerNull::get(llvm::PointerType::get(context, 0)); }

  // Equal ones share one global.
  llvm::Constant* text(const std::string& value)
  {
    llvm::Constant*& global = texts[value];
    if (!global)
      global = keep(llvm::ConstantDataArray::getString(context, value));
    return global;
  }

  llvm::Constant* record(const std::vector<llvm::Constant*>& fields)
  {
    return llvm::ConstantStruct::getAnon(context, fields);
  }

  // Elements of one type; the null pointer where there are none.
  llvm::Constant* array(const std::vector<llvm::Constant*>& elements)
  {
    if (elements.empty())
      return null();
    return keep(llvm::ConstantArray::get(llvm::ArrayType::get(elements[0]->getType(), elements.size()), elements));
  }

  llvm::Constant* array(const std::vector<int64_t>& numbers)
  {
    return numbers.empty() ? null() : keep(llvm::ConstantDataArray::get(context, llvm::ArrayRef<int64_t>(numbers)));
  }

  llvm::Constant* bytes(const std::vector<uint8_t>& numbers)
  {
    return numbers.empty() ? null() : keep(llvm::ConstantDataArray::get(context, llvm::ArrayRef<uint8_t>(numbers)));
  }

  llvm::GlobalVariable* keep(llvm::Constant* value)
  {
    auto* global = new llvm::GlobalVariable(module, value->getType(), true, llvm::GlobalValue::PrivateLinkage, value);
    global->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
    return global;
  }

  llvm::Module& module;
  llvm::LLVMContext& context;

private:
  llvm::Constant* number(llvm::Type* type, int64_t value)
  {
    return llvm::ConstantInt::get(type, static_cast<uint64_t>(value), true);
  }

  std::map<std::string, llvm::Constant*> texts;
};

} // namespace cnnc
