// What a pass is, what it may ask, and the runner: it verifies, times, dumps, diffs and collects remarks.
#pragma once

#include "ir/program.h"
#include "passes/target.h"

namespace cnnc {

// Why something was done, or was not: `--explain` prints them, tests look at them.
struct Remark {
  std::string pass;
  Location where;
  std::string text; // "relu1 joins conv1's kernel", "pool2 stays alone: conv2 has another user, add1"
};

struct Remarks {
  std::string pass; // the running one; the runner sets it
  std::vector<Remark> all;
  void add(const Location& where, std::string text) { all.push_back({pass, where, std::move(text)}); }
};

struct PassOptions {
  int level = 2; // -O0 ... -O3
  bool keep_gradients = false;
};

using GraphPass = void (*)(Graph&, const Target&, Remarks&);
using LowerPass = void (*)(Program&, const Target&, Remarks&);
using NestPass = void (*)(Nest&, const Target&, Remarks&);

struct PassDef {
  std::string name;
  std::variant<GraphPass, LowerPass, NestPass> run;
  int level;          // runs from this -O level on
  std::string leaves; // what later passes may rely on
};
const std::vector<PassDef>& pipeline(); // pipeline.def, top to bottom
const PassDef* find_pass(std::string_view name);

struct RunOptions {
  int level = 2;
  bool verify_each = true;
  std::string print_after; // a pass's name, "all", or ""
  bool time = false;
  // Receives dumps ("# after fuse_epilogue (unchanged)" and the text: it reads back), one call a dump.
  std::function<void(std::string_view)> dump;
  // Only these passes, in the order given (golden tests, `cnnc net.ir --passes=a,b`); empty: the pipeline.
  std::vector<std::string> only;
  // One library for several targets: the passes before `lower` run once for all of them, the others once for each.
  enum class Part : uint8_t { all, shared, own };
  Part part = Part::all; // of the pipeline, where `only` is empty
};

struct PassTime {
  std::string pass;
  double ms;
  bool changed; // known where `time` or `print_after` asks for it, else true
};

// Runs the pipeline over every function and nest. Throws InternalError naming the pass after which verify failed.
std::vector<PassTime> run_passes(Program&, const Target&, const RunOptions&, Remarks&);

// The functions share one block of parameters: what an earlier one has decided holds for all. One that does not read a
// parameter decides nothing.
void take_layouts(Graph&, const std::vector<Graph>& functions);

} // namespace cnnc
