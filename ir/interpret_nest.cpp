// A nest executed as it stands, element by element, every place checked.
//
// Buffers hold their elements in logical order, as doubles (floats) or 64-bit integers (all others). What lies in a
// border or in pad lanes is zero and stays so.
#include "ir/checked.h"
#include "ir/interpret.h"
#include "ir/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace cnnc {

namespace {

// Tests interpret kernels; a nest that wants more memory than this is a mistake.
constexpr int64_t storage_limit = int64_t{1} << 32;

// An affine with its indices looked up: constant + sum of factor * values[slot].
struct Slots {
  int64_t constant = 0;
  std::vector<std::pair<size_t, int64_t>> terms;

  int64_t at(const std::vector<int64_t>& values) const
  {
    int64_t sum = constant;
    for (const auto& [slot, factor] : terms)
      sum += factor * values[slot];
    return sum;
  }
};

struct Code {
  const Expr* e = nullptr;
  int64_t integer = 0; // constants of integer type
  std::vector<Slots> at;
  std::vector<Code> args;
};

struct Storage {
  const Buffer* buffer = nullptr;
  bool is_real = false;
  std::vector<int64_t> extents, strides, lo, hi; // lo .. hi is what may be read
  std::vector<int64_t> pad_hi;                   // 0 .. pad_hi is what may be written: pads, but no borders
  std::vector<double> reals;
  std::vector<int64_t> integers;
  std::vector<bool> written; // registers
};

double rounded(double value, DType type)
{
  if (type == DType::f32)
    return static_cast<float>(value);
  if (type == DType::bf16) {
    auto bits = std::bit_cast<uint32_t>(static_cast<float>(value));
    if (std::isnan(value))
      return value;
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
    return std::bit_cast<float>(bits);
  }
  return value;
}

class Interpreter {
public:
  Interpreter(const Nest& nest, const std::vector<Tensor*>& arguments, int64_t batch, bool doubles)
      : nest(nest),
        doubles(doubles),
        values(nest.indices.size() + 1)
  {
    values.back() = batch;
    size_t count = static_cast<size_t>(std::count_if(nest.buffers.begin(), nest.buffers.end(),
                                                     [](const Buffer& b) { return b.role <= BufferRole::inout; }));
    if (arguments.size() != count)
      throw InternalError(fmt::format("nest @{} takes {} arguments, given are {}", nest.name, count, arguments.size()));
    int64_t total = 0;
    for (const Buffer& buffer : nest.buffers) {
      total += elements(buffer.type.shape) * (has_batch(buffer.type.shape) ? batch : 1);
      if (total > storage_limit)
        throw InternalError(fmt::format("nest @{} needs too much memory to interpret", nest.name));
    }
    for (size_t i = 0; i < nest.buffers.size(); ++i)
      storage.push_back(make(nest.buffers[i], i < count ? arguments[i] : nullptr, batch));
  }

  void run() { tasks(nest.body); }

  void give_back(const std::vector<Tensor*>& arguments) const
  {
    for (size_t b = 0; b < arguments.size(); ++b) {
      const Storage& from = storage[b];
      if (from.buffer->role == BufferRole::in)
        continue;
      Tensor& to = *arguments[b];
      for (int64_t i = 0, size = to.size(); i < size; ++i)
        if (to.dtype == DType::i64)
          to.data<int64_t>()[i] = from.integers[static_cast<size_t>(i)];
        else
          to.set(i, from.is_real ? from.reals[static_cast<size_t>(i)]
                                 : static_cast<double>(from.integers[static_cast<size_t>(i)]));
    }
  }

private:
  [[noreturn]] void fail(const std::string& what) const { throw InternalError("nest @" + nest.name + ": " + what); }

