// A window without weights joins the kernel of the contraction that it reads: what lies between them is local.
//
//   kernel k0 { %c = conv2d %x, @w }             kernel k0 { %c = conv2d %x, @w
//   kernel k1 { %p = max_pool2d %c }      =>                 %p = max_pool2d %c }   share = [1, 32, 2, 1]
//
// Both run tile by tile: `share` names the loops around both, as pairs of a dimension of %p and a step (images are
// always shared). Tiles are as large as the first cache holds the rows between, and large enough that rows which
// neighbouring tiles both need cost little.
//
// Needs:  kernels assigned.
// Leaves: no pool whose contraction has no other reader, or a remark why (channels in groups are not made tile by tile).
#include "passes/kernels.h"
#include "passes/lower.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace cnnc {

namespace {

constexpr int64_t channel_tile = 32;   // two vectors of 16: what a register tile wants
constexpr double most_repeated = 1.15; // of the contraction's rows

struct Window {
  int value = -1;             // between the two
  std::vector<int64_t> reach; // along each dimension: elements one window meets
  std::vector<int64_t> step;  // from one window to the next
};

// The kernel is one reduction over windows of one value that another kernel makes.
std::optional<Window> window_of(const Graph& graph, int kernel, std::string& why)
{
  StagedKernel staged = stages_of(graph, graph.kernels[kernel]);
  if (staged.stages.size() != 1 || staged.stages[0].reductions.size() != 1)
    return std::nullopt;
  const Stage& stage = staged.stages[0];
  const Stage::Reduction& reduction = stage.reductions[0];
  int64_t points = 1;
  for (const Index& index : reduction.indices)
    points *= index.extent.batch ? 1000 : index.extent.size;
  if (points > 64)
    return std::nullopt;
  Window window;
  bool ok = true;
  int tensor = -1;
  for_each(*reduction.value, [&](const Expr& e) {
    if (e.fn != Fn::read)
      return;
    if (tensor >= 0 && e.tensor != tensor)
      ok = false;
    tensor = e.tensor;
    window.reach.assign(e.at.size(), 1);
    window.step.assign(e.at.size(), 0);
    for (size_t d = 0; d < e.at.size(); d++)
      for (const Affine::Term& term : e.at[d].terms) {
        if (term.index < static_cast<int>(stage.box.size()))
          window.step[d] = term.factor;
        else
          window.reach[d] += term.factor * (reduction.indices[term.index - stage.box.size()].extent.size - 1);
        if (term.factor < 0)
          ok = false;
      }
    // Rows outside are not made: the region must stay inside.
    for (size_t d = 0; d < e.at.size(); d++)
      if (e.at[d].constant != 0)
        ok = false;
  });
  if (!ok || tensor < 0)
    return std::nullopt;
  window.value = staged.tensors[tensor].value;
  if (window.value < 0 || graph.values[window.value].kind != ValueKind::result)
    return std::nullopt;
  if (std::find(graph.outputs.begin(), graph.outputs.end(), window.value) != graph.outputs.end()) {
    why = "what it reads is an output of the net";
    return std::nullopt;
  }
  return window;
}

// Stages in front of it may prepare what it needs once for all images (a batch norm's factors).
bool is_contraction(const Graph& graph, int kernel)
{
  StagedKernel staged = stages_of(graph, graph.kernels[kernel]);
  if (staged.stages.empty() || staged.stages.back().reductions.size() != 1)
    return false;
  for (size_t s = 0; s + 1 < staged.stages.size(); s++)
    for (const Index& index : staged.stages[s].box)
      if (!staged.stages[s].reductions.empty() || index.extent.batch)
        return false;
  std::set<int> operands;
  for_each(*staged.stages.back().reductions[0].value, [&](const Expr& e) {
    if (e.fn == Fn::read)
      operands.insert(e.tensor);
  });
  return operands.size() >= 2;
}

// One index counts the channels: a tile of them is a part of its range, and no more is made than that. In groups, all of
// them would be made for each tile.
bool has_channels_in_a_row(const Graph& graph, int kernel)
{
  StagedKernel staged = stages_of(graph, graph.kernels[kernel]);
  const Stage& stage = staged.stages.back();
  auto is_bare = [](const std::vector<Affine>& at) { return at.size() < 2 || at[1].bare() >= 0; };
  return is_bare(stage.at) && std::all_of(stage.writes.begin(), stage.writes.end(),
                                          [&](const Stage::Write& write) { return is_bare(write.at); });
}

int64_t largest_divisor(int64_t of, int64_t most)
{
  for (int64_t d = std::min(of, most); d > 1; d--)
    if (of % d == 0)
      return d;
  return 1;
}

// Channels and rows of one tile; nothing where the rows made twice would cost too much.
std::optional<std::vector<int64_t>> share_of(const Shape& between, const Shape& pooled, const Window& window,
                                             const Target& target)
{
  int64_t bytes = 4;
  for (size_t d = 1; d < between.size(); d++)
    bytes *= between[d].size;
  if (bytes <= target.l1_bytes * 2 / 3)
    return std::vector<int64_t>{};
  std::vector<int64_t> share;
  if (between.size() >= 3 && window.step[1] == 1 && window.reach[1] == 1) {
    int64_t channels =
        between[1].size % channel_tile == 0 ? channel_tile : largest_divisor(between[1].size, channel_tile);
    bytes = bytes / between[1].size * channels;
    if (channels < between[1].size)
      share = {1, channels};
  }
  if (bytes <= target.l1_bytes * 2 / 3)
    return share;
  int64_t row = bytes / between[2].size, step = window.step[2], overlap = window.reach[2] - step;
  int64_t fits = std::max<int64_t>(1, (target.l1_bytes * 2 / 3 / row - overlap) / std::max<int64_t>(step, 1));
  int64_t rows = largest_divisor(pooled[2].size, fits);
  auto repeated = [&](int64_t r) {
    return static_cast<double>(r * step + std::max<int64_t>(overlap, 0)) / static_cast<double>(r * step);
  };
  // Where windows overlap, more rows at once; they may fill a part of the second cache.
  for (int64_t r = rows; repeated(rows) > most_repeated && r <= pooled[2].size; r++)
    if (pooled[2].size % r == 0)
      rows = r;
  if ((rows * step + overlap) * row > target.l2_bytes / 4)
    return std::nullopt;
  if (rows < pooled[2].size) {
    share.push_back(2);
    share.push_back(rows);
  }
  return share;
}

} // namespace

