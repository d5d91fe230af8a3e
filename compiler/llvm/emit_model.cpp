// The descriptor and what is exported under the network's name. All of it is code for the baseline CPU: only kernels
// use what the target has, and the runtime asks for that before the first one runs.
#include "compiler/llvm/emit_model.h"

#include "compiler/llvm/emit_functions.h"
#include "compiler/llvm/target_machine.h"
#include "compiler/machine.h"
#include "compiler/note.h"

#include <fmt/format.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Transforms/Utils/ModuleUtils.h>

namespace cnnc {

namespace {

// For what is neither a kernel nor has a target of its own.
Target baseline()
{
  Target target;
  target.march = target.cpu = "x86-64";
  return target;
}

class Model {
public:
  Model(llvm::Module& module, const Program& program, const Target& target, const Interface& interface,
        const ArtefactInfo& info)
      : module(module),
        program(program),
        target(target),
        interface(interface),
        info(info),
        t(module),
        pointer(llvm::PointerType::get(module.getContext(), 0)),
        i32(llvm::Type::getInt32Ty(module.getContext())),
        i64(llvm::Type::getInt64Ty(module.getContext()))
  {
  }

  void emit(const ConstantPool& pool)
  {
    std::vector<llvm::Constant*> variants{variant(program, target, interface, pool)};
    for (const Variant& lesser : info.lesser) {
      const Functions functions = functions_of(lesser.program);
      Interface its = interface;
      its.functions = functions.called;
      its.prepare = functions.prepare;
      variants.push_back(variant(lesser.program, lesser.target, its, pool));
    }

    llvm::Constant* known = t.null();
    std::vector<uint8_t> is_known;
    if (interface.has_known()) {
      known = extern_data(known_symbol);
      for (const Interface::TensorInfo& parameter : interface.parameters)
        is_known.push_back(parameter.data != nullptr);
    }
    llvm::Constant* network =
        t.record({model(interface.has_known() && interface.is_embedded() ? known : t.null()), t.array(variants),
                  t.i64(static_cast<int64_t>(variants.size())),
                  t.i64(static_cast<int64_t>(interface.state_fingerprint)), t.i64(interface.batch_limit),
                  pool.bytes > 0 ? extern_data(constants_symbol) : t.null(), known, t.bytes(is_known)});
    const auto* layout = module.getDataLayout().getStructLayout(llvm::cast<llvm::StructType>(network->getType()));
    if (layout->getSizeInBytes() != sizeof(cnn_network))
      throw InternalError(fmt::format("cnn_network has {} bytes, the compiler writes {}", sizeof(cnn_network),
                                      layout->getSizeInBytes().getFixedValue()));
    auto* data = new llvm::GlobalVariable(module, network->getType(), true, llvm::GlobalValue::ExternalLinkage, network,
                                          "cnn_network_data");
    data->setVisibility(llvm::GlobalValue::HiddenVisibility);
    data->setDSOLocal(true);

    descriptor(data);
    exports();
    note();
  }

private:
  // Its kernels, and the cnn_variant with their steps. `its` has the functions of this program.
  llvm::Constant* variant(const Program& of, const Target& machine, const Interface& its, const ConstantPool& pool)
  {
    std::vector<std::vector<EmittedRegion>> regions;
    for (const Nest& nest : of.nests)
      regions.push_back(emit_nest(module, nest, machine));
    std::vector<llvm::Constant*> fields{t.text(machine.march), t.i64(static_cast<int64_t>(needs_of(machine)))};
    for (const cnn_mode mode : {CNN_FORWARD, CNN_TRAIN, CNN_GRADIENTS})
      fields.push_back(its.functions[mode] ? emit_function(t, of, its, mode, regions, pool)
                                           : t.record({t.null(), t.i64(0)}));
    fields.push_back(emit_preparation(t, of, its, regions, pool));
    return t.record(fields);
  }

