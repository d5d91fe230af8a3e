// What cnnc can be asked to do: one file a command.
#pragma once

#include "compiler/program/arguments.h"

#include <span>

namespace cnnc {

struct Command {
  const char* name;
  const char* summary; // one line of `cnnc --help`
  int (*run)(const Arguments&);
};

// Each returns the exit code, or throws Error or Finished.
int compile_command(const Arguments&); // `cnnc net.yaml`
int run_command(const Arguments&);
int bench_command(const Arguments&);
int tune_command(const Arguments&);
int train_command(const Arguments&);
int test_command(const Arguments&);
int info_command(const Arguments&);
int check_command(const Arguments&);
int passes_command(const Arguments&);
int gradcheck_command(const Arguments&);
int schema_command(const Arguments&);
int import_command(const Arguments&);
int export_command(const Arguments&);

std::span<const Command> commands();

// The whole program: exit code 0, 1 the input is wrong, 2 wrong usage, 3 cannot read or write, 70 internal error, 130
// interrupted. Errors go to standard error.
int run_program(int argc, char** argv);

} // namespace cnnc
