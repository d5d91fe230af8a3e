#include "compiler/artefact.h"
#include "compiler/program/calibrate.h"
#include "compiler/program/commands.h"
#include "compiler/program/compile_options.h"
#include "compiler/program/interrupt.h"
#include "compiler/program/terminal.h"
#include "compiler/targets.h"
#include "runtime/files.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>

namespace cnnc {

namespace {

namespace fs = std::filesystem;

struct Flags {
  CompileOptions options;
  TuningOptions tuning;
  std::string network, output, emit, targets;
  std::vector<std::string> without;
  bool version = false, time = false, explain = false, verbose = false;

  // A library is the only thing that is not text to look at.
  bool makes_text() const { return emit == "graph" || emit == "loops" || emit == "llvm" || emit == "asm"; }
  bool text_on_stdout() const { return makes_text() && output.empty(); }
  // Somebody who asks for texts alone does not want files.
  bool only_looks() const { return emit.empty() && output.empty() && !options.print_after.empty(); }
};

std::string help_of_commands()
{
  std::string text = "Commands (`cnnc COMMAND --help` tells more):\n";
  for (const Command& command : commands())
    text += fmt::format("  {:<12}{}\n", command.name, command.summary);
  return text;
}

// Two ways to say which machine must say the same.
void check_targets(const CompileOptions& options, bool has_march)
{
  const std::vector<std::string>& targets = options.targets;
  if (has_march && !targets.empty() && targets != std::vector{options.march})
    throw Error({},
                fmt::format("-march={} and --targets {} say different things: one of them is enough", options.march,
                            fmt::join(targets, ",")),
                {}, 2);
}

void parse(const Arguments& arguments, Flags& flags)
{
  Parser parser("cnnc NETWORK [-o net.so]       or  cnnc COMMAND ...",
                "cnnc compiles a convolutional network to one shared library of native code.\n\n" + help_of_commands(),
                {"cnnc lenet5.yaml -o lenet5.so                     also writes lenet5.h",
                 "cnnc lenet5.yaml -o lenet5.so --train             with train_step and gradients inside",
                 "cnnc lenet5.yaml --weights w.safetensors          weights inside",
                 "cnnc lenet5.yaml --targets x86-64-v3,x86-64-v4    for machines with and without AVX-512",
                 "cnnc lenet5.yaml --emit=loops                     the loop nests, as text",
                 "cnnc lenet5.yaml --print-ir-after=fuse_epilogue   that text compiles again: cnnc net.ir",
                 "cnnc lenet5.yaml --explain                        what was fused and tiled, and why not"});
  CLI::App& app = parser.app;
  app.add_option("network", flags.network, "a .yaml, .onnx or .ir file");
  app.add_option("-o,--output", flags.output,
                 "where to, - for standard output; default: the network's name and .so, here")
      ->type_name("FILE");
  app.add_option("--emit", flags.emit, "graph, loops, llvm, asm (to standard output without -o), obj, so")
      ->check(CLI::IsMember({"graph", "loops", "llvm", "asm", "obj", "so"}))
      ->type_name("WHAT");
  app.add_option("--weights", flags.options.weights, "embed these parameters: .safetensors, .npz, a folder of .npy")
      ->type_name("FILE");
  app.add_flag("--train", flags.options.train, "with the training step; the file needs `train:`");
  add_without_option(parser, flags.without);
  add_compile_options(parser, flags.options);
  add_precision_option(parser, flags.options);
  add_tuning_options(parser, flags.tuning);
  app.add_option("--targets", flags.targets,
                 "code for several machines in one library, such as x86-64-v3,x86-64-v4: each runs the best it can")
      ->type_name("A,B");
  app.add_option("--print-ir-after", flags.options.print_after, "print the text after that pass, or after all")
      ->type_name("PASS");
  app.add_option("--passes", flags.options.passes, "only these passes, in this order; prints what they leave")
      ->delimiter(',')
      ->type_name("A,B");
  app.add_flag("--time-passes", flags.time, "milliseconds of each pass");
  app.add_flag("--explain", flags.explain, "what each pass did, or not, and why");
  app.add_flag("-v,--verbose", flags.verbose, "say what is done");
  // People look for it here; a silent one would make them believe that it had an effect.
  app.add_option_function<std::string>(
         "--threads",
         [](const std::string&) {
           throw Error({},
                       "threads are an argument of each call of the library, not of compiling: run, bench, train and "
                       "test take --threads",
                       {}, 2);
         })
      ->group("");
  app.add_flag("--version", flags.version, "print the version and exit");
  parser.parse(arguments);
  if (flags.version)
    throw Finished{compiler_version() + "\n"};
  if (flags.network.empty())
    throw Error({}, "which network? `cnnc net.yaml`, or `cnnc --help`", {}, 2);
  if (app.count("--targets") > 0)
    flags.options.targets = split(flags.targets, ',');
  check_targets(flags.options, app.count("--march") > 0);
  if (!flags.options.passes.empty() && flags.emit.empty())
    flags.emit = "loops";
  if (flags.emit == "loops" && flags.options.targets.size() > 1)
    throw Error({}, "--emit=loops shows the loops for one machine: -march, not --targets", {}, 2);
  if (flags.emit.empty() && !flags.only_looks())
    flags.emit = "so";
  if (flags.output == "-") {
    if (!flags.makes_text())
      throw Error({}, "-o - is for texts (--emit=graph, loops, llvm, asm): a library or an object needs a file", {}, 2);
    flags.output.clear();
  }
  if (flags.output.empty() && (flags.emit == "so" || flags.emit == "obj"))
    flags.output = fs::path(flags.network).stem().string() + (flags.emit == "so" ? ".so" : ".o");
}

// The network, or its weights, must not be overwritten by what is made of them.
void check_output(const Flags& flags)
{
  if (flags.output.empty())
    return;
  std::vector<std::string> outputs{flags.output};
  if (flags.emit == "so")
    outputs.push_back(fs::path(flags.output).replace_extension(".h").string());
  for (const std::string& output : outputs)
    for (const std::string& input : {flags.network, flags.options.weights})
      if (!input.empty() && same_file(input, output))
        throw Error({}, fmt::format("'{}' is the input: writing there would lose it", output), {}, 2);
}

std::string text_of(const Compiled& compiled, const std::string& emit_what)
{
  if (emit_what == "llvm")
    return emit(compiled.program, compiled.target, compiled.info(), Emit::llvm);
  if (emit_what == "asm")
    return emit(compiled.program, compiled.target, compiled.info(), Emit::assembly);
  return emit(compiled.program, compiled.target, compiled.info(), Emit::object);
}

// A program's text: with its data beside it where it becomes a file.
void give_program(const Program& program, const std::string& output)
{
  if (!output.empty()) {
    write_program(output, program);
    return;
  }
  print(to_string(program));
  for (const Graph& function : program.functions)
    if (!elided_data(function).empty()) {
      std::fputs("note: large tensors are only named in this text: with -o they are written beside it\n", stderr);
      return;
    }
}

// "lenet5: 1 functions, 5 nests for x86-64-v4 (64-byte vectors), 5 nests for x86-64-v3 (32-byte vectors)"
std::string summary(const Compiled& compiled)
{
  std::string text = fmt::format("{}: {} functions", compiled.name, compiled.program.functions.size());
  const auto add = [&](const Program& program, const Target& target) {
    text += fmt::format(", {} nests for {} ({}-byte vectors)", program.nests.size(), target.cpu, target.vector_bytes);
  };
  add(compiled.program, compiled.target);
  for (const Variant& variant : compiled.lesser)
    add(variant.program, variant.target);
  return text + "\n";
}

double milliseconds_since(std::chrono::steady_clock::time_point start)
{
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

} // namespace

int compile_command(const Arguments& arguments)
{
  const auto start = std::chrono::steady_clock::now();
  Flags flags;
  parse(arguments, flags);
  check_output(flags);
  // Reports go beside the text that was asked for, not into it.
  const auto report = [&](std::string_view text) {
    if (flags.text_on_stdout())
      std::fwrite(text.data(), 1, text.size(), stderr);
    else
      print(text);
  };
  flags.options.dump = [&](std::string_view text) { report(text); };

  const Network network = read_network(flags.network, flags.without);
  print_warnings(network.warnings);
  calibrate(network, flags.options, "", network.config.seed);
  if (flags.emit == "graph" && flags.options.passes.empty()) {
    give_program(program_of(network, flags.options), flags.output);
    return 0;
  }

  flags.options.tuning = flags.tuning.tuning_of(flags.network);
  const Compiled compiled = compile(network, flags.options);
  print_warnings(compiled.warnings);
  if (flags.options.low_precision && !flags.options.calibration.empty())
    report(accuracy_report(network, flags.options, "", network.config.seed));
  if (flags.time) {
    Table table;
    table.add_column("pass", false, 2);
    table.add_column("ms", true, 1);
    table.add_column("", false, 0);
    double total = 0;
    for (const PassTime& time : compiled.times) {
      table.add_row({time.pass, fmt::format("{:.2f}", time.ms), time.changed ? "" : "(unchanged)"});
      total += time.ms;
    }
    table.add_rule();
    table.add_row({"total", fmt::format("{:.2f}", total), ""});
    report(table.text(0));
  }
  if (flags.explain)
    for (const Remark& remark : compiled.remarks.all)
      report(render({nullptr, 0, 0},
                    to_string(remark.where).empty() ? remark.pass : to_string(remark.where) + ": " + remark.pass,
                    remark.text) +
             "\n");
  if (flags.verbose)
    report(summary(compiled));
  if (flags.only_looks())
    return 0;
  if (flags.emit == "so") {
    const Interruptible wait; // Ctrl-C must not leave the files aside behind
    write_library(compiled.program, compiled.target, compiled.info(), flags.output);
    if (interrupted())
      return 130;
    if (flags.verbose)
      report(fmt::format("wrote {} and {} in {:.0f} ms\n", flags.output,
                         fs::path(flags.output).replace_extension(".h").string(), milliseconds_since(start)));
    return 0;
  }
  if (flags.emit == "graph" || flags.emit == "loops") {
    give_program(compiled.program, flags.output);
    return 0;
  }
  const std::string text = text_of(compiled, flags.emit);
  if (flags.output.empty())
    print(text);
  else
    write_file_atomically(flags.output, text);
  return 0;
}

} // namespace cnnc