  Storage make(const Buffer& buffer, const Tensor* tensor, int64_t batch) const
  {
    Storage s;
    s.buffer = &buffer;
    s.is_real = is_float(buffer.type.dtype);
    int64_t size = 1;
    std::vector<int64_t> stored = axis_extents(buffer.layout, buffer.type.shape);
    for (size_t d = buffer.type.shape.size(); d-- > 0;) {
      int dim = static_cast<int>(d);
      int64_t extent = buffer.type.shape[d].at(batch), padded = extent;
      for (size_t i = 0; i < stored.size() && !buffer.type.shape[d].batch; ++i)
        if (const Axis& axis = buffer.layout.axes[i]; axis.dim == dim && axis.modulo == 0 && axis.divide > 1)
          padded = std::max(padded, stored[i] * axis.divide);
      s.extents.insert(s.extents.begin(), extent);
      s.strides.insert(s.strides.begin(), size);
      s.lo.insert(s.lo.begin(), -border_before(buffer.layout, dim));
      s.hi.insert(s.hi.begin(), padded - 1 + border_after(buffer.layout, dim));
      s.pad_hi.insert(s.pad_hi.begin(), padded - 1);
      size *= extent;
    }
    // A nest may see two of its dimensions as one.
    if (tensor && (tensor->size() != size || is_float(tensor->dtype) != s.is_real))
      fail(fmt::format("argument {} is not {}", buffer.name, to_string(buffer.type)));
    bool filled = tensor && buffer.role != BufferRole::out;
    if (s.is_real) {
      // What nobody wrote spoils whatever uses it.
      s.reals.assign(static_cast<size_t>(size), filled ? 0 : std::numeric_limits<double>::quiet_NaN());
      for (int64_t i = 0; filled && i < size; ++i)
        s.reals[static_cast<size_t>(i)] = tensor->get(i);
    } else {
      s.integers.assign(static_cast<size_t>(size), 0);
      for (int64_t i = 0; filled && i < size; ++i)
        s.integers[static_cast<size_t>(i)] =
            tensor->dtype == DType::i64 ? tensor->data<int64_t>()[i] : static_cast<int64_t>(tensor->get(i));
    }
    if (buffer.role == BufferRole::registers)
      s.written.assign(static_cast<size_t>(size), false);
    return s;
  }

  // --- loops

  static const Loop* parallel(const Node& node)
  {
    const auto* loop = std::get_if<Loop>(&node.is);
    return loop && loop->kind == LoopKind::parallel ? loop : nullptr;
  }

  // Chains of parallel loops at the top, and what stands between two of them as one task.
  void tasks(const std::vector<Node>& nodes)
  {
    bool in_task = false;
    for (const Node& node : nodes) {
      if (const Loop* loop = parallel(node)) {
        each(*loop, [&] { tasks(loop->body); });
        in_task = false;
        continue;
      }
      if (!in_task)
        forget();
      in_task = true;
      std::visit([&](const auto& is) { run(is); }, node.is);
    }
  }

  // A task finds locals and registers as if nobody had used them.
  void forget()
  {
    for (Storage& s : storage) {
      if (s.buffer->role < BufferRole::local)
        continue;
      std::fill(s.reals.begin(), s.reals.end(), std::numeric_limits<double>::quiet_NaN());
      std::fill(s.written.begin(), s.written.end(), false);
    }
  }

  template<class Body>
  void each(const Loop& loop, const Body& body)
  {
    auto [begin, end] = bounds(loop);
    int64_t& value = values[static_cast<size_t>(loop.index)];
    for (int64_t i = begin; i < end; i += loop.step) {
      value = i;
      body();
    }
  }

  std::pair<int64_t, int64_t> bounds(const Loop& loop) const
  {
    int64_t begin = std::numeric_limits<int64_t>::min(), end = std::numeric_limits<int64_t>::max();
    for (const Affine& a : loop.begin)
      begin = std::max(begin, now(a));
    for (const Affine& a : loop.end)
      end = std::min(end, now(a));
    return {begin, end};
  }

  int64_t now(const Affine& a) const
  {
    return evaluate(a, [&](int index) { return values[slot(index)]; });
  }

  size_t slot(int index) const { return index == batch_index ? values.size() - 1 : static_cast<size_t>(index); }

  void run(const std::vector<Node>& nodes)
  {
    for (const Node& node : nodes)
      std::visit([&](const auto& is) { run(is); }, node.is);
  }

  void run(const Loop& loop)
  {
    if (loop.kind != LoopKind::lanes)
      return each(loop, [&] { run(loop.body); });
    auto [begin, end] = bounds(loop);
    if (begin >= end)
      return;
    lanes = &loop;
    lane_begin = begin;
    active.assign(static_cast<size_t>(end - begin), true);
    run(loop.body);
    lanes = nullptr;
  }

  void run(const If& branch)
  {
    if (!lanes || !branch.condition.uses(lanes->index))
      return run(now(branch.condition) >= 0 ? branch.then_body : branch.else_body);
    std::vector<bool> around = active;
    for (bool wanted : {true, false}) {
      int64_t& lane = values[static_cast<size_t>(lanes->index)];
      for (size_t l = 0; l < active.size(); ++l) {
        lane = lane_begin + static_cast<int64_t>(l);
        active[l] = around[l] && (now(branch.condition) >= 0) == wanted;
      }
      run(wanted ? branch.then_body : branch.else_body);
    }
    active = std::move(around);
  }

  void run(const ZeroBorder&) {} // borders are zero here
  void run(const Prefetch&) {}

