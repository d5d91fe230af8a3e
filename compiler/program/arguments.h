// The command line: one CLI11 parser a command, with what all of them share.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <string>
#include <vector>

namespace cnnc {

using Arguments = std::vector<std::string>;

// What ends a command early and well: --help, --version.
struct Finished {
  std::string output;
};

// A parser with --help; `examples` are shown below the options, one a line.
class Parser {
public:
  Parser(const std::string& usage, const std::string& description, const std::vector<std::string>& examples);
  CLI::App app;

  // Throws Finished, or Error with exit code 2: an unknown option with the nearest known one, a missing argument.
  void parse(const Arguments&);

private:
  std::string usage_, examples_;
};

// `-march=x` as CLI11 wants it, which would read it as -m.
Arguments normalized(Arguments);

// The arguments as a shell reads them back.
std::string shell_quoted(const Arguments&);

} // namespace cnnc