  // "x86-64-v4,x86-64-v3": the field of each target, the best first.
  std::string of_targets(std::string Target::*field, const char* between) const
  {
    std::string text = target.*field;
    for (const Variant& lesser : info.lesser)
      text += between + lesser.target.*field;
    return text;
  }

  llvm::GlobalVariable* extern_data(const char* name)
  {
    auto* data = new llvm::GlobalVariable(module, llvm::Type::getInt8Ty(module.getContext()), true,
                                          llvm::GlobalValue::ExternalLinkage, nullptr, name);
    data->setVisibility(llvm::GlobalValue::HiddenVisibility);
    data->setDSOLocal(true);
    return data;
  }

  llvm::Constant* tensors(const std::vector<Interface::TensorInfo>& all)
  {
    std::vector<llvm::Constant*> records;
    for (const Interface::TensorInfo& tensor : all) {
      std::vector<llvm::Constant*> axes;
      for (const cnn_axis& axis : tensor.axes)
        axes.push_back(t.record({t.i32(axis.dim), t.i32(0), t.i64(axis.divide), t.i64(axis.modulo), t.i64(axis.before),
                                 t.i64(axis.extent), t.i64(axis.stride)}));
      records.push_back(
          t.record({t.text(tensor.name), t.i32(static_cast<int>(tensor.type.dtype)),
                    t.i32(static_cast<int64_t>(tensor.dims.size())), t.array(tensor.dims), t.i64(tensor.limit),
                    tensor.axes.empty() && tensor.offset == 0 ? t.null() : t.text(tensor.initial), t.f64(tensor.rate),
                    t.i64(tensor.offset), t.i64(tensor.stored), t.i32(static_cast<int64_t>(axes.size())),
                    t.i32(tensor.line), t.array(axes)}));
    }
    return t.array(records);
  }

  // In the order of the struct.
  llvm::Constant* model(llvm::Constant* embedded)
  {
    auto count = [&](const std::vector<Interface::TensorInfo>& all) { return t.i32(static_cast<int64_t>(all.size())); };
    std::vector<llvm::Constant*> memory;
    for (const cnn_memory& m : interface.memory)
      memory.push_back(t.record({t.i64(m.fixed), t.i64(m.per_image), t.i64(m.per_thread), t.i64(m.per_run)}));
    return t.record({t.i32(CNN_ABI_VERSION),
                     t.i32(sizeof(cnn_model)),
                     t.text(interface.name),
                     t.text(compiler_version()),
                     t.text(info.march.empty() ? target.march : info.march),
                     t.text(of_targets(&Target::cpu, ",")),
                     t.text(of_targets(&Target::features, ";")),
                     t.text(info.flags),
                     t.text(info.source_text),
                     t.i64(static_cast<int64_t>(interface.fingerprint)),
                     count(interface.inputs),
                     count(interface.outputs),
                     count(interface.parameters),
                     count(interface.states),
                     count(interface.train_inputs),
                     t.i32(0),
                     tensors(interface.inputs),
                     tensors(interface.outputs),
                     tensors(interface.parameters),
                     tensors(interface.states),
                     tensors(interface.train_inputs),
                     t.i64(interface.parameter_bytes),
                     t.i64(interface.state_bytes),
                     memory[0],
                     memory[1],
                     memory[2],
                     embedded,
                     runtime("cnn_forward", forward_type()),
                     runtime("cnn_train_step", train_step_type()),
                     runtime("cnn_gradients", gradients_type()),
                     runtime("cnn_workspace_bytes", function_type(i64, {i64, i32, i32})),
                     runtime("cnn_init_parameters", function_type(i32, {pointer, i64})),
                     runtime("cnn_init_state", function_type(i32, {pointer, i64})),
                     runtime("cnn_set_parameter", tensor_type()),
                     runtime("cnn_get_parameter", tensor_type()),
                     runtime("cnn_set_state", tensor_type()),
                     runtime("cnn_get_state", tensor_type()),
                     runtime("cnn_load_parameters", function_type(i32, {pointer, pointer})),
                     runtime("cnn_save_parameters", function_type(i32, {pointer, pointer})),
                     runtime("cnn_threads_create", function_type(i32, {i32, pointer})),
                     runtime("cnn_threads_free", function_type(llvm::Type::getVoidTy(module.getContext()), {pointer})),
                     runtime("cnn_error", function_type(pointer, {i32})),
                     runtime("cnn_target", function_type(pointer, {}))});
  }

