#include "compiler/analysis.h"
#include "compiler/network.h"
#include "compiler/program/commands.h"
#include "compiler/program/terminal.h"

#include <fmt/format.h>

namespace cnnc {

int check_command(const Arguments& arguments)
{
  Parser parser("cnnc check NETWORK", "Looks for mistakes in a network file; compiles nothing, writes nothing.",
                {"cnnc check lenet5.yaml"});
  std::string path;
  parser.app.add_option("network", path, "a .yaml, .onnx or .ir file")->required();
  parser.parse(arguments);

  const Network network = read_network(path);
  for (const Warning& warning : network.warnings)
    print(render(warning.where, "warning", warning.text) + "\n");
  std::string text =
      fmt::format("{}: fine: {}, {}", path, counted(static_cast<int64_t>(network.forward.ops.size()), "operation"),
                  counted(parameters_of(network.forward), "parameter"));
  if (!network.warnings.empty())
    text += ", " + counted(static_cast<int64_t>(network.warnings.size()), "warning");
  print(text + "\n");
  return 0;
}

} // namespace cnnc
