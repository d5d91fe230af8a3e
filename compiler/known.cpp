#include "compiler/known.h"

#include "compiler/load.h"
#include "compiler/machine.h"

#include <cstring>
#include <map>

namespace cnnc {

namespace {

const cnn_network& network_of(const LoadedModel& loaded)
{
  return *reinterpret_cast<const cnn_network*>(loaded.model); // its first field
}

// `prepare` alone, into this process.
LoadedModel load_prepare(const Program& program, const Target& target, const Interface& interface)
{
  Program alone;
  Graph& prepare = alone.functions.emplace_back(*interface.prepare);
  std::map<int, int> numbers; // of nests, which kernels share
  for (Kernel& kernel : prepare.kernels) {
    const auto [at, is_new] = numbers.try_emplace(kernel.nest, static_cast<int>(alone.nests.size()));
    if (is_new)
      alone.nests.push_back(program.nests.at(static_cast<size_t>(kernel.nest)));
    kernel.nest = at->second;
  }
  Interface without = interface;
  without.functions = {};
  without.prepare = &prepare;
  for (Interface::TensorInfo& parameter : without.parameters)
    parameter.data = nullptr;
  return LoadedModel::from_interface(alone, target, without, {});
}

// Where some parameters are only drawn at run time, nothing is prepared yet.
int64_t known_bytes(const Interface& interface)
{
  return interface.is_embedded() ? interface.parameter_bytes : interface.prepared_begin;
}

// `block` is known_bytes of zeros.
void fill_known(const Program& program, const Target& target, const Interface& interface, std::byte* block)
{
  pack_parameters(interface, block);
  if (!interface.prepare || !interface.is_embedded())
    return;
  LoadedModel loaded = load_prepare(program, target, interface);
  if (!cnn_variant_of(&network_of(loaded))) {
    Target here = target; // the nests keep their vectors
    const Target host = host_target();
    here.march = host.march;
    here.cpu = host.cpu;
    here.features = host.features;
    loaded = load_prepare(program, here, interface);
  }
  cnn_prepare(&network_of(loaded), block);
}

} // namespace

std::vector<LinkData> carried_data(const EmittedModel& model, const Program& program, const Target& target,
                                   const Interface& interface)
{
  std::vector<LinkData> data;
  if (!model.constants.empty())
    data.push_back({constants_symbol, static_cast<int64_t>(model.constants.size()),
                    [&](std::byte* to) { std::memcpy(to, model.constants.data(), model.constants.size()); }});
  if (interface.has_known())
    data.push_back(
        {known_symbol, known_bytes(interface), [&](std::byte* to) { fill_known(program, target, interface, to); }});
  return data;
}

} // namespace cnnc
