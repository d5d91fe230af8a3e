// Outer loops whose iterations write different elements become tasks.
//
//   for n in 0..N, o in 0..64 step 32 { ... %y[n,o + ...] = ... }   =>   parallel n in 0..N, o in 0..64 step 32 { ... }
//
// A loop qualifies where every store to memory that others see has its index in a subscript and assigns; sums over it
// do not. Tasks stay large enough that handing one out costs little.
//
// Needs:  unrolled nests, or nests that were never tiled.
// Leaves: no loop below a chain of parallel ones is parallel.
#include "passes/stage_loops.h"

#include <algorithm>

namespace cnnc {

namespace {

constexpr double enough_tasks = 16;    // for one image
constexpr double smallest_task = 4000; // element operations

bool uses(const std::vector<Affine>& at, int index)
{
  for (const Affine& a : at)
    if (a.uses(index))
      return true;
  return false;
}

bool is_private(const Buffer& buffer)
{
  return buffer.role == BufferRole::local || buffer.role == BufferRole::registers;
}

// A border that the loop's first iteration makes zero: where nobody else writes (see join_borders).
bool is_first_alone(const If& branch, const Loop& loop)
{
  const Loop* blocks = branch.then_body.size() == 1 ? std::get_if<Loop>(&branch.then_body[0].is) : nullptr;
  return branch.else_body.empty() && blocks && blocks->body.size() == 1 &&
         std::holds_alternative<ZeroBorder>(blocks->body[0].is) && branch.condition.constant == 0 &&
         branch.condition.uses(loop.index) &&
         std::all_of(branch.condition.terms.begin(), branch.condition.terms.end(),
                     [](const Affine::Term& term) { return term.factor < 0; });
}

// No two iterations of `loop` store to one element that others see.
bool are_apart(const std::vector<Node>& body, const Loop& loop, const Nest& nest)
{
  bool apart = true;
  for (const Node& node : body) {
    if (const Store* store = std::get_if<Store>(&node.is)) {
      if (!is_private(nest.buffers[store->target]))
        apart = apart && store->update == Update::assign && uses(store->at, loop.index);
    } else if (const ZeroBorder* zero = std::get_if<ZeroBorder>(&node.is)) {
      apart = apart && uses(zero->at, loop.index);
    } else if (const Loop* inner = std::get_if<Loop>(&node.is)) {
      apart = apart && are_apart(inner->body, loop, nest);
    } else if (const If* branch = std::get_if<If>(&node.is)) {
      // A tail (see tile) is the last iteration's alone, and what it stores lies behind all full tiles.
      bool is_tail = branch->condition.factor(loop.index) < 0 && loop.step > 1;
      if (is_first_alone(*branch, loop))
        continue;
      apart =
          apart && are_apart(branch->then_body, loop, nest) && (is_tail || are_apart(branch->else_body, loop, nest));
    }
  }
  return apart;
}

double work_of(const std::vector<Node>& body)
{
  double work = 0;
  for (const Node& node : body) {
    if (const Loop* loop = std::get_if<Loop>(&node.is))
      work += work_of(loop->body) * static_cast<double>(trip_count(*loop).value_or(8));
    else if (const If* branch = std::get_if<If>(&node.is))
      work += work_of(branch->then_body);
    else
      work += 1;
  }
  return work;
}

bool has_plain_bounds(const Loop& loop)
{
  auto plain = [](const Affine& a) {
    return a.is_constant() || (a.terms.size() == 1 && a.terms[0].index == batch_index);
  };
  return loop.begin.size() == 1 && loop.end.size() == 1 && plain(loop.begin[0]) && plain(loop.end[0]);
}

} // namespace

void parallelize(Nest& nest, const Target&, Remarks&)
{
  for (Node& node : nest.body) {
    Loop* loop = std::get_if<Loop>(&node.is);
    double tasks = 1;
    while (loop && loop->kind == LoopKind::serial && has_plain_bounds(*loop) && are_apart(loop->body, *loop, nest)) {
      std::optional<int64_t> count = trip_count(*loop);
      bool batch = !count;
      if (!batch && (tasks >= enough_tasks || work_of(loop->body) < smallest_task))
        break;
      loop->kind = LoopKind::parallel;
      tasks *= static_cast<double>(count.value_or(1));
      loop = loop->body.size() == 1 ? std::get_if<Loop>(&loop->body[0].is) : nullptr;
    }
  }
}

} // namespace cnnc
