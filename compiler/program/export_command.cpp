#include "compiler/compile.h"
#include "compiler/onnx/export.h"
#include "compiler/program/commands.h"
#include "compiler/program/terminal.h"
#include "runtime/files.h"

#include <cstdio>
#include <filesystem>
#include <fmt/format.h>

namespace cnnc {

int export_command(const Arguments& arguments)
{
  Parser parser("cnnc export NETWORK [--weights FILE] [--batch N] [-o network.onnx]",
                "Writes a network as .onnx, for ONNX Runtime, Netron and others.",
                {"cnnc export lenet5.yaml --weights lenet5.safetensors -o lenet5.onnx"});
  std::string path, output, weights;
  int64_t batch = 0;
  parser.app.add_option("network", path, "a .yaml, .onnx or .ir file")->required();
  parser.app.add_option("--weights", weights, "parameters: .safetensors, .npz, or a folder of .npy files")
      ->type_name("FILE");
  parser.app.add_option("--batch", batch, "the number of images, for programs that want it fixed; default: any, 'N'")
      ->check(CLI::Range(1, 1 << 20));
  parser.app.add_option("-o,--output", output, "where to; default: the network's name and .onnx, here")
      ->type_name("FILE.onnx");
  parser.parse(arguments);
  if (output.empty())
    output = std::filesystem::path(path).stem().string() + ".onnx";
  for (const std::string& file : {path, weights})
    if (!file.empty() && same_file(file, output))
      throw Error({}, fmt::format("'{}' is the input: writing there would lose it", output), {}, 2);

  const Network network = read_network(path);
  for (const Warning& warning : network.warnings)
    std::fputs((render(warning.where, "warning", warning.text) + "\n").c_str(), stderr);
  const std::string& given = weights.empty() ? network.weights : weights;
  const OnnxModel model =
      export_onnx(network, given.empty() ? NamedTensors() : read_weights(given, network.forward), batch);
  write_onnx(output, model);
  print(fmt::format("wrote {}: {} nodes, {} tensors, opset {}\n", output, model.nodes.size(), model.initializers.size(),
                    model.opset));
  for (const auto& [input, steps] : network.preprocessing)
    print(fmt::format("note: an .onnx does not say what happens to a picture before '{}': the scale, mean and size of "
                      "the .yaml are not in it\n",
                      input));
  return 0;
}

} // namespace cnnc
