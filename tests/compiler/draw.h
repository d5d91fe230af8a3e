// Drawn graphs with their values, and a graph as machine code beside the interpreter.
#pragma once

#include "compiler/compile.h"

#include <string>

namespace cnnc::test {

// The same numbers on every machine.
class Dice {
public:
  explicit Dice(uint64_t seed);
  int64_t number(int64_t least, int64_t most); // both included
  bool one_in(int64_t n) { return number(1, n) == 1; }
  template<class T>
  T pick(std::initializer_list<T> of)
  {
    return of.begin()[number(0, static_cast<int64_t>(of.size()) - 1)];
  }

private:
  uint64_t key, counter = 0;
};

// A graph under construction; shapes have the batch in front where they begin with -1.
struct DrawnGraph {
  Graph graph;

  DrawnGraph() { graph.name = "drawn"; }
  int input(const std::string& name, const std::vector<int64_t>& dims, DType dtype = DType::f32, int64_t limit = 0);
  int parameter(const std::string& name, const std::vector<int64_t>& dims, double rate = 1);
  // The first result.
  int op(const std::string& name, std::vector<int> inputs, Attributes attributes = {});
  const Shape& shape(int value) const { return graph.values[static_cast<size_t>(value)].type.shape; }
  // The sum of a value's elements, each times a number of its own: then gradients of no two elements are the same.
  int weighted_sum(int value);
};

// No two numbers of a tensor are near, none is near zero, all are in (-1, 1); integers are below their limit, or in
// [-9, 9]. Weights are scaled by their fan-in; `square`, `rate` and names that begin with `positive` are positive, those
// that begin with `wide` reach up to 8.
NamedTensors drawn_values(const Graph&, int64_t batch, uint64_t seed);

// What every output must be, in double precision, before any pass but `differentiate`.
struct Reference {
  Graph graph;
  NamedTensors values, results;
  int64_t batch = 1;
};
Reference reference_for(const Graph&, int64_t batch, uint64_t seed);

// "" where machine code gives the reference, to `tolerance` * (1 + the largest of the tensor); else what differs, and
// the graph. Inputs, outputs, parameters and the workspace lie between guard pages, outputs and workspace hold NaN.
std::string difference(const Reference&, const CompileOptions&, double tolerance);

// One train_step of a graph with an optimizer: loss, parameters and states afterwards.
std::string train_difference(const Graph& forward, const Reference& train, const CompileOptions&, double tolerance);

// How often a pass remarks something with this text in it when the graph is compiled.
int64_t count_remarks(const Graph&, const CompileOptions&, std::string_view pass, std::string_view text = "");

} // namespace cnnc::test
