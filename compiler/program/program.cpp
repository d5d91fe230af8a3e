#include "compiler/program/commands.h"
#include "compiler/program/interrupt.h"
#include "compiler/program/terminal.h"
#include "ir/location.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <new>

namespace cnnc {

namespace {

constexpr Command table[] = {
    {"run", "compile and run a network on a picture or an array", run_command},
    {"bench", "milliseconds of a call", bench_command},
    {"tune", "measure schedules, and keep the faster ones in a file", tune_command},
    {"train", "train a network and save its weights", train_command},
    {"test", "accuracy on the test set", test_command},
    {"info", "a table: shapes, parameters, multiply-adds, memory", info_command},
    {"check", "look for mistakes, and compile nothing", check_command},
    {"gradcheck", "hold gradients against finite differences", gradcheck_command},
    {"import", "an .onnx file as .yaml and .safetensors", import_command},
    {"export", "a network as an .onnx file", export_command},
    {"passes", "the compiler's passes, from top to bottom", passes_command},
    {"schema", "JSON Schema of the network file, for editors", schema_command},
};

int dispatch(const Arguments& arguments)
{
  if (arguments.empty())
    throw Error({}, "which network? `cnnc net.yaml`, or `cnnc --help`", {}, 2);
  const std::string& first = arguments[0];
  for (const Command& command : commands())
    if (first == command.name)
      return command.run({arguments.begin() + 1, arguments.end()});
  const bool is_file = first[0] == '-' || first.find('.') != first.npos || first.find('/') != first.npos ||
                       std::filesystem::exists(std::filesystem::path(first));
  if (is_file)
    return compile_command(arguments);
  std::vector<std::string> known;
  for (const Command& command : commands())
    known.push_back(command.name);
  const std::string near = nearest(first, known);
  throw Error({},
              fmt::format("unknown command '{}'{}", first,
                          near.empty() ? fmt::format(" (known: {})", fmt::join(known, ", "))
                                       : fmt::format("; did you mean '{}'?", near)),
              {}, 2);
}

int report(const std::string& text, int exit_code)
{
  std::fflush(stdout);
  std::fputs((text + "\n").c_str(), stderr);
  return exit_code;
}

} // namespace

std::span<const Command> commands()
{
  return table;
}

int run_program(int argc, char** argv)
{
  Arguments arguments(argv + std::min(argc, 1), argv + argc);
  Arguments typed{"cnnc"};
  typed.insert(typed.end(), arguments.begin(), arguments.end());
  install_signal_handlers(shell_quoted(typed));
  try {
    int code = 0;
    try {
      code = dispatch(normalized(arguments));
    } catch (const Finished& finished) {
      print(finished.output);
    }
    flush_output();
    return code;
  } catch (const Error& e) {
    return report(render(e), e.exit_code);
  } catch (const std::bad_alloc&) {
    return report("error: out of memory", 1);
  } catch (const std::exception& e) {
    return report(fmt::format("internal error: {}\nThis reproduces it:\n  {}", e.what(), shell_quoted(typed)), 70);
  }
}

} // namespace cnnc
