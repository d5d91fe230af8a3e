// Unrolled updates of accumulators, in the order that needs the fewest registers beside them:
//
//   unroll k, b, a: acc[b,a] += x[k,a] * w[k,b]    =>    for each k: for each a: for each b: ...
//
// One x and two w live at a time (b < 2) instead of fourteen x (a < 14). Loops that are reduced stay outermost and in
// their order, so that every sum keeps its own. Where the accumulators leave no room, each step of the reduced loops
// reads its operands again: LLVM would keep those that the next step also reads (a window's overlap), and spill. But
// where a window is written out whole, and its weights find room, all that one element of the picture is multiplied with
// runs together: it is read once.
//
//   unroll i, j, h, w: acc[h,w] += x[h + i,w + j] * w[i,j]    =>    for each element of x: for each (i, j, h, w) with it
//
// Stores behind them run as soon as their sums have ended, and the last steps of a few sums before those of others
// (docs/passes.md, "The end of a sum").
#include "compiler/llvm/chain.h"
#include "compiler/llvm/emitter.h"

#include "ir/location.h"
#include "passes/stage_loops.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace cnnc {

namespace {

constexpr size_t last_steps = 4; // of a sum that ends before others go on

// The reduced loop whose steps one instruction takes in groups, in all chains.
void group_steps(const std::vector<Chain>& chains, const Nest& nest, const Target& target,
                 const std::function<int64_t(int)>& step, int* index, int64_t* group)
{
  for (const Loop* loop : chains.front().reduced) {
    bool fits = loop->step == 1;
    for (const Chain& chain : chains) {
      const std::optional<DotProduct> product = dot_product(*chain.store->value, nest, target);
      fits = fits && product && chain.lanes && chain.store->update == Update::sum && chain.store->tap < 0 &&
             loop->begin[0].constant % product->group == 0 && *trip_count(*loop) % product->group == 0 &&
             std::all_of(product->factors.begin(), product->factors.end(), [&](const Expr* read) {
               return are_neighbours(nest.buffers[static_cast<size_t>(read->tensor)], read->at, loop->index,
                                     product->group, step);
             });
      if (fits)
        *group = product->group;
    }
    if (!fits)
      continue;
    *index = loop->index;
    return;
  }
}

} // namespace

size_t Emitter::accumulate(std::span<const Node> all)
{
  // Chains over the same steps that do not touch each other's accumulators run side by side.
  std::vector<Chain> chains;
  for (const Node& node : all) {
    auto* loop = std::get_if<Loop>(&node.is);
    std::optional<Chain> chain = loop && loop->kind == LoopKind::unroll ? chain_of(*loop, nest) : std::nullopt;
    if (!chain ||
        !std::all_of(chains.begin(), chains.end(), [&](const Chain& other) { return may_join(other, *chain); }))
      break;
    chains.push_back(std::move(*chain));
  }
  if (chains.empty())
    return 0;
  for (const Chain& chain : chains)
    afford(steps_of(loops_of(chain)));

  // All that the whole of it reads, beside all that it keeps.
  int64_t held = 0, accumulators = 0;
  std::set<int> targets;
  for (Chain& chain : chains) {
    held += held_by(chain);
    targets.insert(chain.store->target);
    order_parallel(chain);
  }
  for (const auto& [key, value] : registers)
    if (targets.contains(key.first)) {
      int64_t bits = static_cast<int64_t>(value->getType()->getPrimitiveSizeInBits().getFixedValue());
      accumulators += ceil_div(bits, target.vector_bytes * 8);
    }
  const bool crowded = held + accumulators > target.vector_registers;
  const auto step = [&](int index) {
    const Fact& of = index < 0 ? batch : facts[static_cast<size_t>(index)];
    return of.kind == Fact::Kind::constant  ? of.value
           : of.kind == Fact::Kind::unknown ? 1
                                            : std::gcd(of.modulus, of.residue);
  };
  group_steps(chains, nest, target, step, &dot_index, &dot_group);

  std::vector<int> groups;
  for (const BufferState& buffer : buffers)
    groups.push_back(buffer.group);
  Ends ends(all.subspan(chains.size()), chains, nest, groups);
  std::vector<Instance> order;
  if (crowded && chains.size() == 1 && dot_index < 0)
    order = by_element(chains.front(), target.vector_registers, accumulators, ends.nodes() > 0);
  if (!order.empty())
    run_in(order, chains.front(), ends);
  else
    run_steps(chains, ends, crowded);
  dot_index = -1;
  return chains.size() + ends.nodes();
}