  llvm::FunctionType* function_type(llvm::Type* result, std::vector<llvm::Type*> arguments)
  {
    return llvm::FunctionType::get(result, arguments, false);
  }
  llvm::FunctionType* tensor_type() { return function_type(i32, {pointer, pointer, pointer, i64}); }
  llvm::FunctionType* forward_type() { return function_type(i32, {pointer, i64, pointer, pointer, pointer, pointer}); }
  llvm::FunctionType* train_step_type()
  {
    return function_type(i32, {pointer, pointer, i64, pointer, pointer, pointer, pointer});
  }
  llvm::FunctionType* gradients_type()
  {
    return function_type(i32, {pointer, pointer, i64, pointer, pointer, pointer, pointer, pointer});
  }

  llvm::Function* runtime(const std::string& name, llvm::FunctionType* type)
  {
    llvm::Function* function = module.getFunction(name);
    if (!function) {
      function = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, name, module);
      function->setVisibility(llvm::GlobalValue::HiddenVisibility);
      function->setDSOLocal(true);
    }
    return function;
  }

  llvm::Function* exported(const std::string& name, llvm::FunctionType* type)
  {
    llvm::Function* function = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, name, module);
    if (function->getName() != name)
      throw InternalError(fmt::format("two functions are called '{}'", name));
    function->addFnAttr(llvm::Attribute::NoUnwind);
    function->addFnAttr("frame-pointer", "all"); // profilers can walk through it
    return function;
  }

  llvm::IRBuilder<> body_of(llvm::Function* function)
  {
    return llvm::IRBuilder<>(llvm::BasicBlock::Create(module.getContext(), "", function));
  }

  // const cnn_model *lenet5(void)
  void descriptor(llvm::GlobalVariable* data)
  {
    body_of(exported(interface.name, function_type(pointer, {}))).CreateRet(data); // the model is its first field
  }

  void exports()
  {
    for (const auto& [name, internal] : {std::pair{"workspace_bytes", "cnn_workspace_bytes"},
                                         {"init_parameters", "cnn_init_parameters"},
                                         {"init_state", "cnn_init_state"},
                                         {"set_parameter", "cnn_set_parameter"},
                                         {"get_parameter", "cnn_get_parameter"},
                                         {"set_state", "cnn_set_state"},
                                         {"get_state", "cnn_get_state"},
                                         {"load_parameters", "cnn_load_parameters"},
                                         {"save_parameters", "cnn_save_parameters"},
                                         {"threads_create", "cnn_threads_create"},
                                         {"threads_free", "cnn_threads_free"},
                                         {"error", "cnn_error"},
                                         {"target", "cnn_target"}}) {
      llvm::Function* to = module.getFunction(internal);
      llvm::Function* function = exported(interface.name + "_" + name, to->getFunctionType());
      llvm::IRBuilder<> b = body_of(function);
      std::vector<llvm::Value*> arguments;
      for (llvm::Argument& argument : function->args())
        arguments.push_back(&argument);
      llvm::CallInst* call = b.CreateCall(to, arguments);
      call->setTailCall();
      if (to->getReturnType()->isVoidTy())
        b.CreateRetVoid();
      else
        b.CreateRet(call);
    }
    typed_forward();
    if (interface.functions[CNN_TRAIN])
      typed_train("train_step", "cnn_train_step", false);
    if (interface.functions[CNN_GRADIENTS])
      typed_train("gradients", "cnn_gradients", true);
  }

