// Two loops that go through memory as one do it as one loop: its tiles need not end where a row does.
//
//   in %x: f32[n,64,7,7] as {0, 1/16, 2, 3, 1%16}          in %x: f32[n,64,49] as {0, 1/16, 2, 1%16}
//   for o in 0..64, h in 0..7, w in 0..7 {           =>    for o in 0..64, hw in 0..49 {
//     for c in 0..64 {                                       for c in 0..64 {
//       %acc[] += %x[n,c,h,w] * @w[o,c,0,0]                    %acc[] += %x[n,c,hw] * @w[o,c,0,0]
//
// With 12 accumulators for two blocks of filters, rows of 7 are tiles of 6 and of 1 pixel: half of the time waits. 49
// pixels are eight tiles of 6, and one pixel. Two dimensions of a buffer become one where no border lies between their
// rows and no subscript is checked; a subscript (49*c + 7*h + w) may use both loops as one anyway.
//
// Needs:  nests as `lower` leaves them.
// Leaves: no such pair of loops; buffers of parameters have the dimensions that they had.
#include "passes/collapse.h"

#include <algorithm>
#include <map>

namespace cnnc {

namespace {

// for rows in 0..n { for columns in 0..width { ... } }, with nothing else between the two.
struct Pair {
  int rows, columns;
  int64_t height, width;

  // rows * width + columns, times something.
  bool is_in(const Affine& a) const { return a.factor(rows) == width * a.factor(columns); }
  bool is_used(const Affine& a) const { return a.uses(rows) || a.uses(columns); }
};

// From 0, by one, to a number; else 0.
int64_t plain_extent(const Loop& loop)
{
  const bool is_plain = loop.kind == LoopKind::serial && loop.step == 1 && loop.begin == std::vector<Affine>{0} &&
                        loop.end.size() == 1 && loop.end[0].is_constant();
  return is_plain ? loop.end[0].constant : 0;
}

std::vector<Pair> pairs_of(const Nest& nest)
{
  std::vector<Pair> pairs;
  for_each_node(nest.body, [&](const Node& node) {
    const Loop* outer = std::get_if<Loop>(&node.is);
    const Loop* inner = outer && outer->body.size() == 1 ? std::get_if<Loop>(&outer->body[0].is) : nullptr;
    if (inner && plain_extent(*outer) > 1 && plain_extent(*inner) > 1)
      pairs.push_back({outer->index, inner->index, plain_extent(*outer), plain_extent(*inner)});
  });
  return pairs;
}

struct Access {
  int buffer;
  const std::vector<Affine>* at;
  bool is_whole; // one element, not checked
};

// All subscripts, and all other expressions in loops' indices.
struct Uses {
  std::vector<Access> accesses;
  std::vector<Affine> others;
};

Uses uses_of(const Nest& nest)
{
  Uses uses;
  const auto take_value = [&](const Expr& value) {
    for_each(value, [&](const Expr& e) {
      if (e.fn == Fn::read)
        uses.accesses.push_back({e.tensor, &e.at, !e.checked});
      else
        uses.others.insert(uses.others.end(), e.at.begin(), e.at.end());
    });
  };
  for_each_node(nest.body, [&](const Node& node) {
    if (const Store* store = std::get_if<Store>(&node.is)) {
      uses.accesses.push_back({store->target, &store->at, true});
      if (store->tap >= 0)
        uses.accesses.push_back({store->tap, &store->at, true});
      uses.others.push_back(store->tap_value);
      take_value(*store->value);
    } else if (const Loop* loop = std::get_if<Loop>(&node.is)) {
      uses.others.insert(uses.others.end(), loop->begin.begin(), loop->begin.end());
      uses.others.insert(uses.others.end(), loop->end.begin(), loop->end.end());
    } else if (const If* check = std::get_if<If>(&node.is)) {
      uses.others.push_back(check->condition);
    } else if (const ZeroBorder* zero = std::get_if<ZeroBorder>(&node.is)) {
      uses.accesses.push_back({zero->buffer, &zero->at, false});
    } else if (const Prefetch* prefetch = std::get_if<Prefetch>(&node.is)) {
      uses.accesses.push_back({prefetch->buffer, &prefetch->at, true});
    }
  });
  return uses;
}

// The axis of dimension `d`, if rows of d + 1 lie behind one another along it; else -1.
int axis_of_rows(const Layout& layout, int d)
{
  int found = -1;
  for (size_t a = 0; a < layout.axes.size(); ++a) {
    const Axis& axis = layout.axes[a];
    if (axis.dim != d && axis.dim != d + 1)
      continue;
    if (axis.divide != 1 || axis.modulo != 0 || axis.before != 0 || axis.after != 0)
      return -1;
    if (axis.dim == d)
      found = static_cast<int>(a);
    else if (found != static_cast<int>(a) - 1 || a == 0 || axis.extra != 0)
      return -1;
  }
  return found;
}

// Pictures and what is between them: parameters are stored for others, too.
bool may_be_viewed(const Buffer& buffer)
{
  return buffer.role != BufferRole::registers && (buffer.role == BufferRole::local || has_batch(buffer.type.shape));
}

// One pair, and what follows from it: buffers' dimensions that become one, for which other pairs have to.
class Collapse {
public:
  Collapse(Nest& nest, const std::vector<Pair>& candidates, const Uses& uses)
      : nest(nest),
        candidates(candidates),
        uses(uses),
        row_dimension(nest.buffers.size(), -1)
  {
  }

