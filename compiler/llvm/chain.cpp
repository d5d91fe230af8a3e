// Chains, their orders and ends: see chain.h.
#include "compiler/llvm/chain.h"

#include "passes/stage_loops.h"

#include <algorithm>
#include <limits>
#include <map>

namespace cnnc {

namespace {

constexpr size_t most_loops = 6; // whose orders are all tried
constexpr int64_t most_ends = 4096;

// Loops around each other, all unrolled between constants.
struct Unrolled {
  std::vector<const Loop*> loops;
  const std::vector<Node>* body;  // of the innermost
  const Loop* lanes = nullptr;    // which are all of the body, or none
  const std::vector<Node>* inner; // the lanes' body, or the body
};

std::optional<Unrolled> unrolled_of(const Loop& outermost)
{
  Unrolled of{};
  for (const Loop* loop = &outermost; loop && loop->kind == LoopKind::unroll;
       loop = of.body->size() == 1 ? std::get_if<Loop>(&of.body->front().is) : nullptr) {
    if (!trip_count(*loop))
      return std::nullopt;
    of.loops.push_back(loop);
    of.body = &loop->body;
  }
  of.inner = of.body;
  if (of.body->size() == 1)
    if (auto* lanes = std::get_if<Loop>(&of.body->front().is); lanes && lanes->kind == LoopKind::lanes) {
      if (!trip_count(*lanes))
        return std::nullopt;
      of.lanes = lanes;
      of.inner = &lanes->body;
    }
  return of;
}

int64_t trips(const Loop& loop)
{
  return trip_count(loop).value(); // a chain's loops have one
}

bool depends(const Expr& read, const Loop& loop)
{
  return std::any_of(read.at.begin(), read.at.end(), [&](const Affine& at) { return at.uses(loop.index); });
}

// How many values of `read` are alive at once when the loops run in this order: those that a loop outside of theirs
// comes back to.
int64_t alive(const Expr& read, const std::vector<const Loop*>& order)
{
  int64_t count = 1;
  bool comes_back = false;
  for (const Loop* loop : order) {
    if (!depends(read, *loop))
      comes_back = true;
    else if (comes_back)
      count *= trips(*loop);
  }
  return count;
}

// What a subscript of the chain's accumulators can be.
Interval reach(const Chain& chain, const Affine& at)
{
  return range(at, [&](int index) -> Interval {
    for (const Loop* loop : chain.parallel)
      if (loop->index == index)
        return {loop->begin[0].constant, loop->end[0].constant - 1};
    if (chain.lanes && chain.lanes->index == index)
      return {chain.lanes->begin[0].constant, chain.lanes->end[0].constant - 1};
    return {-unbounded, unbounded};
  });
}

std::vector<int64_t> place_of(const std::vector<Affine>& at, const std::vector<const Loop*>& loops,
                              const Instance& values)
{
  std::vector<int64_t> place;
  for (const Affine& a : at) {
    int64_t sum = a.constant;
    for (size_t l = 0; l < loops.size(); ++l)
      sum += a.factor(loops[l]->index) * values[l];
    place.push_back(sum);
  }
  return place;
}

} // namespace

std::optional<Chain> chain_of(const Loop& outermost, const Nest& nest)
{
  std::optional<Unrolled> of = unrolled_of(outermost);
  if (!of)
    return std::nullopt;
  Chain chain;
  chain.body = of->body;
  chain.lanes = of->lanes;
  chain.store = of->inner->size() == 1 ? std::get_if<Store>(&of->inner->front().is) : nullptr;
  if (!chain.store || chain.store->update == Update::assign || reads(*chain.store->value, chain.store->target) ||
      nest.buffers.at(static_cast<size_t>(chain.store->target)).role != BufferRole::registers)
    return std::nullopt;
  for (const Loop* loop : of->loops) {
    // Alone in its subscript: then two iterations never meet in one accumulator.
    bool alone = std::any_of(chain.store->at.begin(), chain.store->at.end(),
                             [&](const Affine& at) { return at.terms.size() == 1 && at.uses(loop->index); });
    (alone ? chain.parallel : chain.reduced).push_back(loop);
  }
  for_each(*chain.store->value, [&](const Expr& e) {
    if (e.fn == Fn::read && nest.buffers.at(static_cast<size_t>(e.tensor)).role != BufferRole::registers)
      chain.operands.push_back(&e);
  });
  return chain.parallel.size() <= most_loops ? std::optional(chain) : std::nullopt;
}

bool has_own_factors(const Chain& chain)
{
  return std::any_of(chain.operands.begin(), chain.operands.end(), [&](const Expr* read) {
    return (!chain.lanes || !depends(*read, *chain.lanes)) &&
           std::all_of(chain.parallel.begin(), chain.parallel.end(),
                       [&](const Loop* loop) { return trips(*loop) == 1 || depends(*read, *loop); });
  });
}

bool may_join(const Chain& one, const Chain& other)
{
  auto same = [](const Loop* x, const Loop* y) {
    return x->index == y->index && x->begin == y->begin && x->end == y->end && x->step == y->step;
  };
  if (!std::equal(one.reduced.begin(), one.reduced.end(), other.reduced.begin(), other.reduced.end(), same))
    return false;
  const Store &x = *one.store, &y = *other.store;
  if (x.tap >= 0 || y.tap >= 0 || reads(*x.value, y.target) || reads(*y.value, x.target))
    return false;
  if (x.target != y.target)
    return true;
  for (size_t dim = 0; dim < x.at.size(); ++dim) {
    Interval a = reach(one, x.at[dim]), b = reach(other, y.at[dim]);
    if (a.hi < b.lo || b.hi < a.lo)
      return true;
  }
  return false;
}

void order_parallel(Chain& chain)
{
  std::vector<size_t> order(chain.parallel.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::vector<const Loop*> given = chain.parallel;
  int64_t fewest = std::numeric_limits<int64_t>::max();
  do {
    std::vector<const Loop*> loops;
    for (size_t i : order)
      loops.push_back(given[i]);
    int64_t sum = 0;
    for (const Expr* read : chain.operands)
      sum += alive(*read, loops);
    if (sum < fewest) {
      fewest = sum;
      chain.parallel = loops;
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

int64_t held_by(const Chain& chain)
{
  constexpr int64_t enough = 1000;
  int64_t held = 0;
  for (const Expr* read : chain.operands) {
    int64_t different = 1;
    for (const std::vector<const Loop*>* loops : {&chain.reduced, &chain.parallel})
      for (const Loop* loop : *loops)
        different *= depends(*read, *loop) ? std::min(trips(*loop), enough) : 1;
    held = std::min(held + different, enough * enough);
  }
  return held;
}

std::vector<const Loop*> loops_of(const Chain& chain)
{
  std::vector<const Loop*> loops = chain.reduced;
  loops.insert(loops.end(), chain.parallel.begin(), chain.parallel.end());
  return loops;
}

int64_t steps_of(const std::vector<const Loop*>& loops)
{
  constexpr int64_t enough = int64_t{1} << 30;
  int64_t steps = 1;
  for (const Loop* loop : loops)
    steps = std::min(steps * std::min(trips(*loop), enough), enough);
  return steps;
}

std::vector<Instance> instances_of(const std::vector<const Loop*>& loops, int grouped, int64_t group)
{
  std::vector<Instance> all{{}};
  for (const Loop* loop : loops) {
    const int64_t step = loop->step * (loop->index == grouped ? group : 1);
    std::vector<Instance> longer;
    for (const Instance& values : all)
      for (int64_t value = loop->begin[0].constant; value < loop->end[0].constant; value += step) {
        longer.push_back(values);
        longer.back().push_back(value);
      }
    all = std::move(longer);
  }
  return all;
}

std::vector<std::vector<Instance>> in_groups(const std::vector<const Loop*>& loops)
{
  constexpr size_t most = 4;
  const size_t row = loops.empty() ? 1 : static_cast<size_t>(std::max<int64_t>(trips(*loops.back()), 1));
  const size_t size = row <= most ? most / row * row : row % most != 0 && row % 3 == 0 ? 3 : most;
  std::vector<std::vector<Instance>> groups;
  size_t number = 0;
  for (Instance& values : instances_of(loops)) {
    const size_t in_row = row <= most ? number : number % row;
    if (in_row % size == 0)
      groups.emplace_back();
    groups.back().push_back(std::move(values));
    number++;
  }
  return groups;
}

namespace {

std::set<std::vector<int64_t>> places_of(const Expr& read, const std::vector<const Loop*>& loops,
                                         const std::vector<Instance>& all)
{
  std::set<std::vector<int64_t>> places;
  for (const Instance& values : all)
    places.insert(place_of(read.at, loops, values));
  return places;
}

// The operands of two iterations of the loop have nothing in common: each has a subscript that no other loop changes.
bool is_apart(const Chain& chain, const Loop& loop)
{
  const std::vector<const Loop*> loops = loops_of(chain);
  return std::all_of(chain.operands.begin(), chain.operands.end(), [&](const Expr* read) {
    return std::any_of(read->at.begin(), read->at.end(), [&](const Affine& at) {
      return at.uses(loop.index) && std::none_of(loops.begin(), loops.end(), [&](const Loop* other) {
               return other != &loop && at.uses(other->index);
             });
    });
  });
}

} // namespace

std::vector<Instance> by_element(const Chain& chain, int64_t registers, int64_t accumulators, bool may_end)
{
  constexpr int64_t most = 1024;
  const std::vector<const Loop*> loops = loops_of(chain);
  int64_t count = 1;
  for (const Loop* loop : loops)
    count = std::min(count * trips(*loop), most + 1);
  if (count > most || count == 0 || chain.operands.empty())
    return {};

  // What has nothing in common runs one after the other, and leaves its registers to the next.
  std::vector<size_t> apart;
  int64_t parts = 1;
  for (size_t l = chain.reduced.size(); may_end && l < loops.size(); ++l)
    if (trips(*loops[l]) > 1 && is_apart(chain, *loops[l])) {
      apart.push_back(l);
      parts *= trips(*loops[l]);
    }
  std::vector<Instance> all = instances_of(loops), part;
  auto part_of = [&](const Instance& values) {
    Instance part;
    for (size_t l : apart)
      part.push_back(values[l]);
    return part;
  };
  std::copy_if(all.begin(), all.end(), std::back_inserter(part),
               [&](const Instance& values) { return part_of(values) == part_of(all.front()); });

  const Expr* shared = nullptr;
  int64_t different = 0, others = 0;
  for (const Expr* read : chain.operands) {
    const auto size = static_cast<int64_t>(places_of(*read, loops, part).size());
    others += size;
    if (size > different) {
      different = size;
      shared = read;
    }
  }
  if (!reads_by_element({count / parts, different, others - different, ceil_div(accumulators, parts)}, parts,
                        registers))
    return {};
  std::stable_sort(all.begin(), all.end(), [&](const Instance& a, const Instance& b) {
    return std::pair(part_of(a), place_of(shared->at, loops, a)) <
           std::pair(part_of(b), place_of(shared->at, loops, b));
  });
  std::map<std::vector<int64_t>, Instance> last; // by accumulator
  for (const Instance& values : all) {
    const Instance step(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(chain.reduced.size()));
    const auto [at, is_first] = last.try_emplace(place_of(chain.store->at, loops, values), step);
    if (!is_first && !(at->second < step))
      return {};
    at->second = step;
  }
  return all;
}

namespace {

bool same_lanes(const Loop* a, const Loop* b)
{
  return !a == !b && (!a || (a->begin == b->begin && a->end == b->end && a->step == b->step));
}

// The sums that a store reads; false where it may not run before other steps and stores.
bool gather_sums(const Store& store, const Loop* lanes, const std::vector<Chain>& chains, const Nest& nest,
                 const std::vector<int>& groups, std::vector<const Expr*>& sums)
{
  auto role = [&](int buffer) { return nest.buffers[static_cast<size_t>(buffer)].role; };
  auto shares = [&](int buffer) {
    return groups[static_cast<size_t>(buffer)] == groups[static_cast<size_t>(store.target)];
  };
  if (store.update != Update::assign || store.tap >= 0 || role(store.target) == BufferRole::registers)
    return false;
  bool fits = true;
  for (const Chain& chain : chains)
    for (const Expr* read : chain.operands)
      fits = fits && !shares(read->tensor);
  for_each(*store.value, [&](const Expr& e) {
    if (e.fn != Fn::read)
      return;
    fits = fits && !shares(e.tensor);
    bool is_sum = false;
    for (const Chain& chain : chains)
      if (e.tensor == chain.store->target) {
        fits = fits && same_lanes(chain.lanes, lanes);
        is_sum = true;
      }
    if (is_sum)
      sums.push_back(&e);
  });
  return fits;
}

} // namespace

Ends::Ends(std::span<const Node> behind, const std::vector<Chain>& chains, const Nest& nest,
           const std::vector<int>& groups)
{
  // Without a step no sum ever has its last one; beside a sum with a tap there is more that ends with it.
  if (behind.empty() || std::any_of(chains.begin(), chains.end(), [](const Chain& chain) {
        return chain.store->tap >= 0 || steps_of(chain.reduced) == 0;
      }))
    return;
  std::set<Place> all_sums;
  for (const Chain& chain : chains) {
    const std::vector<const Loop*> loops = loops_of(chain);
    for (const Instance& values : instances_of(chain.parallel)) {
      Instance all(chain.reduced.size(), 0);
      all.insert(all.end(), values.begin(), values.end());
      all_sums.insert({chain.store->target, place_of(chain.store->at, loops, all)});
    }
  }
  for (const Node& node : behind) {
    const auto* outermost = std::get_if<Loop>(&node.is);
    std::optional<Unrolled> unrolled =
        outermost && outermost->kind == LoopKind::unroll ? unrolled_of(*outermost) : std::nullopt;
    if (!unrolled)
      return;
    Taken one{std::move(unrolled->loops), unrolled->body, {}};
    for (const Node& store : *unrolled->inner) {
      const auto* is = std::get_if<Store>(&store.is);
      if (!is || !gather_sums(*is, unrolled->lanes, chains, nest, groups, one.sums))
        return;
    }
    if (steps_of(one.loops) > most_ends)
      return;
    std::vector<Waiting> wait;
    for (Instance& values : instances_of(one.loops)) {
      std::set<Place> sums;
      for (const Expr* sum : one.sums)
        sums.insert({sum->tensor, place_of(sum->at, one.loops, values)});
      if (sums.empty() || !std::includes(all_sums.begin(), all_sums.end(), sums.begin(), sums.end()))
        return;
      wait.push_back({taken.size(), std::move(values), std::move(sums)});
    }
    waiting.insert(waiting.end(), wait.begin(), wait.end());
    taken.push_back(std::move(one));
  }
}

std::vector<Ends::End> Ends::ready(const Chain& chain, const Instance& values)
{
  const Place sum{chain.store->target, place_of(chain.store->at, loops_of(chain), values)};
  std::vector<End> now;
  std::erase_if(waiting, [&](Waiting& each) {
    if (each.sums.erase(sum) == 0 || !each.sums.empty())
      return false;
    const Taken& of = taken[each.taken];
    now.push_back({&of.loops, of.body, each.values});
    return true;
  });
  return now;
}

} // namespace cnnc
