// The loops inside a tile are written out, and what only they subscript moves into registers.
//
//   local %acc: f32[14,16]                          registers %acc: f32[14,16]
//   for w.in in 0..14 { lanes o.lanes in 0..16 { %acc[w.in,o.lanes] = 0 } }   =>   unroll w.in in 0..14 { ... }
//
// Needs:  tiled and vectorized nests.
// Leaves: an accumulator is a value that loops carry, not memory.
#include "passes/stage_loops.h"

#include <algorithm>

namespace cnnc {

namespace {

bool is_inside_tile(const std::string& name)
{
  return name.find(inner_loop) != name.npos || name.find(block_loop) != name.npos;
}

class Promoter {
public:
  explicit Promoter(Nest& nest) : nest(nest), only_written_out(nest.buffers.size(), true), written(nest.indices.size())
  {
  }

  void run()
  {
    visit(nest.body);
    for (size_t b = 0; b < nest.buffers.size(); b++)
      if (nest.buffers[b].role == BufferRole::local && only_written_out[b])
        nest.buffers[b].role = BufferRole::registers;
  }

private:
  void visit(const std::vector<Node>& body)
  {
    for (const Node& node : body) {
      if (const Loop* loop = std::get_if<Loop>(&node.is)) {
        written[loop->index] = loop->kind == LoopKind::unroll || loop->kind == LoopKind::lanes;
        if (loop->kind == LoopKind::lanes) {
          lanes = loop->index;
          width = trip_count(*loop).value_or(1);
        }
        visit(loop->body);
      } else if (const If* branch = std::get_if<If>(&node.is)) {
        visit(branch->then_body);
        visit(branch->else_body);
      } else if (const Store* store = std::get_if<Store>(&node.is)) {
        look(store->target, store->at);
        if (store->tap >= 0)
          look(store->tap, store->at);
        for_each(*store->value, [&](const Expr& e) {
          if (e.fn == Fn::read)
            look(e.tensor, e.at);
          if (e.fn == Fn::read && e.checked) // registers have no outside
            only_written_out[e.tensor] = false;
        });
      } else if (const ZeroBorder* zero = std::get_if<ZeroBorder>(&node.is)) {
        only_written_out[zero->buffer] = false;
      }
    }
  }

  void look(int buffer, const std::vector<Affine>& at)
  {
    // Lanes stay where they are: no register holds parts of two.
    if (!at.empty() && lanes >= 0 && at.back().uses(lanes)) {
      bool is_whole = at.back().constant % width == 0;
      for (const Affine::Term& term : at.back().terms)
        is_whole = is_whole && (term.index == lanes || term.factor % width == 0);
      only_written_out[buffer] = only_written_out[buffer] && is_whole;
    }
    for (const Affine& a : at)
      for (const Affine::Term& term : a.terms)
        if (term.index < 0 || !written[term.index] || (term.index == lanes && (&a != &at.back() || term.factor != 1)))
          only_written_out[buffer] = false;
  }

  Nest& nest;
  std::vector<bool> only_written_out, written;
  int64_t width = 1;
  int lanes = -1; // the innermost loop of that kind: a register has lanes in its last dimension only
};

} // namespace

void unroll(Nest& nest, const Target&, Remarks&)
{
  for_each_node(nest.body, [&](Node& node) {
    if (Loop* loop = std::get_if<Loop>(&node.is))
      if (loop->kind == LoopKind::serial && is_inside_tile(nest.indices[loop->index].name))
        loop->kind = LoopKind::unroll;
  });
  Promoter(nest).run();
}

} // namespace cnnc