void fuse_window(Graph& graph, const Target& target, Remarks& remarks)
{
  for (int k = 0; k < static_cast<int>(graph.kernels.size()); k++) {
    std::string why;
    std::optional<Window> window = window_of(graph, k, why);
    const Op& pool = graph.ops[graph.kernels[k].ops[0]];
    if (!window) {
      if (!why.empty())
        remarks.add(pool.location, fmt::format("{} stays alone: {}", pool.name, why));
      continue;
    }
    int maker = graph.ops[graph.values[window->value].op].kernel;
    std::vector<int> users = users_of(graph)[window->value];
    if (std::any_of(users.begin(), users.end(), [&](int user) { return graph.ops[user].kernel != k; }))
      why = "its operand has another user";
    else if (!is_contraction(graph, maker))
      why = "its operand is not a contraction's result";
    else if (!has_channels_in_a_row(graph, maker))
      why = "its operand's channels are made in groups";
    else
      for (int op : graph.kernels[k].ops)
        for (int input : graph.ops[op].inputs)
          if (input >= 0 && input != window->value && graph.values[input].kind == ValueKind::result &&
              graph.ops[graph.values[input].op].kernel > maker && graph.ops[graph.values[input].op].kernel != k)
            why = "it reads a value that is made later";
    std::optional<std::vector<int64_t>> share;
    if (why.empty()) {
      const Op& last = graph.ops[graph.kernels[k].ops.back()];
      share =
          share_of(graph.values[window->value].type.shape, graph.values[last.outputs[0]].type.shape, *window, target);
      if (!share)
        why = "windows overlap: too many rows would be made twice";
    }
    if (!share) {
      remarks.add(pool.location, fmt::format("{} stays alone: {}", pool.name, why));
      continue;
    }
    remarks.add(pool.location, fmt::format("{} joins the kernel of {}: the tensor between them is never stored",
                                           pool.name, graph.ops[graph.kernels[maker].ops[0]].name));
    if (!share->empty())
      graph.kernels[maker].schedule["share"] = *share;
    merge_kernels(graph, maker, k);
    k--;
  }
}

} // namespace cnnc
