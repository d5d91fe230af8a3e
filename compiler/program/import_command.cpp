#include "compiler/network.h"
#include "compiler/program/commands.h"
#include "compiler/program/terminal.h"
#include "compiler/yaml_reader.h"
#include "compiler/yaml_writer.h"
#include "runtime/files.h"
#include "runtime/safetensors.h"

#include <cstdio>
#include <filesystem>
#include <fmt/format.h>

namespace cnnc {

int import_command(const Arguments& arguments)
{
  namespace fs = std::filesystem;
  Parser parser("cnnc import NETWORK.onnx [-o network.yaml]",
                "Writes a network as .yaml to read and to change, and its weights as .safetensors beside it.",
                {"cnnc import squeezenet.onnx -o squeezenet.yaml"});
  std::string path, output;
  parser.app.add_option("network", path, "an .onnx file")->required();
  parser.app.add_option("-o,--output", output, "where to; default: the network's name and .yaml, here")
      ->type_name("FILE.yaml");
  parser.parse(arguments);
  if (output.empty())
    output = fs::path(path).stem().string() + ".yaml";
  if (!output.ends_with(".yaml") && !output.ends_with(".yml"))
    throw Error({}, fmt::format("'{}' does not end in .yaml", output), {}, 2);
  const std::string weights = fs::path(output).replace_extension(".safetensors").string();
  for (const std::string& file : {output, weights})
    if (same_file(file, path))
      throw Error({}, fmt::format("'{}' is the input: writing there would lose it", file), {}, 2);

  const Network network = read_network(path);
  for (const Warning& warning : network.warnings)
    std::fputs((render(warning.where, "warning", warning.text) + "\n").c_str(), stderr);
  const WrittenNetwork written = yaml_of(network, fs::path(weights).filename().string(),
                                         fmt::format("from {}", fs::path(path).filename().string()));
  // What is written must read back, and compute the same: the ops are as many.
  const Network again = read_yaml(std::make_shared<Source>(Source{output, written.text}));
  if (again.forward.ops.size() < network.forward.ops.size())
    throw InternalError(
        fmt::format("{}: {} ops became {}", path, network.forward.ops.size(), again.forward.ops.size()));
  std::vector<std::pair<std::string, const Tensor*>> tensors;
  for (const auto& [name, tensor] : written.tensors)
    tensors.emplace_back(name, tensor.get());
  if (!tensors.empty())
    write_safetensors(weights, tensors);
  write_file_atomically(output, written.text);
  print(fmt::format("wrote {}{}: {} layers, {} tensors\n", output, tensors.empty() ? "" : " and " + weights,
                    again.layers.size(), tensors.size()));
  return 0;
}

} // namespace cnnc
