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
#include "compiler/llvm/emitter.h"

#include "ir/location.h"
#include "passes/stage_loops.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>

namespace cnnc {

namespace {

constexpr size_t most_loops = 6; // whose orders are all tried

struct Chain {
  std::vector<const Loop*> reduced, parallel;
  const std::vector<Node>* body = nullptr;
  const Loop* lanes = nullptr; // around the store, or none
  const Store* store = nullptr;
  std::vector<const Expr*> operands; // reads of memory
};

std::optional<Chain> chain_of(const Loop& outermost, const Nest& nest)
{
  std::vector<const Loop*> loops;
  const std::vector<Node>* body = nullptr;
  for (const Loop* loop = &outermost; loop && loop->kind == LoopKind::unroll;
       loop = body->size() == 1 ? std::get_if<Loop>(&body->front().is) : nullptr) {
    for (const std::vector<Affine>* bounds : {&loop->begin, &loop->end})
      if (bounds->size() != 1 || !bounds->front().is_constant())
        return std::nullopt;
    loops.push_back(loop);
    body = &loop->body;
  }
  Chain chain;
  chain.body = body;
  if (body->size() == 1)
    if (auto* lanes = std::get_if<Loop>(&body->front().is); lanes && lanes->kind == LoopKind::lanes) {
      chain.lanes = lanes;
      body = &lanes->body;
    }
  chain.store = body->size() == 1 ? std::get_if<Store>(&body->front().is) : nullptr;
  if (!chain.store || chain.store->update == Update::assign || reads(*chain.store->value, chain.store->target) ||
      nest.buffers.at(static_cast<size_t>(chain.store->target)).role != BufferRole::registers)
    return std::nullopt;
  if (chain.lanes && (chain.lanes->begin.size() != 1 || chain.lanes->end.size() != 1 ||
                      !chain.lanes->begin[0].is_constant() || !chain.lanes->end[0].is_constant()))
    return std::nullopt;
  for (const Loop* loop : loops) {
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

int64_t trips(const Loop& loop)
{
  return std::max<int64_t>(ceil_div(loop.end[0].constant - loop.begin[0].constant, loop.step), 0);
}

bool depends(const Expr& read, const Loop& loop)
{
  return std::any_of(read.at.begin(), read.at.end(), [&](const Affine& at) { return at.uses(loop.index); });
}

// Each product reads a number, or a group of them, that no other one reads.
bool has_own_factors(const Chain& chain)
{
  return std::any_of(chain.operands.begin(), chain.operands.end(), [&](const Expr* read) {
    return (!chain.lanes || !depends(*read, *chain.lanes)) &&
           std::all_of(chain.parallel.begin(), chain.parallel.end(),
                       [&](const Loop* loop) { return trips(*loop) == 1 || depends(*read, *loop); });
  });
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

// The same steps in the same order, and accumulators apart.
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

// The order in which the operands need the fewest registers; the given one stays unless another is better.
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

// The reduced loop whose steps one instruction takes in groups, in all chains.
void group_steps(const std::vector<Chain>& chains, const Nest& nest, const Target& target,
                 const std::function<int64_t(int)>& step, int* index, int64_t* group)
{
  for (const Loop* loop : chains.front().reduced) {
    bool fits = loop->step == 1;
    for (const Chain& chain : chains) {
      const std::optional<DotProduct> product = dot_product(*chain.store->value, nest, target);
      fits = fits && product && chain.lanes && chain.store->update == Update::sum && chain.store->tap < 0 &&
             loop->begin[0].constant % product->group == 0 && trips(*loop) % product->group == 0 &&
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

// Values of the chain's loops, the reduced ones first.
using Instance = std::vector<int64_t>;

std::vector<const Loop*> loops_of(const Chain& chain)
{
  std::vector<const Loop*> loops = chain.reduced;
  loops.insert(loops.end(), chain.parallel.begin(), chain.parallel.end());
  return loops;
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

std::vector<Instance> instances_of(const std::vector<const Loop*>& loops)
{
  std::vector<Instance> all{{}};
  for (const Loop* loop : loops) {
    std::vector<Instance> longer;
    for (const Instance& values : all)
      for (int64_t value = loop->begin[0].constant; value < loop->end[0].constant; value += loop->step) {
        longer.push_back(values);
        longer.back().push_back(value);
      }
    all = std::move(longer);
  }
  return all;
}

// The order in which an operand that most others overlap is read once, element by element, with `room` registers for the
// other ones; nothing where they do not fit, where little is saved, or where a sum would change its order.
std::vector<Instance> by_element(const Chain& chain, int64_t room)
{
  constexpr int64_t most = 1024;
  const std::vector<const Loop*> loops = loops_of(chain);
  int64_t count = 1;
  for (const Loop* loop : loops)
    count = std::min(count * trips(*loop), most + 1);
  if (count > most || chain.operands.empty())
    return {};
  std::vector<Instance> all = instances_of(loops);
  const Expr* shared = nullptr;
  int64_t different = 0, others = 0;
  for (const Expr* read : chain.operands) {
    std::set<std::vector<int64_t>> places;
    for (const Instance& values : all)
      places.insert(place_of(read->at, loops, values));
    const auto size = static_cast<int64_t>(places.size());
    others += size;
    if (size > different) {
      different = size;
      shared = read;
    }
  }
  if (others - different + 1 > room || different * 3 > count * 2)
    return {};
  std::stable_sort(all.begin(), all.end(), [&](const Instance& a, const Instance& b) {
    return place_of(shared->at, loops, a) < place_of(shared->at, loops, b);
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

  // All that the whole of it reads, beside all that it keeps.
  int64_t held = 0, accumulators = 0;
  std::set<int> targets;
  for (Chain& chain : chains) {
    for (const Expr* read : chain.operands) {
      int64_t different = 1;
      for (const std::vector<const Loop*>* loops : {&chain.reduced, &chain.parallel})
        for (const Loop* loop : *loops)
          different *= depends(*read, *loop) ? std::min<int64_t>(trips(*loop), 1000) : 1;
      held = std::min<int64_t>(held + different, 1'000'000);
    }
    targets.insert(chain.store->target);
    order_parallel(chain);
  }
  for (const auto& [key, value] : registers)
    if (targets.contains(key.first)) {
      int64_t bits = static_cast<int64_t>(value->getType()->getPrimitiveSizeInBits().getFixedValue());
      accumulators += ceil_div(bits, target.vector_bytes * 8);
    }
  bool crowded = held + accumulators > target.vector_registers;

  auto run = [&](auto&& self, const std::vector<const Loop*>& loops, size_t depth, auto&& innermost) -> void {
    if (depth == loops.size())
      return innermost();
    const Loop& loop = *loops[depth];
    Fact& slot = facts[static_cast<size_t>(loop.index)];
    Fact outer = slot;
    const int64_t step = loop.index == dot_index ? loop.step * dot_group : loop.step;
    for (int64_t value = loop.begin[0].constant; value < loop.end[0].constant; value += step) {
      spend(1);
      slot = {};
      slot.kind = Fact::Kind::constant;
      slot.value = value;
      slot.range = {value, value};
      self(self, loops, depth + 1, innermost);
    }
    slot = outer;
  };
  const auto step = [&](int index) {
    const Fact& of = index < 0 ? batch : facts[static_cast<size_t>(index)];
    return of.kind == Fact::Kind::constant  ? of.value
           : of.kind == Fact::Kind::unknown ? 1
                                            : std::gcd(of.modulus, of.residue);
  };
  group_steps(chains, nest, target, step, &dot_index, &dot_group);
  if (crowded && chains.size() == 1 && dot_index < 0)
    if (const auto order = by_element(chains.front(), target.vector_registers - accumulators - 1); !order.empty()) {
      const std::vector<const Loop*> loops = loops_of(chains.front());
      const std::vector<Fact> outer = facts;
      for (const Instance& values : order) {
        spend(1);
        for (size_t l = 0; l < loops.size(); ++l) {
          Fact& fact = facts[static_cast<size_t>(loops[l]->index)];
          fact = {};
          fact.kind = Fact::Kind::constant;
          fact.value = values[l];
          fact.range = {values[l], values[l]};
        }
        nodes(*chains.front().body);
      }
      for (const Loop* loop : loops)
        facts[static_cast<size_t>(loop->index)] = outer[static_cast<size_t>(loop->index)];
      return 1;
    }
  copies_starts = has_own_factors(chains.front());
  run(run, chains.front().reduced, 0, [&] {
    if (crowded)
      read_again();
    for (const Chain& chain : chains)
      run(run, chain.parallel, 0, [&] { nodes(*chain.body); });
  });
  block_of_shared_factors = copies_starts ? nullptr : b.GetInsertBlock();
  copies_starts = false;
  dot_index = -1;
  return chains.size();
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
