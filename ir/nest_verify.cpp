// What must hold of a nest, in this order:
// - buffers:   names unique, with their sigil; arguments before locals; layouts valid; registers and locals without
//              batch.
// - loops:     an index is used by one loop at a time; steps are positive; bounds use indices around them.
//              `parallel` loops are chains at the top with bounds of numbers and N; `unroll` and `lanes` have constant
//              bounds; `lanes` steps by 1, holds at most 64 and neither another `lanes` nor a loop that depends on it.
// - stores:    not into inputs; as many subscripts as dimensions; the value has the buffer's type; taps are integers
//              and belong to max= and min=; inside lanes the value depends on the lane only where the subscripts do.
// - registers: subscripts are constants and unrolled indices, the last may also use the lanes index, once.
// - functions: arguments as functions.def says; lane_sum and lane_max inside lanes, not under a mask, not in each
//              other.
// - places:    writes and unchecked reads stay in the buffer, where the bounds around them are constant (with n = 1 and
//              n = 3): intervals are exact there. Under an `if` on the same indices nothing is proved here; the
//              interpreter still checks.
#include "ir/checked.h"
#include "ir/nest.h"

#include <algorithm>
#include <limits>
#include <set>
#include <stdexcept>

#include <fmt/format.h>

namespace cnnc {

namespace {

constexpr int64_t lanes_limit = 64;

// Of one subscript: what may be read, and what written.
Interval readable(const Buffer& buffer, size_t dim, int64_t n)
{
  int number = static_cast<int>(dim);
  std::vector<int64_t> extents = axis_extents(buffer.layout, buffer.type.shape);
  int64_t extent = buffer.type.shape[dim].at(n);
  int64_t before = border_before(buffer.layout, number);
  int64_t padded = extent + border_after(buffer.layout, number);
  if (!buffer.type.shape[dim].batch)
    for (size_t i = 0; i < buffer.layout.axes.size(); ++i)
      if (const Axis& axis = buffer.layout.axes[i]; axis.dim == number && axis.modulo == 0 && axis.divide > 1)
        padded = std::max(padded, extents[i] * axis.divide);
  return {-before, padded - 1};
}

Interval writable(const Buffer& buffer, size_t dim, int64_t n)
{
  Interval all = readable(buffer, dim, n);
  int number = static_cast<int>(dim);
  return {0, all.hi - border_after(buffer.layout, number)};
}

class Verifier {
public:
  explicit Verifier(const Nest& nest) : nest(nest) {}

  void run()
  {
    buffers();
    for (const LoopIndex& index : nest.indices)
      if (index.name.empty() || index.name == "N")
        fail(fmt::format("an index cannot be called '{}'", index.name));
    for (int64_t n : {1, 3}) {
      batch = n;
      body(nest.body, Inside::top);
    }
  }

private:
  enum class Inside { top, parallel, code };

  struct Scope {
    LoopKind kind = LoopKind::serial;
    bool open = false;    // a loop with this index is around
    bool exact = false;   // its bounds are constant
    bool guarded = false; // an `if` around asks about it
    bool masked = false;  // likewise, and it is a lanes index
    Interval values;
  };

  [[noreturn]] void fail(const std::string& what) const { throw InternalError("nest @" + nest.name + ": " + what); }
  [[noreturn]] void fail(const std::string& what, const Node& node) const
  {
    std::string text = to_string(node, nest);
    if (size_t line = text.find('\n'); line != std::string::npos)
      text.resize(line);
    fail(what + ": " + text);
  }

  void buffers() const
  {
    std::set<std::string_view> names;
    bool arguments = true;
    for (const Buffer& buffer : nest.buffers) {
      auto refuse = [&](std::string_view what) { fail(fmt::format("buffer {}: {}", buffer.name, what)); };
      if (buffer.name.size() < 2 || (buffer.name[0] != '%' && buffer.name[0] != '@'))
        refuse("a name starts with % or @");
      if (!names.insert(buffer.name).second)
        refuse("the name is taken");
      if (buffer.role <= BufferRole::inout && !arguments)
        refuse("arguments come before locals");
      arguments = buffer.role <= BufferRole::inout;
      if (!arguments && has_batch(buffer.type.shape))
        refuse("a local has no batch");
      if (buffer.role == BufferRole::registers && !is_planar(buffer.layout))
        refuse("registers are planar");
      if (buffer.offset < 0 || buffer.offset % 64 != 0 || (buffer.offset != 0 && buffer.role != BufferRole::local))
        refuse("the offset is of locals, in steps of 64 bytes");
      const Ahead& ahead = buffer.ahead;
      if (ahead.bytes < 0 || (ahead.bytes != 0 && buffer.role > BufferRole::inout))
        refuse("only arguments are asked for ahead");
      if (ahead.turns < 1 || (ahead.turns & (ahead.turns - 1)) != 0 || (ahead.turns > 1) == ahead.loop.empty())
        refuse("turns are a loop's, and a power of two");
      if (ahead.images < 0 || (ahead.images != 0 && ahead.bytes == 0))
        refuse("images are of what is asked for ahead");
      try {
        cnnc::verify(buffer.layout, buffer.type.shape);
      } catch (const std::invalid_argument& error) {
        refuse(error.what());
      }
    }
  }

