#include "compiler/network.h"
#include "compiler/onnx/reader.h"
#include "compiler/yaml_document.h"
#include "compiler/yaml_reader.h"
#include "runtime/files.h"
#include "runtime/safetensors.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

constexpr size_t ir_byte_limit = 64 << 20;

std::string data_path(const std::string& path)
{
  return path + ".safetensors";
}

// Data that the text only names, from the file beside it.
void fill_data(Program& program, const std::string& path)
{
  std::optional<SafetensorsFile> file;
  for (Graph& function : program.functions)
    for (Value& value : function.values) {
      if (value.data || value.data_name.empty())
        continue;
      if (!file)
        file.emplace(data_path(path));
      const SafetensorsFile::Entry* entry = file->find(value.data_name);
      std::vector<int64_t> dims;
      for (const Dim& dim : value.type.shape)
        dims.push_back(dim.size);
      if (!entry || entry->dims != dims || entry->dtype != value.type.dtype)
        throw Error(value.location, fmt::format("{} {} '{}' as {}", data_path(path), entry ? "does not have" : "has no",
                                                value.data_name, to_string(value.type)));
      value.data = std::make_shared<Tensor>(file->read(*entry));
    }
}

Network read_ir(const std::shared_ptr<const Source>& source)
{
  Network network;
  network.source = source;
  network.program = parse_program(source);
  fill_data(*network.program, source->name);
  const std::vector<Graph>& functions = network.program->functions;
  if (functions.empty())
    throw Error({source, 1, 1}, "the file has no network, as in `net @name(%image: f32[n,1,28,28]) { ... }`");
  network.forward = functions[0];
  network.name = network.forward.name;
  for (size_t i = 1; i < functions.size(); ++i)
    if (functions[i].training)
      network.train = functions[i];
  return network;
}

} // namespace

void write_program(const std::string& path, const Program& program)
{
  std::map<std::string, const Tensor*> data;
  for (const Graph& function : program.functions)
    for (const auto& [name, tensor] : elided_data(function)) {
      const auto [at, fresh] = data.emplace(name, tensor);
      if (!fresh && (at->second->dims != tensor->dims || at->second->bytes != tensor->bytes))
        throw Error({}, fmt::format("two functions have different data under the name '{}'", name));
    }
  if (!data.empty())
    write_safetensors(data_path(path), {data.begin(), data.end()});
  write_file_atomically(path, to_string(program));
}

std::shared_ptr<const Source> read_source(const std::string& path, size_t limit)
{
  return std::make_shared<const Source>(Source{path, read_file(path, static_cast<int64_t>(limit))});
}

Network read_network(const std::string& path, const std::vector<std::string>& without)
{
  if (path.ends_with(".yaml") || path.ends_with(".yml"))
    return read_yaml(read_source(path, yaml_byte_limit), without);
  if (!without.empty())
    throw Error({}, fmt::format("{}: only from a .yaml file can layers be taken out", path), {}, 2);
  if (path.ends_with(".ir"))
    return read_ir(read_source(path, ir_byte_limit));
  if (path.ends_with(".onnx"))
    return read_onnx(path);
  throw Error(
      {},
      fmt::format("{}: a network is a .yaml, .onnx or .ir file (run, train, test and info also take a compiled .so)", path),
      {}, 2);
}

std::optional<Network> read_text(const std::shared_ptr<const Source>& source)
{
  using Read = Network (*)(const std::shared_ptr<const Source>&);
  const Read yaml = [](const std::shared_ptr<const Source>& text) { return read_yaml(text); };
  for (const Read read : {yaml, Read(read_ir)})
    try {
      return read(source);
    } catch (const Error&) {
      continue;
    }
  return std::nullopt;
}

} // namespace cnnc
