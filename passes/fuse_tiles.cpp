// Three steps over tiles share a kernel: what passes between them stays in a cache.
//
//   kernel k0 { %v = winograd_input %x }            kernel k0 {
//   kernel k1 { %m = formula %v, @u }         =>      %v = ...; %m = ...; %y = ...
//   kernel k2 { %y = winograd_output %m, @b }       }   share = [2, 4, 3, 112]
//
// A sum of products stands in the middle; the first step makes one of its factors and the last reads its result, each
// for one tile from one tile. `share` names the loops around all three, as pairs of a dimension of the last result and a
// step (images are always shared).
//
// It pays where the tensors between the steps leave the caches and the other factor, which every iteration reads again,
// does not: large maps of few channels.
//
// Needs:  kernels with their epilogues.
// Leaves: a remark for each such chain.
#include "passes/kernels.h"
#include "passes/pass.h"
#include "passes/stages.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace cnnc {

namespace {

constexpr int64_t most_batch = 32;   // what a large batch is priced at
constexpr int64_t fewest_tiles = 14; // what fills the registers of a product
constexpr int64_t fewest_tasks = 8;

struct Chain {
  int first = -1, middle = -1, last = -1; // kernels
  int between[2] = {-1, -1};              // values
  int other = -1;                         // the middle's other factor
};

bool is_output(const Graph& graph, int value)
{
  return std::find(graph.outputs.begin(), graph.outputs.end(), value) != graph.outputs.end();
}

// The only kernel that reads the value, if it is a result that nobody else sees.
int only_reader(const Graph& graph, const std::vector<std::vector<int>>& users, int value)
{
  if (is_output(graph, value))
    return -1;
  int reader = -1;
  for (const int user : users[static_cast<size_t>(value)]) {
    const int kernel = graph.ops[static_cast<size_t>(user)].kernel;
    if (reader >= 0 && reader != kernel)
      return -1;
    reader = kernel;
  }
  return reader;
}

// A kernel that is one sum of two factors, and what it reads.
bool is_product(const Graph& graph, int kernel, int& result, std::vector<int>& factors)
{
  const StagedKernel staged = stages_of(graph, graph.kernels[static_cast<size_t>(kernel)]);
  if (staged.stages.size() != 1 || staged.stages[0].reductions.size() != 1 || staged.stages[0].scatters ||
      !staged.stages[0].writes.empty() || staged.stages[0].update != Update::sum)
    return false;
  const Expr& e = *staged.stages[0].reductions[0].value;
  if (e.fn != Fn::mul || e.args[0]->fn != Fn::read || e.args[1]->fn != Fn::read)
    return false;
  for (const ExprPtr& arg : e.args)
    factors.push_back(staged.tensors[static_cast<size_t>(arg->tensor)].value);
  result = staged.tensors[static_cast<size_t>(staged.stages[0].target)].value;
  return result >= 0 && factors[0] >= 0 && factors[1] >= 0;
}

bool is_pointwise(const Graph& graph, int kernel)
{
  const StagedKernel staged = stages_of(graph, graph.kernels[static_cast<size_t>(kernel)]);
  return staged.stages.size() == 1 && staged.stages[0].target < 0;
}

// Dimension d of the last result as its stage writes it: factor * index + ..., the index's extent.
struct Direction {
  int dim;
  int64_t factor, extent;
};

// The directions of the last result that count tiles: both steps before have the index alone in a dimension.
std::vector<Direction> directions_of(const Graph& graph, const Chain& chain)
{
  const StagedKernel staged = stages_of(graph, graph.kernels[static_cast<size_t>(chain.last)]);
  const Stage& stage = staged.stages[0];
  std::vector<Direction> directions;
  if (stage.writes.empty())
    return directions;
  const std::vector<Affine>& at = stage.writes.back().at;
  for (size_t d = 2; d < at.size(); d++)
    if (at[d].terms.size() == 1 && at[d].terms[0].index >= 0 && at[d].terms[0].factor > 0) {
      const Index& index = stage.box[static_cast<size_t>(at[d].terms[0].index)];
      if (!index.extent.batch)
        directions.push_back({static_cast<int>(d), at[d].terms[0].factor, index.extent.size});
    }
  return directions;
}

int64_t bytes_of_value(const Graph& graph, int value)
{
  const TensorType& type = graph.values[static_cast<size_t>(value)].type;
  return elements(type.shape) * bytes_of(type.dtype);
}

class Pricing {
public:
  Pricing(const Graph& graph, const Chain& chain, const Target& target, int64_t tiles)
      : target(target),
        tiles(tiles),
        between(static_cast<double>(bytes_of_value(graph, chain.between[0]) + bytes_of_value(graph, chain.between[1]))),
        other(static_cast<double>(bytes_of_value(graph, chain.other)))
  {
  }

