// The options that every command with a compiler inside takes.
#pragma once

#include "compiler/compile.h"
#include "compiler/program/arguments.h"

namespace cnnc {

// -O0 ... -O3, -march
void add_compile_options(Parser&, CompileOptions&);

// How many processors this process may use.
int available_threads();

} // namespace cnnc