  // The tensors, gathered into an array on the stack.
  llvm::Value* gather(llvm::IRBuilder<>& b, llvm::Function* function, size_t first, size_t count)
  {
    if (count == 0)
      return t.null();
    llvm::Value* array = b.CreateAlloca(llvm::ArrayType::get(pointer, count));
    for (size_t i = 0; i < count; ++i)
      b.CreateStore(function->getArg(static_cast<unsigned>(first + i)), b.CreateConstGEP1_64(pointer, array, i));
    return array;
  }

  // forward(parameters, batch, inputs..., outputs..., workspace, threads)
  void typed_forward()
  {
    const size_t inputs = interface.inputs.size(), outputs = interface.outputs.size();
    std::vector<llvm::Type*> types{pointer, i64};
    types.insert(types.end(), inputs + outputs + 2, pointer);
    llvm::Function* f = exported(interface.name + "_forward", function_type(i32, types));
    llvm::IRBuilder<> b = body_of(f);
    auto argument = [&](size_t i) { return f->getArg(static_cast<unsigned>(i)); };
    llvm::Value* in = gather(b, f, 2, inputs);
    llvm::Value* out = gather(b, f, 2 + inputs, outputs);
    const size_t rest = 2 + inputs + outputs;
    b.CreateRet(b.CreateCall(module.getFunction("cnn_forward"),
                             {argument(0), argument(1), in, out, argument(rest), argument(rest + 1)}));
  }

  // train_step(parameters, state, batch, inputs..., loss, workspace, threads); gradients has its block after the loss
  void typed_train(const char* name, const char* internal, bool has_block)
  {
    const size_t inputs = interface.train_inputs.size(), after = has_block ? 4 : 3;
    std::vector<llvm::Type*> types{pointer, pointer, i64};
    types.insert(types.end(), inputs + after, pointer);
    llvm::Function* f = exported(interface.name + "_" + name, function_type(i32, types));
    llvm::IRBuilder<> b = body_of(f);
    std::vector<llvm::Value*> arguments{f->getArg(0), f->getArg(1), f->getArg(2), gather(b, f, 3, inputs)};
    for (size_t i = 0; i < after; ++i)
      arguments.push_back(f->getArg(static_cast<unsigned>(3 + inputs + i)));
    b.CreateRet(b.CreateCall(module.getFunction(internal), arguments));
  }

  void note()
  {
    const std::string bytes = note_section(note_text(interface, target, info));
    auto* content = llvm::ConstantDataArray::getString(module.getContext(), bytes, false);
    auto* note = new llvm::GlobalVariable(module, content->getType(), true, llvm::GlobalValue::InternalLinkage, content,
                                          "cnnc_note");
    note->setSection(".note.cnnc");
    note->setAlignment(llvm::Align(4));
    llvm::appendToUsed(module, {note});
  }

  llvm::Module& module;
  const Program& program;
  const Target& target;
  const Interface& interface;
  const ArtefactInfo& info;
  Tables t;
  llvm::PointerType* pointer;
  llvm::IntegerType *i32, *i64;
};

} // namespace

EmittedModel emit_model(const Program& program, const Target& target, const Interface& interface,
                        const ArtefactInfo& info, Emit what)
{
  const std::unique_ptr<llvm::TargetMachine> machine = make_target_machine(baseline()); // kernels say theirs
  llvm::LLVMContext context;
  llvm::Module module(interface.name, context);
  set_target(module, *machine);
  std::vector<const Program*> programs{&program};
  for (const Variant& lesser : info.lesser)
    programs.push_back(&lesser.program);
  const ConstantPool pool(programs);
  Model(module, program, target, interface, info).emit(pool);
  std::string message;
  llvm::raw_string_ostream stream(message);
  if (llvm::verifyModule(module, &stream))
    throw InternalError("the module does not hold: " + message);
  EmittedModel emitted;
  switch (what) {
  case Emit::llvm: emitted.text = emit_ir(module); break;
  case Emit::assembly: emitted.text = emit_assembly(module, *machine); break;
  case Emit::object: emitted.text = emit_object(module, *machine); break;
  }
  if (pool.bytes > 0)
    emitted.constants = pool.pack();
  return emitted;
}

} // namespace cnnc