  void body(const std::vector<Node>& nodes, Inside inside)
  {
    for (const Node& node : nodes)
      std::visit([&](const auto& is) { check(is, node, inside, nodes.size() == 1 || &nodes == &nest.body); }, node.is);
  }

  // --- loops

  void check(const Loop& loop, const Node& node, Inside inside, bool alone)
  {
    if (loop.index < 0 || static_cast<size_t>(loop.index) >= nest.indices.size())
      fail(fmt::format("there is no index {}", loop.index));
    if (scope.size() < nest.indices.size())
      scope.resize(nest.indices.size());
    if (scope[static_cast<size_t>(loop.index)].open)
      fail("a loop around already uses the index", node);
    if (loop.step < 1)
      fail("the step is not positive", node);
    if (loop.begin.empty() || loop.end.empty())
      fail("a loop needs a begin and an end", node);
    bool numbers = true, batch_only = true;
    for (const std::vector<Affine>* bounds : {&loop.begin, &loop.end})
      for (const Affine& bound : *bounds) {
        known(bound, node);
        numbers = numbers && bound.is_constant();
        for (const Affine::Term& term : bound.terms) {
          batch_only = batch_only && term.index == batch_index;
          if (term.index != batch_index && scope[static_cast<size_t>(term.index)].kind == LoopKind::lanes)
            fail("the bounds differ from lane to lane", node);
        }
      }
    Scope next{.kind = loop.kind, .open = true, .exact = batch_only, .values = {}};
    next.values = batch_only ? values(loop, node) : Interval{};
    switch (loop.kind) {
    case LoopKind::serial: break;
    case LoopKind::parallel:
      if (inside == Inside::code || (inside == Inside::parallel && !alone))
        fail("parallel loops are chains at the top", node);
      if (!batch_only)
        fail("the bounds of a parallel loop depend on nothing but N", node);
      break;
    case LoopKind::lanes:
      if (lanes >= 0)
        fail("lanes inside lanes", node);
      if (loop.step != 1)
        fail("lanes step by 1", node);
      if (numbers && next.values.hi - next.values.lo >= lanes_limit)
        fail(fmt::format("more than {} lanes", lanes_limit), node);
      [[fallthrough]];
    case LoopKind::unroll:
      if (!numbers)
        fail("the bounds must be constants", node);
      break;
    }
    if (batch_only && next.values.hi < next.values.lo)
      return; // runs never
    scope[static_cast<size_t>(loop.index)] = next;
    int lanes_around = lanes;
    if (loop.kind == LoopKind::lanes)
      lanes = loop.index;
    body(loop.body, loop.kind == LoopKind::parallel ? Inside::parallel : Inside::code);
    lanes = lanes_around;
    scope[static_cast<size_t>(loop.index)].open = false;
  }

  Interval values(const Loop& loop, const Node& node) const
  {
    int64_t begin = std::numeric_limits<int64_t>::min(), end = std::numeric_limits<int64_t>::max();
    for (const Affine& a : loop.begin)
      begin = std::max(begin, interval(a, node).lo);
    for (const Affine& a : loop.end)
      end = std::min(end, interval(a, node).hi);
    if (begin >= end)
      return {0, -1};
    std::optional<int64_t> width = checked_sub(end - 1, begin);
    if (!width)
      fail("the bounds overflow", node);
    return {begin, begin + *width / loop.step * loop.step};
  }

