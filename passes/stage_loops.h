// The stages of a nest in canonical form (see lower.h), for the passes that schedule them.
#pragma once

#include "passes/pass.h"

namespace cnnc {

struct StageLoops {
  Node* root = nullptr;               // the outermost loop of the box
  std::vector<Loop*> box;             // outermost first
  std::vector<Node>* point = nullptr; // what runs at one point: stores, and loops that reduce into registers
  std::vector<const Loop*> shared;    // around the stage
};

// In order. Stages that update memory in place (scatters) and borders are not among them: they stay as they are.
std::vector<StageLoops> find_stages(Nest&);

// The store of a point's node: itself, or the only thing inside its conditions (`if`, outermost first). nullptr for a
// loop.
const Store* point_store(const Node& node, std::vector<const If*>* conditions = nullptr);

// The loops of a reduction, outermost first, and its store.
struct ReductionLoops {
  std::vector<const Loop*> loops;
  const Store* store = nullptr;
};
ReductionLoops reduction_of(const Node& loop);

// A point without sums, with so many numbers between its reads and stores that those of two vectors would not find
// registers: a tile's vectors run one after the other (winograd's transforms).
bool runs_vector_by_vector(const std::vector<Node>& point, const Nest&);

// A window's products, written out, that read the picture element by element and keep all else in registers: whether that
// saves enough, and finds room. `parts` share nothing and run one after the other; the numbers are those of one.
struct WindowPart {
  int64_t products, elements, others, sums; // others: different values of the other operands
};
bool reads_by_element(const WindowPart&, int64_t parts, int64_t registers);

// A loop's iterations: a number, or nothing where it depends on the batch or on outer loops.
std::optional<int64_t> trip_count(const Loop&);

// Elements between two iterations of `index` in memory, for steps within an aligned block. nullopt: not a fixed number.
std::optional<int64_t> memory_stride(const Buffer&, const std::vector<Affine>& at, int index);

// A product of two reads of narrow numbers that the target adds up in groups: acc += cast(f32, x[...]) * cast(f32, w[...])
struct DotProduct {
  std::vector<const Expr*> factors; // the reads
  int64_t group;                    // products in one lane
};
std::optional<DotProduct> dot_product(const Expr& value, const Nest&, const Target&);
// `group` neighbours along `index` lie beside each other, from every multiple of `group` on. `step`: what the values of
// another index are multiples of.
bool are_neighbours(const Buffer&, const std::vector<Affine>& at, int index, int64_t group,
                    const std::function<int64_t(int)>& step);

// How one stage is to run; as text
//   tile n, o:32, h, w:14 cut c:128 reduce c:16, i, j lanes o:16 prefetch
// Loops over tiles in this order, then the reduction's loops in this order; what remains inside a tile (32 o, 14 w) and
// inside a reduction's step (16 c) is written out, lanes along o. The sum is cut: first the part of 128 c in each tile
// behind the loops over images and lanes, then the next part. `cut c:128, n:16`: likewise over 16 images at a time.
struct StageSchedule {
  struct Step {
    std::string index;
    int64_t size = 1;
    friend bool operator==(const Step&, const Step&) = default;
  };
  std::vector<Step> tile, cut, reduce;
  std::string lanes;       // "" for none
  int64_t width = 1;       // of the vector, in elements
  bool prefetches = false; // where a tile's results go is asked for before its sums
  friend bool operator==(const StageSchedule&, const StageSchedule&) = default;
};
std::string to_string(const StageSchedule&);
// Stages are separated by '|'; an empty one stays scalar. Throws Error at `where`.
std::vector<StageSchedule> parse_schedules(std::string_view, const Location& where);

// What tile calls the loops inside a tile, behind the index's name: w.in, o.block around o.lanes. By these names
// vectorize and unroll know them, in a text too.
constexpr std::string_view inner_loop = ".in", block_loop = ".block", lanes_loop = ".lanes";
// And the loop over the parts of a sum.
constexpr std::string_view cut_loop = ".cut";

// The schedule that costs least by the model in plan_price.cpp, and its cost in cycles for batches of 1 (plus a share of
// larger ones). `free_layout`: buffers (parameters) whose layout will follow the decision: any lanes are contiguous.
struct Plan {
  StageSchedule schedule;
  double cycles = 0;
  std::vector<std::pair<int, Ahead>> streams; // operands worth a prefetch, by buffer
};
Plan plan_stage(const Nest&, const StageLoops&, const Target&, const std::vector<bool>& free_layout);
// At most `most` different schedules that cost at most `within` times the best one's cycles, the best first.
std::vector<Plan> plan_alternatives(const Nest&, const StageLoops&, const Target&, double within, size_t most);
// Plan::streams, where the stage runs so.
std::vector<std::pair<int, Ahead>> streams_of(const Nest&, const StageLoops&, const Target&, const StageSchedule&);

} // namespace cnnc