  // Cycles for what passes through the caches: each element between the steps is written and read, twice.
  double apart() const
  {
    auto way = [&](double bytes) {
      return bytes <= static_cast<double>(target.l2_bytes)       ? 0
             : bytes <= static_cast<double>(target.l3_bytes) / 2 ? 2 * between / Target::l3_rate
                                                                 : 2 * between / Target::memory_rate;
    };
    return (way(between) + way(between * static_cast<double>(most_batch))) / 2;
  }

  double together(int64_t part) const
  {
    const double share = static_cast<double>(part) / static_cast<double>(tiles);
    const double local = between * share, l2 = static_cast<double>(target.l2_bytes);
    // The other factor comes again for each part, from where there is room for it.
    const double again =
        other + local <= l2 * 0.75 ? 0 : other / (other <= target.l3_bytes / 2 ? Target::l3_rate : Target::memory_rate);
    return again / share + (local > l2 * 0.75 ? 2 * between / Target::l3_rate : 0);
  }

private:
  const Target& target;
  int64_t tiles;
  double between, other;
};

std::string why_not(const Graph& graph, const Chain& chain)
{
  if (!is_pointwise(graph, chain.first) || !is_pointwise(graph, chain.last))
    return "a step beside the product is none from tile to tile";
  for (const int kernel : {chain.middle, chain.last})
    for (const int op : graph.kernels[static_cast<size_t>(kernel)].ops)
      for (const int input : graph.ops[static_cast<size_t>(op)].inputs)
        if (input >= 0 && graph.values[static_cast<size_t>(input)].kind == ValueKind::result) {
          const int maker = graph.ops[static_cast<size_t>(graph.values[static_cast<size_t>(input)].op)].kernel;
          if (maker > chain.first && maker != chain.middle && maker != chain.last)
            return "it reads a value that is made later";
        }
  return "";
}

} // namespace

void fuse_tiles(Graph& graph, const Target& target, Remarks& remarks)
{
  for (int k = 0; k < static_cast<int>(graph.kernels.size()); k++) {
    Chain chain;
    chain.middle = k;
    std::vector<int> factors;
    if (!is_product(graph, k, chain.between[1], factors))
      continue;
    const std::vector<std::vector<int>> users = users_of(graph);
    chain.last = only_reader(graph, users, chain.between[1]);
    for (size_t f = 0; f < 2; f++) {
      const Value& value = graph.values[static_cast<size_t>(factors[f])];
      if (value.kind != ValueKind::result || only_reader(graph, users, factors[f]) != k)
        continue;
      chain.first = graph.ops[static_cast<size_t>(value.op)].kernel;
      chain.between[0] = factors[f];
      chain.other = factors[1 - f];
    }
    if (chain.first < 0 || chain.last < 0 || chain.other == chain.between[0] ||
        has_batch(graph.values[static_cast<size_t>(chain.other)].type.shape) ||
        graph.values[static_cast<size_t>(chain.between[0])].type.shape.size() < 5)
      continue;
    const Location where = graph.ops[static_cast<size_t>(graph.kernels[static_cast<size_t>(k)].ops[0])].location;
    const std::string& name = graph.values[static_cast<size_t>(chain.between[1])].name;
    if (const std::string reason = why_not(graph, chain); !reason.empty()) {
      remarks.add(where, fmt::format("{} stays in memory: {}", name, reason));
      continue;
    }
    const std::vector<Direction> directions = directions_of(graph, chain);
    if (directions.size() != 2)
      continue;
    const Direction &rows = directions[0], &columns = directions[1];
    const Pricing pricing(graph, chain, target, rows.extent * columns.extent);
    const double apart = pricing.apart();
    double best = apart;
    std::vector<int64_t> share;
    for (int64_t r = 1; r <= rows.extent; r++)
      for (int64_t c = 1; c <= columns.extent; c++) {
        const int64_t tasks = rows.extent / r * (columns.extent / c);
        if (rows.extent % r != 0 || columns.extent % c != 0 || (r > 1 && c < columns.extent) || r * c < fewest_tiles ||
            tasks < fewest_tasks)
          continue;
        if (const double cycles = pricing.together(r * c); cycles < 0.9 * best) {
          best = cycles;
          share = {rows.dim, r * rows.factor, columns.dim, c * columns.factor};
        }
      }
    if (share.empty()) {
      remarks.add(where,
                  fmt::format("{} passes through memory: about {:.0f} thousand cycles an image, and no part of it "
                              "would cost less",
                              name, apart / 1000));
      continue;
    }
    remarks.add(where,
                fmt::format("{} stays in the cache, {} x {} tiles at a time: about {:.0f} thousand cycles an image "
                            "against {:.0f}",
                            name, share[1] / rows.factor, share[3] / columns.factor, best / 1000, apart / 1000));
    graph.kernels[static_cast<size_t>(chain.first)].schedule["share"] = share;
    merge_kernels(graph, chain.first, chain.middle);
    merge_kernels(graph, chain.first, chain.last > chain.middle ? chain.last - 1 : chain.last);
    k = chain.first;
  }
}

} // namespace cnnc
