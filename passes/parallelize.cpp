// Outer loops whose iterations write different elements become tasks.
//
//   for n in 0..N, o in 0..64 step 32 { ... %y[n,o + ...] = ... }   =>   parallel n in 0..N, o in 0..64 step 32 { ... }
//
//   for n in 0..N, hw in 0..12544 step 6 { ... }   =>   parallel n in 0..N, hw1 in 0..12544 step 786 {
//                                                       for hw in hw1..min(hw1 + 786, 12544) step 6 { ... }
//                                                     }
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

// The loop in `parts` of about the same size: an outer loop over them.
void split(Node& node, Nest& nest, int64_t parts)
{
  Loop inner = std::get<Loop>(node.is);
  const int64_t count = *trip_count(inner), size = ceil_div(count, parts) * inner.step;
  Loop outer{nest.add_index(nest.indices[inner.index].name), inner.begin, inner.end, size, LoopKind::serial, {}};
  const Affine from = Affine::of(outer.index);
  inner.begin = {from};
  if (count * inner.step % size == 0)
    inner.end = {from + size};
  else
    inner.end.insert(inner.end.begin(), from + size);
  outer.body.push_back({std::move(inner)});
  node = Node{std::move(outer)};
}

} // namespace

void parallelize(Nest& nest, const Target&, Remarks&)
{
  for (Node& node : nest.body) {
    Node* at = &node;
    double tasks = 1;
    while (Loop* loop = std::get_if<Loop>(&at->is)) {
      if (loop->kind != LoopKind::serial || !has_plain_bounds(*loop) || !are_apart(loop->body, *loop, nest))
        break;
      if (const std::optional<int64_t> count = trip_count(*loop)) {
        const double work = work_of(loop->body), whole = work * static_cast<double>(*count);
        if (tasks >= enough_tasks)
          break;
        if (work < smallest_task) {
          const double parts = std::min(enough_tasks / tasks, whole / smallest_task);
          if (parts < 2)
            break;
          split(*at, nest, static_cast<int64_t>(parts));
          std::get<Loop>(at->is).kind = LoopKind::parallel;
          break;
        }
        tasks *= static_cast<double>(*count);
      }
      loop->kind = LoopKind::parallel;
      if (loop->body.size() != 1)
        break;
      at = &loop->body[0];
    }
  }
}

} // namespace cnnc