template<class Run>
void Emitter::with_values(const std::vector<const Loop*>& loops, const int64_t* values, const Run& run)
{
  std::vector<Fact> outer;
  outer.reserve(loops.size());
  for (const Loop* loop : loops) {
    outer.push_back(std::exchange(facts[static_cast<size_t>(loop->index)], constant_fact(*values++)));
  }
  run();
  for (size_t l = 0; l < loops.size(); ++l)
    facts[static_cast<size_t>(loops[l]->index)] = std::move(outer[l]);
}

void Emitter::run_ready(Ends& ends, const Chain& chain, const Instance& values)
{
  for (const Ends::End& end : ends.ready(chain, values))
    with_values(*end.loops, end.values.data(), [&] { nodes(*end.body); });
}

// One after the other, each sum's ends behind its last step.
void Emitter::run_in(const std::vector<Instance>& order, const Chain& chain, Ends& ends)
{
  const std::vector<const Loop*> loops = loops_of(chain);
  const Instance last = instances_of(chain.reduced).back();
  for (const Instance& values : order) {
    spend(1);
    with_values(loops, values.data(), [&] { nodes(*chain.body); });
    if (std::equal(last.begin(), last.end(), values.begin()))
      run_ready(ends, chain, values);
  }
}

// Step by step. The last ones of a few sums run before those of others, where something waits for the sums' ends.
void Emitter::run_steps(const std::vector<Chain>& chains, Ends& ends, bool crowded)
{
  const std::vector<Instance> steps = instances_of(chains.front().reduced, dot_index, dot_group);
  const size_t together = steps.size() - (ends.nodes() > 0 ? std::min(steps.size(), last_steps) : 0);
  auto run = [&](const Chain& chain, const Instance& step, const std::vector<Instance>& places) {
    with_values(chain.reduced, step.data(), [&] {
      for (const Instance& place : places) {
        spend(1);
        with_values(chain.parallel, place.data(), [&] { nodes(*chain.body); });
      }
    });
  };
  std::vector<std::vector<Instance>> places;
  for (const Chain& chain : chains)
    places.push_back(instances_of(chain.parallel));
  copies_starts = has_own_factors(chains.front());
  for (size_t s = 0; s < together; ++s) {
    if (crowded)
      read_again();
    for (size_t c = 0; c < chains.size(); ++c)
      run(chains[c], steps[s], places[c]);
  }
  for (size_t c = 0; together < steps.size() && c < chains.size(); ++c)
    for (const std::vector<Instance>& few : in_groups(chains[c].parallel)) {
      if (crowded)
        read_again();
      for (size_t s = together; s < steps.size(); ++s)
        run(chains[c], steps[s], few);
      for (const Instance& place : few) {
        Instance values = steps.back();
        values.insert(values.end(), place.begin(), place.end());
        run_ready(ends, chains[c], values);
      }
    }
  block_of_shared_factors = copies_starts ? nullptr : b.GetInsertBlock();
  copies_starts = false;
}

// From here on loads are loaded anew; LLVM may not know that they are the same.
void Emitter::read_again()
{
  for (const auto& [key, value] : loaded)
    stale.insert(key);
  loaded.clear();
}

void Emitter::forget_loads()
{
  loaded.clear();
  stale.clear();
}

} // namespace cnnc