  void run(const Store& store)
  {
    auto [found, is_new] = codes.try_emplace(&store);
    if (is_new) {
      found->second.value = compile(*store.value);
      for (const Affine& a : store.at)
        found->second.at.push_back(slots(a));
    }
    const StoreCode& code = found->second;
    bool varies = lanes && std::any_of(store.at.begin(), store.at.end(), [&](auto& a) { return a.uses(lanes->index); });
    if (!varies) {
      if (lanes)
        values[static_cast<size_t>(lanes->index)] = lane_begin;
      return write(store, code, result(code.value));
    }
    // All values first: a vector is computed before it is stored.
    std::vector<Number> all(active.size());
    int64_t& lane = values[static_cast<size_t>(lanes->index)];
    for (size_t l = 0; l < active.size(); ++l)
      if (active[l]) {
        lane = lane_begin + static_cast<int64_t>(l);
        all[l] = result(code.value);
      }
    for (size_t l = 0; l < active.size(); ++l)
      if (active[l]) {
        lane = lane_begin + static_cast<int64_t>(l);
        write(store, code, all[l]);
      }
  }

  // --- stores

  struct Number {
    double real = 0;
    int64_t integer = 0;
  };
  struct StoreCode {
    Code value;
    std::vector<Slots> at;
  };

  Number result(const Code& code)
  {
    if (is_float(code.e->type))
      return {real(code), 0};
    return {0, integer(code)};
  }

  void write(const Store& store, const StoreCode& code, Number value)
  {
    Storage& to = storage[static_cast<size_t>(store.target)];
    size_t offset = 0;
    bool pad = false;
    for (size_t d = 0; d < code.at.size(); ++d) {
      int64_t at = code.at[d].at(values);
      if (at < 0 || at > to.pad_hi[d])
        fail(fmt::format("a store to {} falls outside: subscript {} is {}", to.buffer->name, d, at));
      pad = pad || at >= to.extents[d];
      offset += static_cast<size_t>(at * to.strides[d]);
    }
    if (pad) {
      if (value.real != 0 || value.integer != 0)
        fail(fmt::format("a pad lane of {} would not be zero", to.buffer->name));
      return;
    }
    if (store.update != Update::assign && !to.written.empty() && !to.written[offset])
      fail(fmt::format("{} is updated before it was written", to.buffer->name));
    bool wins = false;
    if (to.is_real) {
      double& old = to.reals[offset];
      switch (store.update) {
      case Update::assign: old = value.real; break;
      case Update::sum: old += value.real; break;
      case Update::max: wins = value.real > old; break;
      case Update::min: wins = value.real < old; break;
      }
      if (wins)
        old = value.real;
      if (!doubles)
        old = rounded(old, to.buffer->type.dtype);
    } else {
      int64_t& old = to.integers[offset];
      switch (store.update) {
      case Update::assign: old = value.integer; break;
      case Update::sum: {
        int64_t both[] = {old, value.integer};
        old = apply(Fn::add, both);
        break;
      }
      case Update::max: wins = value.integer > old; break;
      case Update::min: wins = value.integer < old; break;
      }
      if (wins)
        old = value.integer;
      old = wrap(old, to.buffer->type.dtype);
    }
    if (!to.written.empty())
      to.written[offset] = true;
    if (wins && store.tap >= 0) {
      Storage& tap = storage[static_cast<size_t>(store.tap)];
      size_t place = 0;
      for (size_t d = 0; d < code.at.size(); ++d) {
        int64_t at = code.at[d].at(values);
        if (at >= tap.extents[d])
          fail(fmt::format("a tap of {} falls outside", tap.buffer->name));
        place += static_cast<size_t>(at * tap.strides[d]);
      }
      tap.integers[place] = wrap(now(store.tap_value), tap.buffer->type.dtype);
      if (!tap.written.empty())
        tap.written[place] = true;
    }
  }

  // --- expressions

  Slots slots(const Affine& a) const
  {
    Slots result{a.constant, {}};
    for (const Affine::Term& term : a.terms)
      result.terms.emplace_back(slot(term.index), term.factor);
    return result;
  }

  Code compile(const Expr& e) const
  {
    Code code;
    code.e = &e;
    if (e.fn == Fn::constant && !is_float(e.type))
      code.integer = to_integer(e.value);
    for (const Affine& a : e.at)
      code.at.push_back(slots(a));
    for (const ExprPtr& arg : e.args)
      code.args.push_back(compile(*arg));
    return code;
  }

  // Where the element lies; nothing for zeros around it.
  std::optional<size_t> place(const Code& code, const Storage& from) const
  {
    int64_t offset = 0;
    bool outside = false;
    for (size_t d = 0; d < code.at.size(); ++d) {
      int64_t at = code.at[d].at(values);
      if (at < 0 || at >= from.extents[d]) {
        if (!code.e->checked && (at < from.lo[d] || at > from.hi[d]))
          fail(fmt::format("a read of {} falls outside: subscript {} is {}", from.buffer->name, d, at));
        outside = true;
      } else
        offset += at * from.strides[d];
    }
    if (outside)
      return {};
    if (!from.written.empty() && !from.written[static_cast<size_t>(offset)])
      fail(fmt::format("{} is read before it was written", from.buffer->name));
    return static_cast<size_t>(offset);
  }

