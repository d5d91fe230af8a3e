// Every row of the op table, forward and backward, at drawn shapes and attributes: machine code against the
// interpreter. -O2 for all of them, the other levels and older machines for some. CNNC_DRAWS sets how many,
// CNNC_OPS=relu,conv2d which;
// CNNC_LEVELS=all draws them all at every level.
#include "tests/compiler/draws.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>

using namespace cnnc;
using namespace cnnc::test;

namespace {

// The op alone with all its outputs, and the way back to all that has a gradient.
std::pair<Graph, std::optional<Graph>> graphs_for(const OpDef& def, const DrawOp& draw, uint64_t seed)
{
  Dice dice(seed);
  DrawnGraph drawn;
  const int y = draw(dice, drawn);
  Graph forward = drawn.graph;
  forward.outputs = forward.ops[0].outputs;
  if (!def.no_gradient.empty() || forward.values[static_cast<size_t>(y)].type.dtype != DType::f32)
    return {forward, {}};
  Training training;
  training.loss = def.is_loss && forward.values[static_cast<size_t>(y)].type.shape.empty() ? y : drawn.weighted_sum(y);
  for (const int v : forward.ops[0].inputs)
    if (v >= 0 && is_float(forward.values[static_cast<size_t>(v)].type.dtype) &&
        forward.values[static_cast<size_t>(v)].rate != 0) // running statistics have no gradient
      training.gradients.push_back(forward.values[static_cast<size_t>(v)].name);
  drawn.graph.outputs = {training.loss};
  drawn.graph.training = training;
  return {forward, drawn.graph};
}

} // namespace

TEST_CASE("every op, forward and backward, is what the interpreter says at every level")
{
  const char* given = std::getenv("CNNC_DRAWS");
  const uint64_t count = given ? std::strtoull(given, nullptr, 10) : 30;
  const bool all_levels = std::getenv("CNNC_LEVELS") != nullptr;
  const char* only = std::getenv("CNNC_OPS");
  const std::string wanted = only ? fmt::format(",{},", only) : "";
  for (const OpDef* def : op_table()) {
    if (only && wanted.find("," + def->name + ",") == wanted.npos)
      continue;
    const auto found = Draws::table().find(def->name);
    REQUIRE_MESSAGE(found != Draws::table().end(), "no draws for the op " << def->name);
    for (uint64_t seed = 1; seed <= count; ++seed) {
      CAPTURE(def->name);
      CAPTURE(seed);
      const auto [forward, backward] = graphs_for(*def, found->second, seed);
      const auto batch = static_cast<int64_t>(1 + seed % 5);
      std::vector<CompileOptions> options(1);
      for (const int level : {0, 1, 3})
        if (all_levels || seed % 6 == static_cast<uint64_t>(level))
          options.emplace_back().level = level;
      if (seed % 10 == 1)
        for (const char* march : {"x86-64-v3", "x86-64"})
          options.emplace_back().march = march;
      const Reference of_forward = reference_for(forward, batch, seed);
      std::optional<Reference> of_backward;
      if (backward)
        of_backward = reference_for(*backward, batch, seed);
      for (const CompileOptions& option : options) {
        try {
          CHECK_EQ(difference(of_forward, option, 1e-5), "");
          if (of_backward)
            CHECK_EQ(difference(*of_backward, option, 1e-5), "");
        } catch (const std::exception& error) {
          FAIL_CHECK("-O" << option.level << " -march=" << option.march << ": " << error.what() << "\n"
                          << to_string(backward ? *backward : forward));
        }
      }
    }
  }
}
