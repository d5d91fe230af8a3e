// From a network to a lowered program, a library, or functions in this process: what commands, tests and tools call.
//
//   Network ─ program_of ─▶ Program ─ run_passes ─▶ Compiled ─ artefact.h, load.h ─▶ .so, JIT
#pragma once

#include "compiler/artefact.h"
#include "compiler/load.h"
#include "compiler/network.h"
#include "compiler/tuning.h"
#include "passes/pass.h"

namespace cnnc {

struct CompileOptions {
  int level = 2; // -O0 ... -O3
  std::string march = "native";
  std::vector<std::string> targets;      // one library for all of these instead, the best that a machine has is taken
  bool train = false;                    // with train_step and gradients
  DType precision = DType::f32;          // f64: everything
  int64_t winograd_tile = 4;             // see Target
  std::optional<int64_t> winograd_bytes; // likewise
  std::optional<LowPrecision> low_precision;  // of forward
  std::vector<std::string> calibration;       // pictures from which its ranges come: see program/calibrate.h
  NamedTensors rounded;                       // parameters as they are to be rounded: instead of those of `weights`
  bool verify = true;                         // after each pass
  std::string weights;                        // as in runtime/weights.h, embedded; "" for none
  std::string print_after;                    // a pass, "all", or ""
  std::vector<std::string> passes;            // only these, in this order; empty: all
  std::optional<Tuning> tuning;               // schedules that were measured; from level 2 on
  std::function<void(std::string_view)> dump; // receives what print_after asks for
};

struct Compiled {
  std::string name;
  Program program; // for the best of the targets
  Target target;
  std::vector<Variant> lesser; // for the others, the best first
  Remarks remarks;
  std::vector<PassTime> times;
  std::vector<Warning> warnings; // what of the tuning could not be used
  NamedTensors weights;          // what `weights` said, by name
  std::string source_text, flags;

  // What the artefact tells of itself; valid as long as this lives.
  ArtefactInfo info() const;
};

// As --precision has it: "bf16", "bf16-weights", "int8".
std::string name_of(const LowPrecision&);

// The functions as the passes get them: forward, "<name>.train" and "<name>.gradients". Throws Error where `train` is
// asked for and the file says nothing of it.
Program program_of(const Network&, const CompileOptions&);

// A program that has nests already is compiled with those. Throws Error: weights that do not fit, an unknown pass or
// machine (exit code 2), loops that are text already for several machines (2).
Compiled compile(const Network&, const CompileOptions&);
Compiled compile(Program, const CompileOptions&);

// Into this process.
LoadedModel load(const Compiled&);

// Every parameter by name, in its shape, from a file or folder as in runtime/weights.h; others in it are ignored.
// Throws Error with all that is missing or of another shape.
NamedTensors read_weights(const std::string& path, const Graph&);

} // namespace cnnc
