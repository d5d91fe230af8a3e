// The options that every command with a compiler inside takes.
#pragma once

#include "compiler/compile.h"
#include "compiler/program/arguments.h"

namespace cnnc {

// -O0 ... -O3, -march
void add_compile_options(Parser&, CompileOptions&);

// --precision
void add_precision_option(Parser&, CompileOptions&);

// --without conv3,conv4
void add_without_option(Parser&, std::vector<std::string>& layers);

// How many processors this process may use.
int available_threads();

} // namespace cnnc