  void check(const If& branch, const Node& node, Inside, bool)
  {
    known(branch.condition, node);
    bool exact = is_exact(branch.condition);
    Interval of = exact ? interval(branch.condition, node) : Interval{-1, 0};
    std::vector<Scope> before = scope;
    for (const Affine::Term& term : branch.condition.terms)
      if (term.index != batch_index) {
        Scope& of = scope[static_cast<size_t>(term.index)];
        of.guarded = true;
        of.masked = of.masked || of.kind == LoopKind::lanes;
      }
    if (of.hi >= 0)
      body(branch.then_body, Inside::code);
    if (of.lo < 0)
      body(branch.else_body, Inside::code);
    scope = std::move(before);
  }

  // --- stores

  void check(const ZeroBorder& zero, const Node& node, Inside, bool)
  {
    const Buffer& of = buffer(zero.buffer, node);
    if (of.role == BufferRole::in || of.role == BufferRole::registers)
      fail("only outputs and locals have borders of their own", node);
    if (zero.at.size() > of.type.shape.size())
      fail("more subscripts than dimensions", node);
    for (const Affine& a : zero.at) {
      known(a, node);
      if (lanes >= 0 && a.uses(lanes))
        fail("borders are not swept by lanes", node);
    }
    place(of, zero.at, node, false);
  }

  void check(const Prefetch& line, const Node& node, Inside, bool)
  {
    const Buffer& of = buffer(line.buffer, node);
    if (of.role == BufferRole::registers)
      fail("registers have no cache line", node);
    if (line.at.size() != of.type.shape.size())
      fail(fmt::format("{} subscripts for {} dimensions", line.at.size(), of.type.shape.size()), node);
    for (const Affine& a : line.at) {
      known(a, node);
      if (lanes >= 0 && a.uses(lanes))
        fail("one element names the line", node);
    }
    place(of, line.at, node, false);
  }

  void check(const Store& store, const Node& node, Inside, bool)
  {
    target(store.target, store.at, node);
    if (store.tap >= 0) {
      target(store.tap, store.at, node);
      DType type = nest.buffers[static_cast<size_t>(store.tap)].type.dtype;
      if (is_float(type) || type == DType::boolean)
        fail("a tap is an integer", node);
      if (store.update != Update::max && store.update != Update::min)
        fail("only max= and min= have a tap", node);
      known(store.tap_value, node);
    }
    if (!store.value)
      fail("a store without a value");
    bool varies = value(*store.value, node, false);
    if (store.value->type != nest.buffers[static_cast<size_t>(store.target)].type.dtype)
      fail(fmt::format("the value is {}", to_string(store.value->type)), node);
    if (lanes >= 0 && std::none_of(store.at.begin(), store.at.end(), [&](auto& a) { return a.uses(lanes); })) {
      if (varies || (store.tap >= 0 && store.tap_value.uses(lanes)))
        fail("every lane has its own value for one element", node);
      if (scope[static_cast<size_t>(lanes)].masked)
        fail("a masked store of one element", node);
    }
  }

  const Buffer& buffer(int number, const Node& node) const
  {
    if (number < 0 || static_cast<size_t>(number) >= nest.buffers.size())
      fail(fmt::format("there is no buffer {}", number), node);
    return nest.buffers[static_cast<size_t>(number)];
  }

  void target(int number, const std::vector<Affine>& at, const Node& node) const
  {
    const Buffer& of = buffer(number, node);
    if (of.role == BufferRole::in)
      fail("a store into an input", node);
    subscripts(of, at, node);
    place(of, at, node, true);
  }

  // --- expressions

