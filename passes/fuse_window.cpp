// A window over each channel alone joins the kernel of the contraction that it reads: what lies between them is local.
//
//   kernel k0 { %c = conv2d %x, @w }             kernel k0 { %c = conv2d %x, @w
//   kernel k1 { %p = max_pool2d %c }      =>                 %p = max_pool2d %c }   share = [1, 32, 2, 1]
//
// Both run tile by tile: `share` names the loops around both, as pairs of a dimension of %p and a step (images are
// always shared). It goes by the formula: one read of a value, channel to channel, and whatever else the sum multiplies.
//
// - A pool's tiles are as large as the first cache holds the rows between, and large enough that rows which neighbouring
//   tiles both need cost little.
// - A window with weights (a depthwise convolution) runs block by block of channels, over all rows or some: it joins
//   where the way through the caches costs more than the rows made twice and the contraction's operand read again for
//   each block. Rows go outside, channels inside: then that operand is still near for the next block.
//
// Needs:  kernels assigned.
// Leaves: no pool whose contraction has no other reader, or a remark why (channels in groups are not made tile by tile).
//         Where a window reaches outside of what lies between, that is zero: `lower` fills it.
#include "passes/kernels.h"
#include "passes/lower.h"
#include "passes/trim.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace cnnc {

namespace {

constexpr int64_t channel_tile = 32;   // two vectors of 16: what a register tile wants
constexpr int64_t channel_block = 16;  // of a layout; more at a time were slower wherever they were measured
constexpr double most_repeated = 1.15; // of the contraction's rows
constexpr int64_t most_points = 64;    // in one window

constexpr double room_in_l1 = 2.0 / 3, room_in_l2 = 3.0 / 4; // parts that one tensor may fill
constexpr double tile_cycles = 100;                          // to begin and to end the loops of one tile
constexpr int64_t batches[] = {1, 32};                       // what an unknown batch is priced at, each per image
constexpr int64_t fewest_tasks = 8;

struct Window {
  int value = -1;             // between the two
  std::vector<int64_t> first; // along each dimension: where the first window begins,
  std::vector<int64_t> reach; // elements one window meets,
  std::vector<int64_t> step;  // from one window to the next
  bool has_weights = false;   // or anything else beside the value
};

// Along each dimension: how far one read goes.
void widen(Window& window, const Expr& read, const Stage& stage)
{
  const std::vector<Index>& reduced = stage.reductions[0].indices;
  const size_t box = stage.box.size();
  for (size_t d = 0; d < read.at.size(); d++) {
    int64_t reach = 1, step = 0;
    for (const Affine::Term& term : read.at[d].terms)
      if (static_cast<size_t>(term.index) < box)
        step = term.factor;
      else
        reach += term.factor * (reduced[static_cast<size_t>(term.index) - box].extent.size - 1);
    const int64_t first = std::min(window.first[d], read.at[d].constant);
    window.reach[d] = std::max(window.first[d] + window.reach[d], read.at[d].constant + reach) - first;
    window.first[d] = first;
    window.step[d] = step;
  }
}

bool has_negative_factor(const Expr& read)
{
  return std::any_of(read.at.begin(), read.at.end(), [](const Affine& at) {
    return std::any_of(at.terms.begin(), at.terms.end(), [](const Affine::Term& term) { return term.factor < 0; });
  });
}

// Channels are read one by one, and rows follow rows, as the result has them: not a norm's sum over neighbours.
bool goes_along(const Stage& stage, const Expr& read)
{
  const std::vector<Affine>& made = stage.writes.empty() ? stage.at : stage.writes.back().at;
  if (read.at.size() < 3 || made.size() < 3)
    return false;
  const int rows = made[2].bare();
  return made[1].bare() >= 0 && read.at[1] == made[1] && rows >= 0 && read.at[2].factor(rows) > 0;
}

// Reads of results with images; `has_others`: there are others.
std::vector<const Expr*> reads_of_window(const Graph& graph, const StagedKernel& staged, bool& has_others)
{
  std::vector<const Expr*> found;
  for_each(*staged.stages[0].reductions[0].value, [&](const Expr& e) {
    if (e.fn != Fn::read)
      return;
    const int value = staged.tensors[e.tensor].value;
    if (value >= 0 && graph.values[value].kind == ValueKind::result && has_batch(graph.values[value].type.shape))
      found.push_back(&e);
    else
      has_others = true;
  });
  return found;
}

// A zero outside of the value does no harm.
bool vanishes_outside(const Stage& stage, const std::vector<const Expr*>& reads)
{
  std::set<const Expr*> factors;
  if (stage.update == Update::sum)
    for_each_factor(*stage.reductions[0].value, [&](const Expr& read) { factors.insert(&read); });
  return std::all_of(reads.begin(), reads.end(),
                     [&](const Expr* read) { return read->checked || factors.count(read) > 0; });
}

// The kernel is one reduction over windows of one value that another kernel makes.
std::optional<Window> window_of(const Graph& graph, int kernel, std::string& why)
{
  StagedKernel staged = stages_of(graph, graph.kernels[kernel]);
  if (staged.stages.size() != 1 || staged.stages[0].reductions.size() != 1 || staged.stages[0].scatters)
    return std::nullopt;
  const Stage& stage = staged.stages[0];
  int64_t points = 1;
  for (const Index& index : stage.reductions[0].indices)
    points *= index.extent.batch ? 1000 : index.extent.size;
  if (points > most_points)
    return std::nullopt;
  Window window;
  const std::vector<const Expr*> reads = reads_of_window(graph, staged, window.has_weights);
  if (reads.empty() || std::any_of(reads.begin(), reads.end(), [&](const Expr* read) {
        return read->tensor != reads[0]->tensor || has_negative_factor(*read);
      }))
    return std::nullopt;
  const size_t rank = reads[0]->at.size();
  for (const Affine& at : reads[0]->at)
    window.first.push_back(at.constant);
  window.reach.assign(rank, 1);
  window.step.assign(rank, 0);
  for (const Expr* read : reads)
    widen(window, *read, stage);
  // Rows outside are not made.
  const bool leaves = std::any_of(window.first.begin(), window.first.end(), [](int64_t first) { return first != 0; });
  if (leaves && !vanishes_outside(stage, reads))
    return std::nullopt;
  const auto goes = [&](const Expr* read) { return goes_along(stage, *read); };
  if ((leaves || window.has_weights) && !std::all_of(reads.begin(), reads.end(), goes))
    return std::nullopt;
  if (window.has_weights && reads.size() != 1)
    return std::nullopt;
  window.value = staged.tensors[reads[0]->tensor].value;
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

// Channels and rows of one tile of a pool; nothing where the rows made twice would cost too much.
std::optional<std::vector<int64_t>> share_of_pool(const Shape& between, const Shape& pooled, const Window& window,
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

double bytes_of_tensor(const TensorType& type)
{
  return static_cast<double>(elements(type.shape) * bytes_of(type.dtype));
}

// What a contraction reads for each image, and how long its products take.
struct Contraction {
  double cycles = 0;
  double shared = 0;  // bytes of operands that all channels share: read again for each block of them
  double weights = 0; // bytes of operands without images
};

Contraction contraction_of(const Graph& graph, int kernel, const Target& target)
{
  const StagedKernel staged = stages_of(graph, graph.kernels[kernel]);
  const Stage& stage = staged.stages.back();
  Contraction result;
  double products = 1;
  for (const std::vector<Index>* indices : {&stage.box, &stage.reductions[0].indices})
    for (const Index& index : *indices)
      products *= index.extent.batch ? 1 : static_cast<double>(index.extent.size);
  result.cycles = products / static_cast<double>(target.lanes(4));
  const int channel = stage.at[1].bare();
  for_each(*stage.reductions[0].value, [&](const Expr& e) {
    if (e.fn != Fn::read)
      return;
    const TensorType& type = staged.tensors[e.tensor].type;
    if (!has_batch(type.shape))
      result.weights += bytes_of_tensor(type);
    else if (std::none_of(e.at.begin(), e.at.end(), [&](const Affine& at) { return at.uses(channel); }))
      result.shared += bytes_of_tensor(type);
  });
  return result;
}

// Cycles an image that a window with weights and its contraction take beside their products.
class Pricing {
public:
  Pricing(const Contraction& contraction, const TensorType& between, const Shape& made, const Window& window,
          const Target& target)
      : contraction(contraction),
        window(window),
        target(target),
        bytes(bytes_of_tensor(between)),
        blocks(static_cast<double>(between.shape[1].size / channel_block)),
        rows(static_cast<double>(between.shape[2].size)),
        rows_made(made[2].size)
  {
  }

  // Each element between the two is written and read.
  double apart() const
  {
    return over_batches([&](double batch) { return 2 * bytes * cycles_per_byte(bytes * batch); });
  }

  double together(int64_t rows_at_once) const
  {
    const double groups = static_cast<double>(rows_made / rows_at_once);
    const double reach = static_cast<double>((rows_at_once - 1) * window.step[2] + window.reach[2]);
    const double part = std::min(1.0, reach / rows), local = bytes / blocks * part;
    const double repeated = std::max(0.0, groups * part - 1) * contraction.cycles;
    const double room = room_in_l2 * static_cast<double>(target.l2_bytes), near = local + contraction.shared * part;
    return repeated + 2 * bytes * cycles_per_byte(local) + groups * blocks * tile_cycles +
           over_batches([&](double batch) {
             double again = 0;
             if (near > room)
               again += (blocks - 1) * contraction.shared * cycles_per_byte(contraction.shared * batch);
             // A batch apart reads weights once; here they come again for each image.
             if (batch > 1 && near + contraction.weights > room)
               again += contraction.weights / Target::l3_rate;
             return again;
           });
  }

private:
  // From where a tensor of so many bytes lies.
  double cycles_per_byte(double of) const
  {
    return of <= room_in_l1 * static_cast<double>(target.l1_bytes)   ? 0
           : of <= room_in_l2 * static_cast<double>(target.l2_bytes) ? 1 / Target::l2_rate
           : of <= static_cast<double>(target.l3_bytes) / 2          ? 1 / Target::l3_rate
                                                                     : 1 / Target::memory_rate;
  }

  template<class Cycles>
  static double over_batches(const Cycles& cycles)
  {
    double sum = 0;
    for (const int64_t batch : batches)
      sum += cycles(static_cast<double>(batch));
    return sum / static_cast<double>(std::size(batches));
  }

  const Contraction& contraction;
  const Window& window;
  const Target& target;
  double bytes, blocks, rows;
  int64_t rows_made;
};

// A block of channels and some rows; nothing, and why, where apart costs less.
std::optional<std::vector<int64_t>> share_of_weighted(const Graph& graph, int maker, const Shape& made,
                                                      const Window& window, const Target& target, std::string& why)
{
  const TensorType& between = graph.values[window.value].type;
  if (between.shape[1].size % channel_block != 0) {
    why = fmt::format("the {} channels of its operand are no whole blocks", between.shape[1].size);
    return std::nullopt;
  }
  const Contraction contraction = contraction_of(graph, maker, target);
  const Pricing pricing(contraction, between, made, window, target);
  const double apart = pricing.apart();
  double best = 0;
  int64_t rows = 0;
  for (int64_t r = made[2].size; r >= 1; r--) {
    if (made[2].size % r != 0 || made[2].size / r * (made[1].size / channel_block) < fewest_tasks)
      continue;
    if (const double cycles = pricing.together(r); rows == 0 || cycles < best) {
      best = cycles;
      rows = r;
    }
  }
  if (rows == 0) {
    why = fmt::format("there would be fewer than {} tasks", fewest_tasks);
    return std::nullopt;
  }
  const std::string price =
      fmt::format("about {:.1f} thousand cycles an image against {:.1f}", best / 1000, apart / 1000);
  if (best > 0.9 * apart) {
    why = fmt::format("{} rows of {} channels at a time would cost {}", rows, channel_block, price);
    return std::nullopt;
  }
  why = fmt::format(", {} rows of {} channels at a time: {}", rows, channel_block, price);
  std::vector<int64_t> share;
  if (rows < made[2].size)
    share = {2, rows};
  if (channel_block < made[1].size)
    share.insert(share.end(), {1, channel_block});
  return share;
}

// What others see of a kernel is made whole, and would be in each tile.
bool stores_others(const Graph& graph, int kernel, int between)
{
  const StagedKernel staged = stages_of(graph, graph.kernels[kernel]);
  return std::any_of(staged.tensors.begin(), staged.tensors.end(), [&](const StageTensor& tensor) {
    return tensor.stage >= 0 && tensor.stored && tensor.value != between;
  });
}

std::string why_not(const Graph& graph, int maker, int kernel, int between)
{
  const std::vector<int> users = users_of(graph)[between];
  if (std::any_of(users.begin(), users.end(), [&](int user) { return graph.ops[user].kernel != kernel; }))
    return "its operand has another user";
  if (!is_contraction(graph, maker))
    return "its operand is not a contraction's result";
  if (!has_channels_in_a_row(graph, maker))
    return "its operand's channels are made in groups";
  if (stores_others(graph, maker, between))
    return "its operand's kernel has other results";
  for (const int op : graph.kernels[kernel].ops)
    for (const int input : graph.ops[op].inputs) {
      if (input < 0 || input == between || graph.values[input].kind != ValueKind::result)
        continue;
      const int made_in = graph.ops[graph.values[input].op].kernel;
      if (made_in > maker && made_in != kernel)
        return "it reads a value that is made later";
    }
  return "";
}

} // namespace

void fuse_window(Graph& graph, const Target& target, Remarks& remarks)
{
  for (int k = 0; k < static_cast<int>(graph.kernels.size()); k++) {
    std::string why;
    const std::optional<Window> window = window_of(graph, k, why);
    const Op& op = graph.ops[graph.kernels[k].ops[0]];
    const int maker = window ? graph.ops[graph.values[window->value].op].kernel : -1;
    if (window)
      why = why_not(graph, maker, k, window->value);
    std::optional<std::vector<int64_t>> share;
    std::string price;
    if (window && why.empty()) {
      const Shape& made = graph.values[graph.ops[graph.kernels[k].ops.back()].outputs[0]].type.shape;
      share = window->has_weights ? share_of_weighted(graph, maker, made, *window, target, price)
                                  : share_of_pool(graph.values[window->value].type.shape, made, *window, target);
      if (!share)
        why = window->has_weights ? price : "windows overlap: too many rows would be made twice";
    }
    if (!share) {
      if (!why.empty())
        remarks.add(op.location, fmt::format("{} stays alone: {}", op.name, why));
      continue;
    }
    remarks.add(op.location, fmt::format("{} joins the kernel of {}: the tensor between them is never stored{}",
                                         op.name, graph.ops[graph.kernels[maker].ops[0]].name, price));
    if (!share->empty())
      graph.kernels[maker].schedule["share"] = *share;
    merge_kernels(graph, maker, k);
    k--;
  }
}

} // namespace cnnc
