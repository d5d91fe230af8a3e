// -march to numbers. A host is asked for its features and not only for its name: a virtual machine can mask some, and
// the system may not save the wide registers.
#include "compiler/machine.h"

#include "compiler/caches.h"
#include "compiler/llvm/target_machine.h"
#include "ir/location.h"

#include <llvm/ADT/StringMap.h>
#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/TargetParser/Host.h>

#include <algorithm>

namespace cnnc {

namespace {

std::unique_ptr<llvm::TargetMachine> any_machine()
{
  Target target;
  target.cpu = "x86-64";
  return make_target_machine(target);
}

// The numbers that follow from cpu and features.
void set_numbers(Target& target)
{
  std::unique_ptr<llvm::TargetMachine> machine = make_target_machine(target);
  const llvm::MCSubtargetInfo* info = machine->getMCSubtargetInfo();
  auto has = [&](const char* features) { return info->checkFeatures(features); };
  bool avx512 = has("+avx512f,+avx512vl,+avx512bw,+avx512dq");
  target.vector_bytes = avx512 ? 64 : has("+avx") ? 32 : 16;
  // LLVM knows it only from its tables of single instructions.
  const bool has_halves = target.cpu == "znver4" || target.cpu == "znver1";
  target.unit_bytes = has_halves ? std::max<int64_t>(16, target.vector_bytes / 2) : target.vector_bytes;
  target.vector_registers = avx512 ? 32 : 16;
  target.fma = has("+fma");
  target.masks = avx512;
  target.dot_bf16 = avx512 && has("+avx512bf16");
  target.dot_i8 = avx512 && has("+avx512vnni");
}

} // namespace

Target host_target()
{
  Target target;
  target.march = "native";
  target.cpu = llvm::sys::getHostCPUName().str();
  std::vector<std::string> features;
  for (const auto& feature : llvm::sys::getHostCPUFeatures())
    features.push_back((feature.second ? "+" : "-") + feature.first().str());
  std::sort(features.begin(), features.end()); // the map has no order, and the text goes into the artefact
  for (const std::string& feature : features)
    target.features += (target.features.empty() ? "" : ",") + feature;
  set_numbers(target);
  const auto [l1, l2, l3] = host_caches();
  for (const auto& [to, bytes] : {std::pair{&target.l1_bytes, l1}, {&target.l2_bytes, l2}, {&target.l3_bytes, l3}})
    if (bytes > 0)
      *to = bytes;
  return target;
}

std::vector<std::string> march_names()
{
  std::vector<std::string> names{"native"};
  for (const llvm::SubtargetSubTypeKV& cpu : any_machine()->getMCSubtargetInfo()->getAllProcessorDescriptions())
    names.push_back(cpu.Key);
  return names;
}

Target make_target(const std::string& march, const std::string& option)
{
  if (march == "native")
    return host_target();
  std::vector<std::string> names = march_names();
  // 32-bit processors are in LLVM's list too.
  auto refuse = [&](const std::string& what) {
    std::string near = nearest(march, names);
    throw Error(
        {},
        what + (near.empty() || near == march ? "" : ", did you mean '" + near + "'?") +
            "; known are native, x86-64, x86-64-v2, x86-64-v3, x86-64-v4 and LLVM's names of processors, such as "
            "skylake-avx512 or znver4.",
        {}, 2);
  };
  if (std::find(names.begin(), names.end(), march) == names.end())
    refuse("unknown " + option + " '" + march + "'");
  Target target;
  target.march = target.cpu = march;
  if (!make_target_machine(target)->getMCSubtargetInfo()->checkFeatures("+64bit"))
    refuse(option + " '" + march + "' has no 64-bit mode");
  set_numbers(target);
  return target;
}

uint64_t needs_of(const Target& target)
{
  const std::unique_ptr<llvm::TargetMachine> machine = make_target_machine(target);
  const llvm::MCSubtargetInfo* info = machine->getMCSubtargetInfo();
  uint64_t needs = 0, row = 1;
#define CPU_FEATURE(name, leaf, subleaf, word, place, state)                                                           \
  if (info->checkFeatures("+" name))                                                                                   \
    needs |= row;                                                                                                      \
  row <<= 1;
#include "runtime/artefact/cpu_features.def"
#undef CPU_FEATURE
  return needs;
}

} // namespace cnnc
