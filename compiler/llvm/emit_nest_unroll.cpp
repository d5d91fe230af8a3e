// Unrolled updates of accumulators, in the order that needs the fewest registers beside them:
//
//   unroll k, b, a: acc[b,a] += x[k,a] * w[k,b]    =>    for each k: for each a: for each b: ...
//
// One x and two w live at a time (b < 2) instead of fourteen x (a < 14). Loops that are reduced stay outermost and in
// their order, so that every sum keeps its own. Where the accumulators leave no room, each step of the reduced loops
// reads its operands again: LLVM would keep those that the next step also reads (a window's overlap), and spill.
#include "compiler/llvm/emitter.h"

#include "ir/location.h"

#include <algorithm>
#include <limits>

namespace cnnc {

namespace {

constexpr size_t most_loops = 6; // whose orders are all tried

struct Chain {
  std::vector<const Loop*> reduced, parallel;
  const std::vector<Node>* body = nullptr;
  const Store* store = nullptr;
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
    if (auto* lanes = std::get_if<Loop>(&body->front().is); lanes && lanes->kind == LoopKind::lanes)
      body = &lanes->body;
  chain.store = body->size() == 1 ? std::get_if<Store>(&body->front().is) : nullptr;
  if (!chain.store || chain.store->update == Update::assign || reads(*chain.store->value, chain.store->target) ||
      nest.buffers.at(static_cast<size_t>(chain.store->target)).role != BufferRole::registers)
    return std::nullopt;
  for (const Loop* loop : loops) {
    // Alone in its subscript: then two iterations never meet in one accumulator.
    bool alone = std::any_of(chain.store->at.begin(), chain.store->at.end(),
                             [&](const Affine& at) { return at.terms.size() == 1 && at.uses(loop->index); });
    (alone ? chain.parallel : chain.reduced).push_back(loop);
  }
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

} // namespace

bool Emitter::accumulate(const Loop& outermost)
{
  std::optional<Chain> found = chain_of(outermost, nest);
  if (!found)
    return false;
  Chain& chain = *found;
  std::vector<const Expr*> operands;
  for_each(*chain.store->value, [&](const Expr& e) {
    if (e.fn == Fn::read && nest.buffers.at(static_cast<size_t>(e.tensor)).role != BufferRole::registers)
      operands.push_back(&e);
  });

  std::vector<size_t> order(chain.parallel.size()), best;
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  int64_t fewest = std::numeric_limits<int64_t>::max();
  do { // the given order first: it stays unless another is better
    std::vector<const Loop*> loops;
    for (size_t i : order)
      loops.push_back(chain.parallel[i]);
    int64_t sum = 0;
    for (const Expr* read : operands)
      sum += alive(*read, loops);
    if (sum < fewest)
      fewest = sum, best = order;
  } while (std::next_permutation(order.begin(), order.end()));
  std::vector<const Loop*> loops;
  for (size_t i : best)
    loops.push_back(chain.parallel[i]);

  // All that the whole of it reads, beside all that it keeps.
  int64_t held = 0;
  for (const auto& [key, value] : registers)
    if (key.first == chain.store->target) {
      int64_t bits = static_cast<int64_t>(value->getType()->getPrimitiveSizeInBits().getFixedValue());
      held += ceil_div(bits, target.vector_bytes * 8);
    }
  for (const Expr* read : operands) {
    int64_t different = 1;
    for (const std::vector<const Loop*>* all : {&chain.reduced, &chain.parallel})
      for (const Loop* loop : *all)
        different *= depends(*read, *loop) ? std::min<int64_t>(trips(*loop), 1000) : 1;
    held = std::min<int64_t>(held + different, 1'000'000);
  }
  bool crowded = held > target.vector_registers;

  std::vector<Fact> outer = facts;
  std::function<void(size_t)> run = [&](size_t depth) {
    bool in_reduced = depth < chain.reduced.size();
    if (depth == chain.reduced.size() && crowded)
      read_again();
    if (depth == chain.reduced.size() + loops.size())
      return nodes(*chain.body);
    const Loop& loop = in_reduced ? *chain.reduced[depth] : *loops[depth - chain.reduced.size()];
    for (int64_t value = loop.begin[0].constant; value < loop.end[0].constant; value += loop.step) {
      spend(1);
      Fact fact;
      fact.kind = Fact::Kind::constant;
      fact.value = value;
      fact.range = {value, value};
      facts[static_cast<size_t>(loop.index)] = fact;
      run(depth + 1);
    }
  };
  run(0);
  std::copy(outer.begin(), outer.end(), facts.begin()); // in place: callers hold on to their index's
  return true;
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
