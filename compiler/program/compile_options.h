// The options that every command with a compiler inside takes.
#pragma once

#include "compiler/compile.h"
#include "compiler/program/arguments.h"

namespace cnnc {

// -O0 ... -O3, -march
void add_compile_options(Parser&, CompileOptions&);

// --precision
void add_precision_option(Parser&, CompileOptions&);

// --tune FILE, --no-tune: where the schedules come from that `cnnc tune` has measured.
struct TuningOptions {
  std::string file; // "": the one beside the network, where there is one
  bool is_off = false;

  // Throws Error: the file cannot be read, or is no tuning file.
  std::optional<Tuning> tuning_of(const std::string& network_path) const;
};
void add_tuning_options(Parser&, TuningOptions&);

// --without conv3,conv4
void add_without_option(Parser&, std::vector<std::string>& layers);

// To standard error.
void print_warnings(const std::vector<Warning>&);

// How many processors this process may use.
int available_threads();

} // namespace cnnc