  // True where the value differs from lane to lane.
  bool value(const Expr& e, const Node& node, bool in_lanes) const
  {
    bool varies = false;
    for (const Affine& a : e.at) {
      known(a, node);
      varies = varies || (lanes >= 0 && a.uses(lanes));
    }
    bool over_lanes = e.fn == Fn::lane_sum || e.fn == Fn::lane_max;
    for (const ExprPtr& arg : e.args) {
      if (!arg)
        fail("a function without an argument", node);
      varies = value(*arg, node, in_lanes || over_lanes) || varies;
    }
    if (e.fn == Fn::read) {
      const Buffer& of = buffer(e.tensor, node);
      if (of.type.dtype != e.type)
        fail(fmt::format("{} is read as {}", of.name, to_string(e.type)), node);
      subscripts(of, e.at, node);
      if (e.checked && of.role == BufferRole::registers)
        fail("registers have no outside", node);
      if (!e.checked)
        place(of, e.at, node, false);
    } else if (over_lanes) {
      if (lanes < 0 || in_lanes || scope[static_cast<size_t>(lanes)].masked)
        fail(fmt::format("{} needs lanes around it, all of them", to_string(e.fn)), node);
      if (e.args.size() != 1 || e.args[0]->type != e.type || e.type == DType::boolean)
        fail(fmt::format("{} takes one number", to_string(e.fn)), node);
      varies = false;
    } else if (e.fn == Fn::inside) {
      if (e.at.size() % 2 != 0)
        fail("inside takes pairs", node);
    } else if (e.fn == Fn::index) {
      if (e.at.size() != 1 || e.type != DType::i64)
        fail("an index value is one i64", node);
    } else if (e.fn == Fn::cast) {
      if (e.args.size() != 1)
        fail("cast takes one value", node);
    } else if (e.fn != Fn::constant) {
      ExprPtr again;
      try {
        again = call(e.fn, e.args); // checks the types
      } catch (const InternalError& error) {
        fail(error.what(), node);
      }
      if (again->type != e.type)
        fail(fmt::format("{} is {}", to_string(e.fn), to_string(again->type)), node);
    }
    return varies;
  }

  // --- subscripts

  void known(const Affine& a, const Node& node) const
  {
    for (const Affine::Term& term : a.terms)
      if (term.index != batch_index && (term.index < 0 || static_cast<size_t>(term.index) >= scope.size() ||
                                        !scope[static_cast<size_t>(term.index)].open))
        fail("an index is used outside of its loop", node);
  }

  void subscripts(const Buffer& of, const std::vector<Affine>& at, const Node& node) const
  {
    if (at.size() != of.type.shape.size())
      fail(fmt::format("{} has {} dimensions", of.name, of.type.shape.size()), node);
    for (const Affine& a : at)
      known(a, node);
    if (of.role != BufferRole::registers)
      return;
    for (size_t d = 0; d < at.size(); ++d)
      for (const Affine::Term& term : at[d].terms) {
        LoopKind kind = term.index == batch_index ? LoopKind::serial : scope[static_cast<size_t>(term.index)].kind;
        if (kind == LoopKind::lanes ? d + 1 != at.size() || term.factor != 1 : kind != LoopKind::unroll)
          fail("registers are numbered by unrolled loops, and by lanes in the last dimension", node);
      }
  }

  void place(const Buffer& of, const std::vector<Affine>& at, const Node& node, bool written) const
  {
    for (size_t d = 0; d < at.size(); ++d) {
      if (!is_exact(at[d]))
        continue;
      Interval reached = interval(at[d], node);
      Interval allowed = written ? writable(of, d, batch) : readable(of, d, batch);
      if (reached.lo < allowed.lo || reached.hi > allowed.hi)
        fail(fmt::format("subscript {} of {} reaches {}..{}, of {}..{}", d, of.name, reached.lo, reached.hi, allowed.lo,
                         allowed.hi),
             node);
    }
  }

  // Constant bounds, and no `if` around that narrows them.
  bool is_exact(const Affine& a) const
  {
    return std::all_of(a.terms.begin(), a.terms.end(), [&](const Affine::Term& term) {
      return term.index == batch_index ||
             (scope[static_cast<size_t>(term.index)].exact && !scope[static_cast<size_t>(term.index)].guarded);
    });
  }

  // Indices are independent of each other: no value between the two is missed by much, none outside is met.
  Interval interval(const Affine& a, const Node& node) const
  {
    std::optional<int64_t> lo = a.constant, hi = a.constant;
    for (const Affine::Term& term : a.terms) {
      Interval of = term.index == batch_index ? Interval{batch, batch} : scope[static_cast<size_t>(term.index)].values;
      std::optional<int64_t> p = checked_mul(of.lo, term.factor), q = checked_mul(of.hi, term.factor);
      if (p && q && lo && hi) {
        lo = checked_add(*lo, std::min(*p, *q));
        hi = checked_add(*hi, std::max(*p, *q));
      } else
        lo = hi = std::nullopt;
    }
    if (!lo || !hi)
      fail("the subscripts overflow", node);
    return {*lo, *hi};
  }

  const Nest& nest;
  std::vector<Scope> scope; // by index
  int lanes = -1;           // index of the lanes loop around
  int64_t batch = 1;
};

} // namespace

void verify(const Nest& nest)
{
  Verifier(nest).run();
}

} // namespace cnnc
