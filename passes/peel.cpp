// The last step of a short sum's loop stands beside the stores behind it.
//
//   for c in 0..64 step 16 { unroll c.in, w.in { %acc[w.in] += ... } }        for c in 0..48 step 16 { ... }
//   unroll w.in { %y[w + w.in] = %acc[w.in] }                             =>  unroll c1 in 48..64 step 16, c.in1, w.in1 { ... }
//                                                                             unroll w.in { %y[w + w.in] = %acc[w.in] }
//
// A store costs nothing where its number has just been computed, and a cycle or two where it comes from the register file:
// twelve at once behind a loop hold up what follows by 25 cycles on Zen 3. In a straight line the code generator ends one
// sum after the other (emit_nest_unroll.cpp), each with its store.
//
// Needs:  sums in registers.
// Leaves: loops of sums that take long, where a few cycles are nothing and the code would be twice as large.
#include "passes/stage_loops.h"

#include <algorithm>

namespace cnnc {

namespace {

constexpr int64_t most_work = 2048; // vectors that are added in the whole loop

// How many times the store runs, written out, or one more than `most_work`; 0: not only loops that are written out, and
// that store.
int64_t written_out(const Node& node, const Store** store)
{
  if ((*store = std::get_if<Store>(&node.is)))
    return 1;
  const Loop* loop = std::get_if<Loop>(&node.is);
  if (!loop || loop->body.size() != 1 || (loop->kind != LoopKind::unroll && loop->kind != LoopKind::lanes))
    return 0;
  const int64_t times = loop->kind == LoopKind::lanes ? 1 : trip_count(*loop).value_or(0);
  return std::min(std::min(times, most_work + 1) * written_out(loop->body[0], store), most_work + 1);
}

class Peel {
public:
  explicit Peel(Nest& nest) : nest(nest) {}

  void visit(std::vector<Node>& body)
  {
    for (size_t i = 0; i < body.size(); i++) {
      if (i + 1 < body.size() && is_short_sum(body[i]) && is_end(body[i + 1])) {
        Loop last = std::get<Loop>(body[i].is);
        Loop& others = std::get<Loop>(body[i].is);
        const int64_t from = last.end[0].constant - last.step;
        others.end[0] = from;
        last.begin[0] = from;
        last.kind = LoopKind::unroll;
        const Node copied = copy({last});
        body.insert(body.begin() + static_cast<std::ptrdiff_t>(++i), copied);
      } else if (Loop* loop = std::get_if<Loop>(&body[i].is)) {
        visit(loop->body);
      } else if (If* branch = std::get_if<If>(&body[i].is)) {
        visit(branch->then_body);
        visit(branch->else_body);
      }
    }
  }

private:
  bool in_registers(int buffer) const { return nest.buffers[buffer].role == BufferRole::registers; }

  bool is_short_sum(const Node& node) const
  {
    const Loop* loop = std::get_if<Loop>(&node.is);
    const std::optional<int64_t> steps = loop ? trip_count(*loop) : std::nullopt;
    if (!steps || *steps < 2 || loop->kind != LoopKind::serial ||
        loop->end[0].constant - loop->begin[0].constant != *steps * loop->step || loop->body.size() != 1)
      return false;
    const Store* store = nullptr;
    const int64_t work = written_out(loop->body[0], &store);
    return work > 1 && work <= most_work / *steps && store->update == Update::sum && in_registers(store->target);
  }

  bool is_end(const Node& node) const
  {
    const Store* store = nullptr;
    return written_out(node, &store) > 1 && store->update == Update::assign && !in_registers(store->target);
  }

  // With loops of its own.
  Node copy(Node node)
  {
    std::vector<std::pair<int, int>> renamed;
    auto renumbered = [&](const Affine& a) {
      return renumber(a, [&](int index) {
        const auto at = std::find_if(renamed.begin(), renamed.end(), [&](const auto& r) { return r.first == index; });
        return at == renamed.end() ? index : at->second;
      });
    };
    std::vector<Node> one{std::move(node)};
    for_each_node(one, [&](Node& each) {
      if (Loop* loop = std::get_if<Loop>(&each.is)) {
        renamed.emplace_back(loop->index, nest.add_index(nest.indices[loop->index].name));
        loop->index = renamed.back().second;
      } else if (Store* store = std::get_if<Store>(&each.is)) {
        for (Affine& at : store->at)
          at = renumbered(at);
        store->value = map_affine(store->value, renumbered);
        store->tap_value = renumbered(store->tap_value);
      }
    });
    return std::move(one.front());
  }

  Nest& nest;
};

} // namespace

void peel(Nest& nest, const Target&, Remarks&)
{
  Peel(nest).visit(nest.body);
}

} // namespace cnnc
