#include "compiler/network.h"
#include "compiler/yaml_document.h"
#include "compiler/yaml_reader.h"
#include "runtime/files.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

constexpr size_t ir_byte_limit = 64 << 20;

Network read_ir(const std::shared_ptr<const Source>& source)
{
  Network network;
  network.source = source;
  network.program = parse_program(source);
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

std::shared_ptr<const Source> read_source(const std::string& path, size_t limit)
{
  return std::make_shared<const Source>(Source{path, read_file(path, static_cast<int64_t>(limit))});
}

Network read_network(const std::string& path)
{
  if (path.ends_with(".yaml") || path.ends_with(".yml"))
    return read_yaml(read_source(path, yaml_byte_limit));
  if (path.ends_with(".ir"))
    return read_ir(read_source(path, ir_byte_limit));
  throw Error({}, fmt::format("{}: a network is a .yaml or .ir file", path), {}, 2);
}

} // namespace cnnc