  double real(const Code& code)
  {
    switch (code.e->fn) {
    case Fn::constant: return code.e->value;
    case Fn::read: {
      const Storage& from = storage[static_cast<size_t>(code.e->tensor)];
      std::optional<size_t> at = place(code, from);
      return at ? from.reals[*at] : 0;
    }
    case Fn::cast:
      if (!is_float(code.args[0].e->type))
        return static_cast<double>(integer(code.args[0]));
      return doubles ? real(code.args[0]) : rounded(real(code.args[0]), code.e->type);
    case Fn::add: return real(code.args[0]) + real(code.args[1]);
    case Fn::mul: return real(code.args[0]) * real(code.args[1]);
    case Fn::select: return integer(code.args[0]) ? real(code.args[1]) : real(code.args[2]);
    case Fn::random:
      return random_unit(static_cast<uint64_t>(integer(code.args[0])), static_cast<uint64_t>(integer(code.args[1])));
    case Fn::lane_sum:
    case Fn::lane_max: {
      double all = code.e->fn == Fn::lane_sum ? 0 : -std::numeric_limits<double>::infinity();
      each_lane([&] {
        double value = real(code.args[0]);
        all = code.e->fn == Fn::lane_sum ? all + value : value > all ? value : all;
      });
      return all;
    }
    default: {
      double args[3] = {};
      for (size_t i = 0; i < code.args.size(); ++i)
        args[i] = real(code.args[i]);
      return apply(code.e->fn, args);
    }
    }
  }

  int64_t integer(const Code& code)
  {
    switch (code.e->fn) {
    case Fn::constant: return code.integer;
    case Fn::index: return code.at[0].at(values);
    case Fn::inside:
      for (size_t i = 0; i < code.at.size(); i += 2)
        if (int64_t at = code.at[i].at(values); at < 0 || at >= code.at[i + 1].at(values))
          return 0;
      return 1;
    case Fn::read: {
      const Storage& from = storage[static_cast<size_t>(code.e->tensor)];
      std::optional<size_t> at = place(code, from);
      return at ? from.integers[*at] : 0;
    }
    case Fn::cast: {
      if (!is_float(code.args[0].e->type))
        return wrap(integer(code.args[0]), code.e->type);
      double value = cast_value(code.e->type, real(code.args[0]));
      return value >= 0x1p63 ? std::numeric_limits<int64_t>::max() : static_cast<int64_t>(value);
    }
    case Fn::select: return integer(code.args[0]) ? integer(code.args[1]) : integer(code.args[2]);
    case Fn::lane_sum:
    case Fn::lane_max: {
      bool sum = code.e->fn == Fn::lane_sum;
      int64_t all[2] = {sum ? 0 : std::numeric_limits<int64_t>::min(), 0};
      each_lane([&] {
        all[1] = integer(code.args[0]);
        all[0] = apply(sum ? Fn::add : Fn::max, all);
      });
      return wrap(all[0], code.e->type);
    }
    default: break;
    }
    if (!code.args.empty() && is_float(code.args[0].e->type)) { // a comparison
      double args[3] = {};
      for (size_t i = 0; i < code.args.size(); ++i)
        args[i] = real(code.args[i]);
      return apply(code.e->fn, args) != 0;
    }
    int64_t args[3] = {};
    for (size_t i = 0; i < code.args.size(); ++i)
      args[i] = integer(code.args[i]);
    return wrap(apply(code.e->fn, args), code.e->type);
  }

  template<class Body>
  void each_lane(const Body& body)
  {
    int64_t& lane = values[static_cast<size_t>(lanes->index)];
    int64_t before = lane;
    for (size_t l = 0; l < active.size(); ++l) {
      lane = lane_begin + static_cast<int64_t>(l);
      body();
    }
    lane = before;
  }

  const Nest& nest;
  bool doubles;
  std::vector<int64_t> values; // of indices; the batch is last
  std::vector<Storage> storage;
  std::map<const Store*, StoreCode> codes;
  const Loop* lanes = nullptr; // around
  int64_t lane_begin = 0;
  std::vector<bool> active; // lanes that no `if` masks
};

} // namespace

void interpret(const Nest& nest, const std::vector<Tensor*>& arguments, int64_t batch, bool doubles)
{
  verify(nest);
  if (batch < 0)
    throw InternalError(fmt::format("nest @{}: a batch of {}", nest.name, batch));
  Interpreter interpreter(nest, arguments, batch, doubles);
  interpreter.run();
  interpreter.give_back(arguments);
}

} // namespace cnnc
