// Borders become zero in the tasks that write what lies inside them, not before all of them on one thread.
//
//   for n in 0..N { zero_border %y[n] }               for n1 in 0..N, o in 0..64 step 32 {
//   for n1 in 0..N, o in 0..64 step 32 {        =>      for b in 0..32 step 16 { zero_border %y[n1,o + b] }
//     ... %y[n1,o + ...] = ...                          ... %y[n1,o + ...] = ...
//   }                                                 }
//
// Loops over rows stay in the chain that can become parallel: there the border's turn is their first iteration.
//
// Needs:  tiled nests: then it is known which blocks of channels one iteration writes.
// Leaves: a border stands alone only where no loop over images and whole blocks is outermost.
#include "passes/stage_loops.h"

#include <algorithm>

namespace cnnc {

namespace {

// The buffer whose border the node alone is about, for each image; or nothing.
const ZeroBorder* border_of_images(const Node& node)
{
  const Loop* loop = std::get_if<Loop>(&node.is);
  const ZeroBorder* zero = loop && loop->body.size() == 1 ? std::get_if<ZeroBorder>(&loop->body[0].is) : nullptr;
  return zero && zero->at.size() == 1 && zero->at[0] == Affine::of(loop->index) ? zero : nullptr;
}

// The channels in one block of the layout, which lie behind the images; 0: they are not in blocks.
int64_t block_of(const Layout& layout)
{
  return layout.axes.size() > 1 && layout.axes[1].dim == 1 && layout.axes[1].divide > 1 ? layout.axes[1].divide : 0;
}

class Join {
public:
  Join(Nest& nest, int buffer) : nest(nest), buffer(buffer) {}

  bool into(Node& node)
  {
    const Loop *images = nullptr, *channels = nullptr;
    Affine others; // zero in the first iteration of the other loops
    Loop* inner = nullptr;
    for (Loop* loop = std::get_if<Loop>(&node.is); loop; loop = only_loop(*loop)) {
      if (loop->kind != LoopKind::serial || loop->begin != std::vector<Affine>{0} || loop->end.size() != 1)
        break;
      inner = loop;
      if (loop->end[0].uses(batch_index))
        images = loop;
      else if (!channels && writes_blocks_of(*loop))
        channels = loop;
      else
        others += Affine::of(loop->index);
    }
    if (!images || !channels || !writes_apart(*inner, *images, *channels))
      return false;
    const Affine first = Affine::of(channels->index);
    const int at = nest.add_index("block");
    Loop blocks{at, {0}, {channels->step}, block(), LoopKind::serial, {}};
    if (channels->end[0].constant % channels->step != 0)
      blocks.end.push_back(channels->end[0] - first);
    blocks.body.push_back({ZeroBorder{buffer, {Affine::of(images->index), first + Affine::of(at)}}});
    Node made{std::move(blocks)};
    if (!others.terms.empty()) {
      If once{others * -1, {}, {}};
      once.then_body.push_back(std::move(made));
      made = Node{std::move(once)};
    }
    inner->body.insert(inner->body.begin(), std::move(made));
    return true;
  }

private:
  static Loop* only_loop(Loop& loop) { return loop.body.size() == 1 ? std::get_if<Loop>(&loop.body[0].is) : nullptr; }

  int64_t block() const { return block_of(nest.buffers[buffer].layout); }

  // The loop goes over all channels in steps of whole blocks.
  bool writes_blocks_of(const Loop& loop) const
  {
    return block() > 0 && loop.step % block() == 0 && loop.end[0] == Affine(nest.buffers[buffer].type.shape[1].size) &&
           used_as_channel(loop);
  }

  bool used_as_channel(const Loop& loop) const
  {
    bool used = false;
    for_each_node(loop.body, [&](const Node& each) {
      const Store* store = std::get_if<Store>(&each.is);
      used = used || (store && store->target == buffer && store->at[1].factor(loop.index) == 1);
    });
    return used;
  }

  // Every store into the buffer below is one to these loops' image and channels.
  bool writes_apart(const Loop& inner, const Loop& images, const Loop& channels) const
  {
    bool apart = true;
    for_each_node(inner.body, [&](const Node& each) {
      const Store* store = std::get_if<Store>(&each.is);
      if (store && store->target == buffer)
        apart = apart && store->at[0] == Affine::of(images.index) && store->at[1].factor(channels.index) == 1;
    });
    return apart;
  }

  Nest& nest;
  int buffer;
};

} // namespace

void join_borders(Nest& nest, const Target&, Remarks&)
{
  for (size_t k = 0; k < nest.body.size();) {
    const ZeroBorder* zero = border_of_images(nest.body[k]);
    bool joined = false;
    for (size_t to = k + 1; zero && to < nest.body.size() && !joined; to++)
      joined = Join(nest, zero->buffer).into(nest.body[to]);
    if (joined)
      nest.body.erase(nest.body.begin() + static_cast<std::ptrdiff_t>(k));
    else
      k++;
  }
}

} // namespace cnnc