  bool is_possible(const Pair& first)
  {
    chosen = {first};
    for (size_t p = 0; p < chosen.size(); ++p)
      if (!take(Pair(chosen[p])))
        return false;
    return true;
  }

  void run()
  {
    for (size_t b = 0; b < nest.buffers.size(); ++b)
      if (row_dimension[b] >= 0)
        view(nest.buffers[b], row_dimension[b]);
    for (const Pair& pair : chosen)
      merged[pair.rows] = {pair, nest.add_index(nest.indices[pair.rows].name + nest.indices[pair.columns].name)};
    for_each_node(nest.body, [&](Node& node) { rewrite(node); });
  }

private:
  bool take(const Pair& pair)
  {
    if (std::any_of(uses.others.begin(), uses.others.end(), [&](const Affine& a) { return !pair.is_in(a); }))
      return false;
    for (const Access& access : uses.accesses) {
      const std::vector<Affine>& at = *access.at;
      const auto apart = std::find_if(at.begin(), at.end(), [&](const Affine& a) { return !pair.is_in(a); });
      if (apart == at.end())
        continue;
      int& d = row_dimension[access.buffer];
      const bool is_new = d < 0;
      if (is_new)
        d = static_cast<int>(apart - at.begin());
      if ((is_new && !can_be_viewed(access.buffer, d)) || !is_row(pair, at, static_cast<size_t>(d)))
        return false;
    }
    return true;
  }

  // h, w stand in two dimensions, each by itself, and in no other one.
  static bool is_row(const Pair& pair, const std::vector<Affine>& at, size_t d)
  {
    for (size_t e = 0; e < at.size(); ++e)
      if (e != d && e != d + 1 && pair.is_used(at[e]))
        return false;
    return d + 1 < at.size() && at[d] == Affine::of(pair.rows) && at[d + 1] == Affine::of(pair.columns);
  }

