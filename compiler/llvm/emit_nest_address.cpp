// Where an element lies: subscripts and a layout become a base pointer per loop level plus a constant.
//
//   axis of dimension d, divide D, stride S:   S * floor(s / D),  s = subscript + before
//   divide D and modulo M: the remainder by D * M, divided by D
//   s = exact + rest, where every term of `exact` is a multiple of D (its index steps that far):
//   rest within [q*D, q*D + D)  =>  S * (exact / D + q);   for modulo D:  S * (rest - q*D)
//
// Where that cannot be proved, the quotient is computed at run time: of the part that steps in larger strides, if the
// others stay within such a stride.
#include "compiler/llvm/emitter.h"

#include "ir/location.h"

#include <algorithm>
#include <numeric>

namespace cnnc {

namespace {

enum Memo : int64_t {
  memo_sum,
  memo_pointer,
  memo_quotient,
  memo_remainder,
  memo_cut,
  memo_check,
  memo_turn,
  memo_ahead
};

int64_t bounded(__int128 x)
{
  return static_cast<int64_t>(std::clamp<__int128>(x, -unbounded, unbounded));
}

int64_t floor_mod(int64_t a, int64_t b)
{
  return a - floor_div(a, b) * b;
}

} // namespace

const Fact& Emitter::fact(int index) const
{
  if (index == batch_index)
    return batch;
  const Fact& fact = facts.at(static_cast<size_t>(index));
  if (fact.kind == Fact::Kind::unknown)
    fail("index '" + nest.indices[static_cast<size_t>(index)].name + "' is used outside of its loop");
  return fact;
}

Affine Emitter::known(const Affine& a) const
{
  Affine result = a.constant;
  for (const Affine::Term& term : a.terms) {
    const Fact& x = fact(term.index);
    if (x.kind == Fact::Kind::constant) {
      result.constant += term.factor * x.value;
    } else if (x.kind == Fact::Kind::same) {
      result += x.as * term.factor;
    } else if (x.kind == Fact::Kind::lane) {
      result.constant += term.factor * lanes.begin;
      result += Affine::of(term.index, term.factor * lanes.step);
    } else {
      result += Affine::of(term.index, term.factor);
    }
  }
  return result;
}

Range Emitter::range_of(const Affine& known) const
{
  __int128 lo = known.constant, hi = known.constant;
  for (const Affine::Term& term : known.terms) {
    const Range& x = fact(term.index).range;
    __int128 a = static_cast<__int128>(x.lo) * term.factor, b = static_cast<__int128>(x.hi) * term.factor;
    lo += std::min(a, b);
    hi += std::max(a, b);
  }
  return {bounded(lo), bounded(hi)};
}

void Emitter::multiple_of(const Affine& known, int64_t* modulus, int64_t* residue) const
{
  *modulus = 0;
  *residue = known.constant;
  for (const Affine::Term& term : known.terms) {
    const Fact& x = fact(term.index);
    *modulus = std::gcd(*modulus, term.factor * x.modulus);
    *residue += term.factor * x.residue;
  }
}

int Emitter::level_of(const Affine& known) const
{
  int level = 0;
  for (const Affine::Term& term : known.terms)
    if (fact(term.index).kind == Fact::Kind::scalar)
      level = std::max(level, fact(term.index).level);
  return level;
}

llvm::Value* Emitter::at_level(int level, std::vector<int64_t> key, const std::function<llvm::Value*()>& emit)
{
  Level& at = levels[static_cast<size_t>(level)];
  if (auto found = at.memo.find(key); found != at.memo.end())
    return found->second;
  llvm::IRBuilderBase::InsertPointGuard guard(b);
  b.SetInsertPoint(at.marker);
  llvm::Value* value = emit();
  // `emit` may have pushed into this very memo: look the level up again.
  levels[static_cast<size_t>(level)].memo.emplace(std::move(key), value);
  return value;
}

llvm::Value* Emitter::scalar(const Affine& known)
{
  std::vector<Affine::Term> terms = known.terms;
  std::stable_sort(terms.begin(), terms.end(), [&](const Affine::Term& x, const Affine::Term& y) {
    return fact(x.index).level < fact(y.index).level;
  });
  llvm::Value* sum = nullptr;
  std::vector<int64_t> key{memo_sum};
  int level = 0;
  for (size_t i = 0; i < terms.size();) {
    level = fact(terms[i].index).level;
    size_t end = i;
    for (; end < terms.size() && fact(terms[end].index).level == level; ++end)
      key.insert(key.end(), {terms[end].index, terms[end].factor});
    sum = at_level(level, key, [&] {
      llvm::Value* all = sum;
      for (; i < end; ++i) {
        const Fact& x = fact(terms[i].index);
        if (x.kind != Fact::Kind::scalar)
          fail("a lanes index where a scalar is wanted");
        llvm::Value* term = terms[i].factor == 1
                                ? x.scalar
                                : b.CreateNSWMul(x.scalar, b.getInt64(static_cast<uint64_t>(terms[i].factor)));
        all = all ? b.CreateNSWAdd(all, term) : term;
      }
      return all;
    });
    i = end;
  }
  llvm::Value* constant = b.getInt64(static_cast<uint64_t>(known.constant));
  if (!sum)
    return constant;
  if (known.constant == 0)
    return sum;
  key.push_back(known.constant);
  return at_level(level, key, [&] { return b.CreateNSWAdd(sum, constant); });
}

llvm::Value* Emitter::lane_values(const Affine& known, llvm::Type* type)
{
  int64_t factor = known.factor(lanes.index);
  std::vector<llvm::Constant*> each;
  for (int lane = 0; lane < lanes.width; ++lane)
    each.push_back(llvm::ConstantInt::getSigned(type, lane < lanes.count ? factor * lane : 0));
  llvm::Constant* offsets = llvm::ConstantVector::get(each);
  Affine rest = known.without(lanes.index);
  llvm::Value* base = b.CreateTrunc(scalar(rest), type);
  return b.CreateAdd(b.CreateVectorSplat(static_cast<unsigned>(lanes.width), base), offsets);
}

llvm::Value* Emitter::quotient(const Affine& known, int64_t divisor, bool remainder)
{
  bool of_lanes = lanes.index >= 0 && known.uses(lanes.index);
  std::vector<int64_t> key{remainder ? memo_remainder : memo_quotient, divisor, known.constant};
  for (const Affine::Term& term : known.terms)
    key.insert(key.end(), {term.index, term.factor});
  if (of_lanes)
    key.insert(key.end(), {lanes.begin, lanes.step, lanes.count});
  bool negative = range_of(known).lo < 0;
  // Sums first: they may belong to outer levels, and emit into them.
  llvm::Value* s = of_lanes ? nullptr : scalar(known);
  return at_level(level_of(known), key, [&]() -> llvm::Value* {
    if (of_lanes)
      s = lane_values(known, b.getInt64Ty());
    llvm::Type* type = s->getType();
    llvm::Value* d = llvm::ConstantInt::getSigned(type, divisor);
    if ((divisor & (divisor - 1)) == 0) // shifts round towards minus infinity, as wanted
      return remainder
                 ? b.CreateAnd(s, llvm::ConstantInt::getSigned(type, divisor - 1))
                 : b.CreateAShr(s, llvm::ConstantInt::getSigned(type, __builtin_ctzll(static_cast<uint64_t>(divisor))));
    if (!negative)
      return remainder ? b.CreateURem(s, d) : b.CreateUDiv(s, d);
    llvm::Value* r = b.CreateSRem(s, d);
    llvm::Value* below = b.CreateICmpSLT(r, llvm::ConstantInt::getSigned(type, 0));
    return remainder ? b.CreateSelect(below, b.CreateAdd(r, d), r)
                     : b.CreateAdd(b.CreateSDiv(s, d), b.CreateSExt(below, type));
  });
}

// By how many bytes an iteration's lines lie behind those of the first one; nullptr where all of them ask for all lines.
llvm::Value* Emitter::turn_of(const Ahead& ahead)
{
  for (size_t i = 0; ahead.turns > 1 && i < nest.indices.size(); ++i)
    if (const Fact& loop = facts[i]; nest.indices[i].name == ahead.loop && loop.kind == Fact::Kind::scalar) {
      const Affine iteration = Affine::of(static_cast<int>(i));
      llvm::Value* number = loop.modulus > 1 ? quotient(iteration, loop.modulus, false) : scalar(iteration);
      return at_level(loop.level, {memo_turn, static_cast<int64_t>(i), ahead.turns}, [&] {
        return b.CreateMul(b.CreateAnd(number, b.getInt64(static_cast<uint64_t>(ahead.turns - 1))),
                           b.getInt64(cache_line));
      });
    }
  return nullptr;
}

llvm::Value* Emitter::bytes_ahead(const Ahead& ahead)
{
  llvm::Value* bytes = b.getInt64(static_cast<uint64_t>(ahead.bytes));
  if (ahead.images == 0)
    return bytes;
  return at_level(batch.level, {memo_ahead, ahead.bytes, ahead.images}, [&] {
    llvm::Value* is_large =
        b.CreateICmpSGE(scalar(Affine::of(batch_index)), b.getInt64(static_cast<uint64_t>(ahead.images)));
    return b.CreateSelect(is_large, bytes, b.getInt64(0));
  });
}

void Emitter::add_axis(Address& address, const Affine& s, int64_t stride, const Axis& axis)
{
  auto add_lane = [&](auto&& offset) {
    address.lanes.resize(static_cast<size_t>(lanes.count));
    for (int lane = 0; lane < lanes.count; ++lane)
      address.lanes[static_cast<size_t>(lane)] += offset(lane);
  };
  auto add = [&](const Affine& a) {
    int64_t factor = lanes.index >= 0 ? a.factor(lanes.index) : 0;
    if (factor == 0) {
      address.scalar += a;
      return;
    }
    address.scalar += a.without(lanes.index);
    add_lane([&](int lane) { return factor * lane; });
  };

  if (axis.modulo == 0 && axis.divide == 1)
    return add(s * stride);
  if (axis.modulo != 0 && axis.divide != 1)
    return add_cut_axis(address, s, stride, axis);
  bool remainder = axis.modulo != 0;
  int64_t divisor = remainder ? axis.modulo : axis.divide;

  Affine exact, rest = s.constant;
  bool scales = true; // exact * stride / divisor is a whole number in every term
  for (const Affine::Term& term : s.terms) {
    const Fact& x = fact(term.index);
    if (x.kind == Fact::Kind::scalar && term.factor * x.modulus % divisor == 0) {
      exact += Affine::of(term.index, term.factor);
      exact.constant -= term.factor * x.residue;
      rest.constant += term.factor * x.residue;
      scales = scales && term.factor * stride % divisor == 0;
    } else {
      rest += Affine::of(term.index, term.factor);
    }
  }
  auto add_exact = [&] {
    Affine scaled = exact * stride;
    scaled.constant /= divisor;
    for (Affine::Term& term : scaled.terms)
      term.factor /= divisor;
    address.scalar += scaled;
  };

  Range range = range_of(rest);
  bool only_lanes = rest.terms.empty() || (rest.terms.size() == 1 && rest.terms[0].index == lanes.index);
  int64_t q = floor_div(range.lo, divisor);
  if (q == floor_div(range.hi, divisor) && (remainder || scales)) {
    if (remainder)
      return add((rest - q * divisor) * stride);
    add_exact();
    address.scalar += q * stride;
    return;
  }
  if (only_lanes && (remainder || scales)) {
    int64_t factor = rest.terms.empty() ? 0 : rest.terms[0].factor;
    if (!remainder)
      add_exact();
    return add_lane([&](int lane) {
      int64_t at = rest.constant + factor * lane;
      return stride * (remainder ? floor_mod(at, divisor) : floor_div(at, divisor));
    });
  }
  // s = base + within, base a multiple of g (which divides D) and within in [0, g): only base needs dividing, and the
  // lanes and unrolled steps inside of one block stay in a row.
  int64_t g, residue;
  multiple_of(lanes.index >= 0 ? s.without(lanes.index) : s, &g, &residue);
  g = std::gcd(g, divisor);
  Affine lane_part = lanes.index >= 0 ? Affine::of(lanes.index, s.factor(lanes.index)) : Affine();
  range = range_of(lane_part + residue);
  int64_t block = floor_div(range.lo, g);
  if (block == floor_div(range.hi, g)) {
    Affine within = lane_part + (residue - block * g), base = s - within;
    address.computed.push_back({quotient(base, divisor, remainder), level_of(base), stride});
    if (remainder)
      add(within * stride);
    return;
  }
  llvm::Value* value = quotient(s, divisor, remainder);
  if (!is_vector(value)) {
    address.computed.push_back({value, level_of(s), stride});
    return;
  }
  value = b.CreateMul(value, llvm::ConstantInt::getSigned(value->getType(), stride));
  address.vector = address.vector ? b.CreateAdd(address.vector, value) : value;
}

void Emitter::add_cut_axis(Address& address, const Affine& s, int64_t stride, const Axis& axis)
{
  const int64_t block = axis.divide * axis.modulo;
  // Of each term what is a multiple of the block falls away, what is one of D can be divided.
  Affine rest = s.constant, parts;
  bool divides = true;
  for (const Affine::Term& term : s.terms) {
    const Fact& x = fact(term.index);
    if (x.kind == Fact::Kind::scalar && term.factor * x.modulus % block == 0) {
      rest.constant += term.factor * x.residue;
      continue;
    }
    rest += Affine::of(term.index, term.factor);
    if (x.kind == Fact::Kind::scalar && term.factor * x.modulus % axis.divide == 0 && term.factor % axis.divide == 0)
      parts += Affine::of(term.index, term.factor / axis.divide);
    else
      divides = false;
  }
  const Range range = range_of(rest);
  const int64_t q = floor_div(range.lo, block);
  if (divides && q == floor_div(range.hi, block)) {
    address.scalar += (parts + floor_div(rest.constant - q * block, axis.divide)) * stride;
    return;
  }
  if (lanes.index >= 0 && rest.terms.size() == 1 && rest.terms[0].index == lanes.index) {
    address.lanes.resize(static_cast<size_t>(lanes.count));
    for (int lane = 0; lane < lanes.count; ++lane)
      address.lanes[static_cast<size_t>(lane)] +=
          stride * (floor_mod(rest.constant + rest.terms[0].factor * lane, block) / axis.divide);
    return;
  }
  llvm::Value* within = quotient(rest, block, true);
  std::vector<int64_t> key{memo_cut, reinterpret_cast<int64_t>(within), axis.divide};
  const int level = level_of(rest);
  llvm::Value* value = at_level(
      level, key, [&] { return b.CreateUDiv(within, llvm::ConstantInt::getSigned(within->getType(), axis.divide)); });
  if (!is_vector(value)) {
    address.computed.push_back({value, level, stride});
    return;
  }
  value = b.CreateMul(value, llvm::ConstantInt::getSigned(value->getType(), stride));
  address.vector = address.vector ? b.CreateAdd(address.vector, value) : value;
}

Address Emitter::address(int buffer, const std::vector<Affine>& at)
{
  const Buffer& of = nest.buffers[static_cast<size_t>(buffer)];
  if (at.size() != of.type.shape.size())
    fail(of.name + " has another number of subscripts than dimensions");
  const std::vector<int64_t>& strides = buffers[static_cast<size_t>(buffer)].strides;
  Address address;
  for (size_t k = 0; k < of.layout.axes.size(); ++k) {
    const Axis& axis = of.layout.axes[k];
    Affine s = known(at[static_cast<size_t>(axis.dim)]);
    s.constant += axis.before;
    add_axis(address, s, strides[k], axis);
  }
  if (address.vector && address.lanes.empty())
    address.lanes.resize(static_cast<size_t>(lanes.count));
  return address;
}

llvm::Value* Emitter::pointer(int buffer, const Address& address, int64_t more)
{
  struct Part {
    int level;
    int64_t id, factor;
    llvm::Value* value;
  };
  std::vector<Part> parts;
  for (const Affine::Term& term : address.scalar.terms)
    parts.push_back({fact(term.index).level, term.index, term.factor, fact(term.index).scalar});
  for (const Address::Computed& part : address.computed)
    parts.push_back({part.level, reinterpret_cast<int64_t>(part.value), part.factor, part.value});
  std::stable_sort(parts.begin(), parts.end(), [](const Part& x, const Part& y) { return x.level < y.level; });

  int64_t bytes = bytes_of(nest.buffers[static_cast<size_t>(buffer)].type.dtype);
  llvm::Value* at = buffers[static_cast<size_t>(buffer)].pointer;
  std::vector<int64_t> key{memo_pointer, buffer};
  for (size_t i = 0; i < parts.size();) {
    int level = parts[i].level;
    size_t end = i;
    for (; end < parts.size() && parts[end].level == level; ++end)
      key.insert(key.end(), {parts[end].id, parts[end].factor});
    at = at_level(level, key, [&]() -> llvm::Value* {
      // One term of a loop: a pointer that goes on with it, unless the index can be scaled in the access itself.
      Level& loop = levels[static_cast<size_t>(level)];
      int64_t scale = parts[i].factor * bytes;
      if (end == i + 1 && parts[i].id == loop.index && scale != 1 && scale != 2 && scale != 4 && scale != 8) {
        llvm::IRBuilderBase::InsertPointGuard guard(b);
        b.SetInsertPoint(loop.before->getTerminator());
        llvm::Value* offset = b.CreateNSWMul(loop.begin, b.getInt64(static_cast<uint64_t>(scale)));
        llvm::Value* first = b.CreatePtrAdd(at, offset);
        llvm::BasicBlock* head = loop.marker->getParent();
        b.SetInsertPoint(head, head->getFirstNonPHIIt());
        llvm::PHINode* phi = b.CreatePHI(at->getType(), 2);
        phi->addIncoming(first, loop.before);
        loop.pointers.push_back({phi, scale});
        return phi;
      }
      llvm::Value* offset = nullptr;
      for (; i < end; ++i) {
        llvm::Value* term = b.CreateNSWMul(parts[i].value, b.getInt64(static_cast<uint64_t>(parts[i].factor * bytes)));
        offset = offset ? b.CreateNSWAdd(offset, term) : term;
      }
      return b.CreatePtrAdd(at, offset);
    });
    i = end;
  }
  int64_t constant = (address.scalar.constant + more) * bytes;
  return constant == 0 ? at : b.CreatePtrAdd(at, b.getInt64(static_cast<uint64_t>(constant)));
}

Mask Emitter::lane_mask() const
{
  Mask mask;
  if (lanes.index >= 0 && !lanes.all())
    mask.lanes = lanes.active;
  return mask;
}

void Emitter::check(Mask& mask, const Affine& s, const Affine& extent, int64_t before, int64_t after)
{
  Range range = range_of(s);
  // extent - s > -after holds where s is an index whose loop ends early enough; the plain ranges say nothing about n.
  bool below = range_of(extent - s).lo > -after;
  if (!below && s.terms.size() == 1 && s.terms[0].factor == 1 && fact(s.terms[0].index).kind == Fact::Kind::scalar)
    for (const Affine& end : fact(s.terms[0].index).ends)
      below = below || range_of(extent - end - s.constant).lo >= -after;
  if (range.lo >= -before && below)
    return;

  bool of_lanes = lanes.index >= 0 && s.uses(lanes.index);
  if (s.is_constant() && extent.is_constant()) {
    mask.condition = b.getFalse();
  } else if (!of_lanes) {
    std::vector<int64_t> key{memo_check, s.constant, extent.constant, extent.factor(batch_index)};
    for (const Affine::Term& term : s.terms)
      key.insert(key.end(), {term.index, term.factor});
    llvm::Value *at = scalar(s), *end = scalar(extent);
    // Unsigned: a negative subscript is beyond every extent.
    llvm::Value* inside =
        at_level(std::max(level_of(s), level_of(extent)), key, [&] { return b.CreateICmpULT(at, end); });
    mask.condition = mask.condition ? b.CreateAnd(mask.condition, inside) : inside;
  } else if (s.terms.size() == 1 && extent.is_constant()) {
    if (mask.lanes.empty())
      mask.lanes.assign(static_cast<size_t>(lanes.width), true);
    for (int lane = 0; lane < lanes.count; ++lane) {
      int64_t at = s.constant + s.terms[0].factor * lane;
      if (at < 0 || at >= extent.constant)
        mask.lanes[static_cast<size_t>(lane)] = false;
    }
  } else {
    Range end = range_of(extent);
    constexpr int64_t narrow = int64_t{1} << 30;
    bool fits = range.lo > -narrow && range.hi < narrow && end.hi < narrow;
    llvm::Type* type = fits ? b.getInt32Ty() : b.getInt64Ty();
    llvm::Value* limit = b.CreateVectorSplat(static_cast<unsigned>(lanes.width), b.CreateTrunc(scalar(extent), type));
    llvm::Value* inside = b.CreateICmpULT(lane_values(s, type), limit);
    mask.vector = mask.vector ? b.CreateAnd(mask.vector, inside) : inside;
  }
}

llvm::Value* Emitter::mask_value(const Mask& mask)
{
  llvm::Value* value = mask.vector;
  unsigned width = static_cast<unsigned>(lanes.width);
  if (mask.condition) {
    llvm::Value* all = b.CreateVectorSplat(width, mask.condition);
    value = value ? b.CreateAnd(value, all) : all;
  }
  if (!mask.lanes.empty()) {
    std::vector<llvm::Constant*> each;
    for (bool lane : mask.lanes)
      each.push_back(b.getInt1(lane));
    llvm::Constant* constant = llvm::ConstantVector::get(each);
    value = value ? b.CreateAnd(value, constant) : constant;
  }
  return value;
}

} // namespace cnnc
