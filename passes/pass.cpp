#include "passes/pass.h"

#include <fmt/format.h>

#include <chrono>

namespace cnnc {

void take_layouts(Graph& graph, const std::vector<Graph>& functions)
{
  for (const Graph& other : functions) {
    for (Value& value : graph.values) {
      if (value.layout || !may_be_updated(value.kind))
        continue;
      const int same = other.find(value.name);
      if (same >= 0 && other.values[static_cast<size_t>(same)].kind == value.kind)
        value.layout = other.values[static_cast<size_t>(same)].layout;
    }
  }
}

namespace {

bool is_in(RunOptions::Part part, const PassDef& pass)
{
  const bool is_shared = &pass < find_pass("lower"); // kernels and layouts are fixed there
  return part == RunOptions::Part::all || is_shared == (part == RunOptions::Part::shared);
}

std::vector<const PassDef*> chosen(const RunOptions& options)
{
  std::vector<const PassDef*> passes;
  for (const std::string& name : options.only) {
    const PassDef* pass = find_pass(name);
    if (!pass) {
      std::vector<std::string> known;
      for (const PassDef& other : pipeline())
        known.push_back(other.name);
      std::string near = nearest(name, known);
      throw Error({},
                  fmt::format("no pass is called '{}'{}", name, near.empty() ? "" : "; did you mean '" + near + "'?"),
                  {}, 2);
    }
    passes.push_back(pass);
  }
  if (options.only.empty())
    for (const PassDef& pass : pipeline())
      if (pass.level <= options.level && is_in(options.part, pass))
        passes.push_back(&pass);
  return passes;
}

void run(const PassDef& pass, Program& program, const Target& target, Remarks& remarks)
{
  if (auto* on_graph = std::get_if<GraphPass>(&pass.run)) {
    for (Graph& graph : program.functions) {
      take_layouts(graph, program.functions);
      (*on_graph)(graph, target, remarks);
    }
    for (Graph& graph : program.functions)
      take_layouts(graph, program.functions);
  } else if (auto* on_program = std::get_if<LowerPass>(&pass.run))
    (*on_program)(program, target, remarks);
  else
    for (Nest& nest : program.nests)
      std::get<NestPass>(pass.run)(nest, target, remarks);
}

} // namespace

std::vector<PassTime> run_passes(Program& program, const Target& target, const RunOptions& options, Remarks& remarks)
{
  std::vector<const PassDef*> passes = chosen(options);
  if (!options.print_after.empty() && options.print_after != "all" && !find_pass(options.print_after))
    throw Error({}, fmt::format("no pass is called '{}'", options.print_after), {}, 2);
  if (options.verify_each && options.part != RunOptions::Part::own) // what is shared holds already
    verify(program);
  // Texts are compared, and made only where somebody will read the answer.
  bool compares = options.time || !options.print_after.empty();
  std::string before = compares ? to_string(program) : "";

  std::vector<PassTime> times;
  for (const PassDef* pass : passes) {
    remarks.pass = pass->name;
    auto start = std::chrono::steady_clock::now();
    try {
      run(*pass, program, target, remarks);
    } catch (const InternalError& error) {
      throw InternalError(fmt::format("pass {} failed: {}", pass->name, error.what()));
    }
    std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    bool changed = true;
    if (compares) {
      std::string after = to_string(program);
      changed = after != before;
      if (options.dump && (options.print_after == "all" || options.print_after == pass->name))
        options.dump(fmt::format("# after {}{}\n{}", pass->name, changed ? "" : " (unchanged)", after));
      before = std::move(after);
    }
    times.push_back({pass->name, took.count(), changed});
    if (!options.verify_each)
      continue;
    try {
      verify(program);
    } catch (const InternalError& error) {
      throw InternalError(
          fmt::format("after pass {}: {} (--print-ir-after={} shows it)", pass->name, error.what(), pass->name));
    }
  }
  remarks.pass.clear();
  return times;
}

} // namespace cnnc