  // ... by all that use it: further pairs become one, too.
  bool can_be_viewed(int b, int d)
  {
    const Buffer& buffer = nest.buffers[b];
    const Shape& shape = buffer.type.shape;
    if (!may_be_viewed(buffer) || static_cast<size_t>(d) + 1 >= shape.size() || shape[d].batch ||
        axis_of_rows(buffer.layout, d) < 0)
      return false;
    for (const Access& access : uses.accesses) {
      if (access.buffer != b)
        continue;
      const std::vector<Affine>& at = *access.at;
      if (!access.is_whole && at.size() <= static_cast<size_t>(axis_of_rows(buffer.layout, d)))
        continue; // a border that goes all around it
      const auto pair = std::find_if(candidates.begin(), candidates.end(), [&](const Pair& p) {
        return p.height == shape[d].size && p.width == shape[d + 1].size && at.size() == shape.size() &&
               is_row(p, at, static_cast<size_t>(d));
      });
      if (!access.is_whole || pair == candidates.end())
        return false;
      if (std::none_of(chosen.begin(), chosen.end(), [&](const Pair& p) { return p.rows == pair->rows; })) {
        if (std::any_of(chosen.begin(), chosen.end(),
                        [&](const Pair& p) { return p.columns == pair->rows || p.rows == pair->columns; }))
          return false; // of three loops, two
        chosen.push_back(*pair);
      }
    }
    return true;
  }

  static void view(Buffer& buffer, int d)
  {
    Shape& shape = buffer.type.shape;
    shape[d].size *= shape[d + 1].size;
    shape.erase(shape.begin() + d + 1);
    std::vector<Axis>& axes = buffer.layout.axes;
    std::erase_if(axes, [&](const Axis& axis) { return axis.dim == d + 1; });
    for (Axis& axis : axes)
      axis.dim -= axis.dim > d;
  }

  void rewrite(Node& node)
  {
    if (Loop* loop = std::get_if<Loop>(&node.is)) {
      if (const auto found = merged.find(loop->index); found != merged.end()) {
        loop->index = found->second.index;
        loop->end = {Affine(found->second.pair.height * found->second.pair.width)};
        std::vector<Node> body = std::move(std::get<Loop>(loop->body[0].is).body);
        loop->body = std::move(body);
      }
      for (std::vector<Affine>* bounds : {&loop->begin, &loop->end})
        for (Affine& bound : *bounds)
          bound = rewritten(bound);
    } else if (Store* store = std::get_if<Store>(&node.is)) {
      store->at = rewritten(store->target, store->at);
      store->tap_value = rewritten(store->tap_value);
      store->value = transform(store->value, [&](const ExprPtr& e) {
        if (e->at.empty())
          return e;
        Expr made = *e;
        made.at = rewritten(e->fn == Fn::read ? e->tensor : -1, e->at);
        return std::make_shared<const Expr>(std::move(made));
      });
    } else if (If* check = std::get_if<If>(&node.is)) {
      check->condition = rewritten(check->condition);
    } else if (Prefetch* prefetch = std::get_if<Prefetch>(&node.is)) {
      prefetch->at = rewritten(prefetch->buffer, prefetch->at);
    }
  }

  std::vector<Affine> rewritten(int buffer, std::vector<Affine> at) const
  {
    if (buffer >= 0 && row_dimension[buffer] >= 0) {
      const int d = row_dimension[buffer];
      at[d] = Affine::of(merged.at(at[d].bare()).index);
      at.erase(at.begin() + d + 1);
    }
    for (Affine& a : at)
      a = rewritten(a);
    return at;
  }

  Affine rewritten(Affine a) const
  {
    for (const auto& [rows, made] : merged)
      if (const int64_t factor = a.factor(made.pair.columns); factor != 0)
        a = a.without(rows).without(made.pair.columns) + Affine::of(made.index, factor);
    return a;
  }

  struct Merged {
    Pair pair;
    int index;
  };

  Nest& nest;
  const std::vector<Pair>& candidates;
  const Uses& uses;
  std::vector<int> row_dimension; // by buffer: this and the next one become one; -1: stays
  std::vector<Pair> chosen;
  std::map<int, Merged> merged; // by the index of rows
};

bool collapse_once(Nest& nest)
{
  const std::vector<Pair> pairs = pairs_of(nest);
  const Uses uses = uses_of(nest);
  for (const Pair& pair : pairs)
    if (Collapse collapse(nest, pairs, uses); collapse.is_possible(pair)) {
      collapse.run();
      return true;
    }
  return false;
}

} // namespace

void collapse(Nest& nest, const Target&, Remarks&)
{
  while (collapse_once(nest)) {
  }
}

} // namespace cnnc
