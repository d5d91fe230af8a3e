// Loads and stores of one element, or of the lanes:
//
//   all lanes the same element          a scalar load (splat where it is used)
//   lanes in a row                      one vector, with a constant mask where the lanes are no power of two
//   within four vectors (stride 2..4)   those vectors and shuffles
//   in two rows (a channel's neighbours that begin in one block and end in the next)
//                                       a masked access each, the second one merged into the first; where there are
//                                       masks: in halves of a vector LLVM 22 takes an empty mask for a full one
//   else                                gather, scatter
//
// A load never touches a byte outside of its buffer: the last vector of a window ends at the last lane's element.
#include "compiler/llvm/emitter.h"

#include "ir/location.h"

#include <llvm/IR/Intrinsics.h>

#include <algorithm>
#include <functional>

namespace cnnc {

namespace {

constexpr int64_t window_vectors = 4;
constexpr size_t most_rows = 2;

llvm::Align alignment(DType type)
{
  return llvm::Align(static_cast<uint64_t>(bytes_of(type)));
}

// Active lanes whose elements lie one after the other, as the first one would have it: of lane 0, `begin`.
struct Row {
  int64_t begin;
  std::vector<bool> lanes;
};

// Nothing where there are more than `most_rows`.
std::vector<Row> rows_of(const std::vector<int64_t>& at, int width, const std::function<bool(int)>& is_active)
{
  std::vector<Row> rows;
  for (int lane = 0; lane < width; ++lane) {
    if (!is_active(lane))
      continue;
    const int64_t begin = at[static_cast<size_t>(lane)] - lane;
    if (rows.empty() || rows.back().begin != begin) {
      if (rows.size() == most_rows)
        return {};
      rows.push_back({begin, std::vector<bool>(static_cast<size_t>(width))});
    }
    rows.back().lanes[static_cast<size_t>(lane)] = true;
  }
  return rows;
}

} // namespace

llvm::Type* Emitter::memory_type(DType type)
{
  switch (type) {
  case DType::f32: return b.getFloatTy();
  case DType::f64: return b.getDoubleTy();
  case DType::bf16: return b.getInt16Ty();
  case DType::i8:
  case DType::u8:
  case DType::boolean: return b.getInt8Ty();
  case DType::i32: return b.getInt32Ty();
  case DType::i64: return b.getInt64Ty();
  }
  fail("an unknown element type");
}

llvm::Type* Emitter::value_type(DType type)
{
  return type == DType::bf16 ? b.getFloatTy() : type == DType::boolean ? b.getInt1Ty() : memory_type(type);
}

llvm::Type* Emitter::vector_of(llvm::Type* type, int width)
{
  return width == 0 ? type : llvm::FixedVectorType::get(type, static_cast<unsigned>(width));
}

llvm::Value* Emitter::from_memory(llvm::Value* v, DType type)
{
  if (type == DType::boolean)
    return b.CreateIsNotNull(v);
  if (type != DType::bf16)
    return v;
  llvm::Type* wide = v->getType()->getWithNewType(b.getInt32Ty());
  return b.CreateBitCast(b.CreateShl(b.CreateZExt(v, wide), 16), wide->getWithNewType(b.getFloatTy()));
}

llvm::Value* Emitter::to_memory(llvm::Value* v, DType type)
{
  llvm::Type* from = v->getType();
  if (type == DType::boolean)
    return b.CreateZExt(v, from->getWithNewType(b.getInt8Ty()));
  if (type != DType::bf16)
    return v;
  if (target.dot_bf16 && from->isVectorTy()) // one instruction; numbers below the least normal one become zero
    return b.CreateBitCast(b.CreateFPTrunc(v, from->getWithNewType(b.getBFloatTy())),
                           from->getWithNewType(b.getInt16Ty()));
  // To the nearest, ties to even; a NaN keeps its upper bits and stays quiet.
  llvm::Type* wide = from->getWithNewType(b.getInt32Ty());
  auto number = [&](uint64_t x) { return llvm::ConstantInt::get(wide, x); };
  llvm::Value* bits = b.CreateBitCast(v, wide);
  llvm::Value* upper = b.CreateLShr(bits, number(16));
  llvm::Value* odd = b.CreateAnd(upper, number(1));
  llvm::Value* rounded = b.CreateLShr(b.CreateAdd(bits, b.CreateAdd(odd, number(0x7fff))), number(16));
  llvm::Value* result = b.CreateSelect(b.CreateFCmpUNO(v, v), b.CreateOr(upper, number(0x40)), rounded);
  return b.CreateTrunc(result, from->getWithNewType(b.getInt16Ty()));
}

llvm::Value* Emitter::load(int buffer, const std::vector<Affine>& at, bool checked)
{
  const Buffer& of = nest.buffers[static_cast<size_t>(buffer)];
  if (of.role == BufferRole::registers)
    return read_register(buffer, at);
  Mask mask = lane_mask();
  if (checked)
    for (size_t dim = 0; dim < at.size(); ++dim) {
      const Dim& extent = of.type.shape.at(dim);
      int d = static_cast<int>(dim);
      check(mask, known(at[dim]), extent.batch ? Affine::of(batch_index, extent.size) : Affine(extent.size),
            border_before(of.layout, d), border_after(of.layout, d));
    }
  return load(buffer, address(buffer, at), mask);
}

llvm::Value* Emitter::load(int buffer, const Address& address, const Mask& mask)
{
  auto number = [](const llvm::Value* v) { return reinterpret_cast<int64_t>(v); };
  DType dtype = nest.buffers[static_cast<size_t>(buffer)].type.dtype;
  std::vector<int64_t> key{buffers[static_cast<size_t>(buffer)].group,
                           buffer,
                           address.scalar.constant,
                           number(address.vector),
                           number(mask.vector),
                           number(mask.condition),
                           static_cast<int64_t>(address.scalar.terms.size())};
  for (const Affine::Term& term : address.scalar.terms)
    key.insert(key.end(), {term.index, term.factor});
  for (const Address::Computed& part : address.computed)
    key.insert(key.end(), {number(part.value), part.factor});
  key.push_back(address.is_scalar() ? 0 : lanes.count); // one element is the same in any lanes loop
  key.insert(key.end(), address.lanes.begin(), address.lanes.end());
  bool of_lanes = !address.is_scalar() || mask.vector;
  for (size_t lane = 0; lane < mask.lanes.size(); ++lane) // a lane that takes part, but lies outside
    of_lanes = of_lanes || (lanes.active[lane] && !mask.lanes[lane]);
  if (of_lanes)
    for (bool lane : mask.lanes)
      key.push_back(lane);
  if (auto found = loaded.find(key); found != loaded.end())
    return found->second;
  if (stale.contains(key)) { // no instruction: it keeps LLVM from taking the earlier load
    b.CreateFence(llvm::AtomicOrdering::AcquireRelease, llvm::SyncScope::SingleThread);
    stale.clear();
  }

  llvm::Type* type = memory_type(dtype);
  llvm::Value* value = nullptr;
  if (!address.is_scalar()) {
    value = from_memory(load_window(buffer, address, mask, type), dtype);
  } else {
    if (!mask.condition)
      prefetch_ahead(buffer, address, 0, 1, false);
    llvm::Value* at = pointer(buffer, address);
    if (mask.condition) // somewhere that is surely there
      at = b.CreateSelect(mask.condition, at, buffers[static_cast<size_t>(buffer)].pointer);
    value = from_memory(b.CreateAlignedLoad(type, at, alignment(dtype)), dtype);
    if (mask.condition)
      value = b.CreateSelect(mask.condition, value, llvm::Constant::getNullValue(value->getType()));
    if (of_lanes) {
      llvm::Value* all = b.CreateVectorSplat(static_cast<unsigned>(lanes.width), value);
      value = b.CreateSelect(mask_value(mask), all, llvm::Constant::getNullValue(all->getType()));
    }
  }
  loaded.emplace(std::move(key), value);
  return value;
}

llvm::Value* Emitter::load_window(int buffer, const Address& address, const Mask& mask, llvm::Type* type)
{
  DType dtype = nest.buffers[static_cast<size_t>(buffer)].type.dtype;
  llvm::Align align = alignment(dtype);
  int width = lanes.width;
  llvm::Type* vector = vector_of(type, width);
  llvm::Constant* nothing = llvm::Constant::getNullValue(vector);
  auto is_active = [&](int lane) { return mask.lanes.empty() || mask.lanes[static_cast<size_t>(lane)]; };
  auto constant_mask = [&](auto&& takes) {
    std::vector<llvm::Constant*> each;
    for (int lane = 0; lane < width; ++lane)
      each.push_back(b.getInt1(takes(lane)));
    return llvm::ConstantVector::get(each);
  };

  int first = -1;
  int64_t lo = 0, hi = 0;
  bool in_a_row = true, all = true;
  for (int lane = 0; lane < width; ++lane) {
    if (!is_active(lane)) {
      all = false;
      continue;
    }
    int64_t at = address.lanes[static_cast<size_t>(lane)];
    if (first < 0)
      first = lane, lo = hi = at;
    in_a_row = in_a_row && at - address.lanes[static_cast<size_t>(first)] == lane - first;
    lo = std::min(lo, at);
    hi = std::max(hi, at);
  }
  if (first < 0 || mask.condition == b.getFalse())
    return nothing;

  int64_t span = hi - lo + 1;
  bool window = !address.vector && !mask.vector && (in_a_row || span <= window_vectors * width);
  if (!window) {
    if (!address.vector && in_a_row) // which lanes is only known at run time
      return b.CreateMaskedLoad(vector, pointer(buffer, address, address.lanes[static_cast<size_t>(first)] - first),
                                align, mask_value(mask), nothing);
    // Vectors that the target has: LLVM 22 cuts wider ones in two, on AVX2 with the wrong lanes.
    if (!address.vector && target.masks_loads(bytes_of(dtype)) && width * bytes_of(dtype) <= target.vector_bytes)
      if (std::vector<Row> rows = rows_of(address.lanes, width, is_active); !rows.empty()) {
        llvm::Value *asked = mask.condition || mask.vector ? mask_value(mask) : nullptr, *value = nothing;
        for (const Row& row : rows) {
          llvm::Value* takes = constant_mask([&](int lane) { return row.lanes[static_cast<size_t>(lane)]; });
          llvm::Value* at = pointer(buffer, address, row.begin);
          if (asked) { // a row of which nothing is asked may lie in a page that is not there: no fault, but as slow
            takes = b.CreateAnd(asked, takes);
            llvm::Value* any = b.CreateIsNotNull(b.CreateBitCast(takes, b.getIntNTy(static_cast<unsigned>(width))));
            at = b.CreateSelect(any, at, buffers[static_cast<size_t>(buffer)].pointer);
          }
          value = b.CreateMaskedLoad(vector, at, align, takes, value);
        }
        return value;
      }
    std::vector<llvm::Constant*> each;
    for (int lane = 0; lane < width; ++lane)
      each.push_back(b.getInt64(is_active(lane) ? static_cast<uint64_t>(address.lanes[static_cast<size_t>(lane)]) : 0));
    llvm::Value* offsets = llvm::ConstantVector::get(each);
    if (address.vector)
      offsets = b.CreateAdd(address.vector, offsets);
    llvm::Value* pointers = b.CreateGEP(type, pointer(buffer, address), offsets);
    return b.CreateMaskedGather(vector, pointers, align, mask_value(mask), nothing);
  }

  // A condition for all lanes: read the buffer's beginning instead, where it is long enough.
  const BufferState& state = buffers[static_cast<size_t>(buffer)];
  int64_t reach = in_a_row && all ? width : span;
  bool clamp = mask.condition && state.stored >= reach;
  auto at = [&](int64_t from, int64_t instead) {
    llvm::Value* there = pointer(buffer, address, from);
    if (!clamp)
      return there;
    llvm::Value* safe = b.CreatePtrAdd(state.pointer, b.getInt64(static_cast<uint64_t>(instead * bytes_of(dtype))));
    return b.CreateSelect(mask.condition, there, safe);
  };
  auto masked = [&](llvm::Value* from, llvm::Constant* constant) {
    llvm::Value* takes = constant;
    if (mask.condition && !clamp)
      takes = b.CreateAnd(b.CreateVectorSplat(static_cast<unsigned>(width), mask.condition), constant);
    return b.CreateMaskedLoad(vector, from, align, takes, nothing);
  };
  auto whole = [&](llvm::Value* from) -> llvm::Value* {
    if (mask.condition && !clamp)
      return masked(from, constant_mask([](int) { return true; }));
    return b.CreateAlignedLoad(vector, from, align);
  };

  llvm::Value* value = nullptr;
  if (in_a_row) {
    // Masked lanes before the first one are not read, nor those behind the last.
    if (all && !mask.condition) {
      prefetch_ahead(buffer, address, lo, width, false);
      read_here(buffer);
    }
    value = all ? whole(at(lo, 0)) : masked(at(lo - first, -first), constant_mask(is_active));
  } else if (span < width) {
    llvm::Value* part = masked(at(lo, 0), constant_mask([&](int lane) { return lane < span; }));
    std::vector<int> from;
    for (int lane = 0; lane < width; ++lane)
      from.push_back(is_active(lane) ? static_cast<int>(address.lanes[static_cast<size_t>(lane)] - lo) : -1);
    value = b.CreateShuffleVector(part, from);
  } else {
    int parts = static_cast<int>((span + width - 1) / width);
    for (int pair = 0; pair < parts; pair += 2) {
      std::vector<int> from(static_cast<size_t>(width), -1), into(static_cast<size_t>(width), -1);
      llvm::Value* two[2] = {};
      for (int part = pair; part < std::min(pair + 2, parts); ++part) {
        int64_t start = std::min<int64_t>(part * width, span - width);
        two[part - pair] = whole(at(lo + start, start));
        for (int lane = 0; lane < width; ++lane) {
          int64_t element = is_active(lane) ? address.lanes[static_cast<size_t>(lane)] - lo : -1;
          if (element >= part * width && element < (part + 1) * width)
            from[static_cast<size_t>(lane)] = static_cast<int>(element - start) + (part - pair) * width;
        }
      }
      for (int lane = 0; lane < width; ++lane)
        into[static_cast<size_t>(lane)] = from[static_cast<size_t>(lane)] >= 0 ? lane + width : lane;
      llvm::Value* both = b.CreateShuffleVector(two[0], two[1] ? two[1] : llvm::PoisonValue::get(vector), from);
      value = value ? b.CreateShuffleVector(value, both, into) : both;
    }
  }
  if (!in_a_row && !all) // checked lanes are zero
    value = b.CreateSelect(constant_mask(is_active), value, nothing);
  if (clamp)
    value = b.CreateSelect(mask.condition, value, nothing);
  return value;
}

// Of `count` elements that are read, or stored: once a cache line, as far as constants tell lines apart. A stream of
// vectors comes to the cache that is near the core: from the first one it would drive out what is used again.
void Emitter::prefetch_ahead(int buffer, const Address& address, int64_t first, int count, bool is_store)
{
  const Buffer& of = nest.buffers[static_cast<size_t>(buffer)];
  const int64_t bytes = bytes_of(of.type.dtype), from = (address.scalar.constant + first) * bytes;
  if (of.ahead.bytes == 0 || is_store != (of.role != BufferRole::in) || (from & (cache_line - 1)) >= count * bytes)
    return;
  llvm::Value* at = pointer(buffer, address, first);
  if (llvm::Value* turn = turn_of(of.ahead)) {
    if ((from & (cache_line * of.ahead.turns - 1)) >= cache_line)
      return;
    at = b.CreatePtrAdd(at, turn);
  }
  prefetch_here(b.CreatePtrAdd(at, bytes_ahead(of.ahead)), count > 1 ? "prefetcht1" : "prefetcht0");
}

void Emitter::prefetch(const Prefetch& line)
{
  const Address at = address(line.buffer, line.at);
  if (at.vector || !at.lanes.empty())
    fail("a line that differs from lane to lane");
  prefetch(pointer(line.buffer, at), nest.buffers[static_cast<size_t>(line.buffer)].role != BufferRole::in, 3);
}

// `locality`: 3 for the first cache, 2 for the second.
void Emitter::prefetch(llvm::Value* at, bool is_written, uint32_t locality)
{
  const uint32_t data = 1;
  b.CreateIntrinsic(llvm::Intrinsic::prefetch, {at->getType()},
                    {at, b.getInt32(is_written), b.getInt32(locality), b.getInt32(data)});
}

void Emitter::store(int buffer, const Address& address, llvm::Value* value)
{
  DType dtype = nest.buffers[static_cast<size_t>(buffer)].type.dtype;
  llvm::Align align = alignment(dtype);
  value = to_memory(value, dtype);
  if (address.is_scalar()) {
    b.CreateAlignedStore(value, pointer(buffer, address), align);
    return forget(buffer);
  }
  int width = lanes.width;
  auto is_active = [&](int lane) { return lanes.active[static_cast<size_t>(lane)]; };
  int64_t lo = 0, hi = 0;
  bool in_a_row = true;
  int first = -1;
  for (int lane = 0; lane < lanes.count; ++lane) {
    if (!is_active(lane))
      continue;
    int64_t at = address.lanes[static_cast<size_t>(lane)];
    if (first < 0)
      first = lane, lo = hi = at;
    in_a_row = in_a_row && at - lo == lane - first;
    lo = std::min(lo, at);
    hi = std::max(hi, at);
  }
  auto constant_mask = [&](auto&& takes) {
    std::vector<llvm::Constant*> each;
    for (int lane = 0; lane < width; ++lane)
      each.push_back(b.getInt1(takes(lane)));
    return llvm::ConstantVector::get(each);
  };
  if (first < 0)
    return;
  int64_t span = hi - lo + 1;
  const bool far = !in_a_row && (!target.masks || span > window_vectors * width);
  std::vector<Row> rows;
  if (far && !address.vector && target.masks)
    rows = rows_of(address.lanes, lanes.count, is_active);
  if (!rows.empty()) {
    for (const Row& row : rows)
      b.CreateMaskedStore(value, pointer(buffer, address, row.begin), align, constant_mask([&](int lane) {
                            return lane < lanes.count && row.lanes[static_cast<size_t>(lane)];
                          }));
  } else if (address.vector || far) {
    std::vector<llvm::Constant*> each;
    for (int lane = 0; lane < width; ++lane)
      each.push_back(b.getInt64(is_active(lane) ? static_cast<uint64_t>(address.lanes[static_cast<size_t>(lane)]) : 0));
    llvm::Value* offsets = llvm::ConstantVector::get(each);
    if (address.vector)
      offsets = b.CreateAdd(address.vector, offsets);
    llvm::Value* pointers = b.CreateGEP(memory_type(dtype), pointer(buffer, address), offsets);
    b.CreateMaskedScatter(value, pointers, align, constant_mask(is_active));
  } else if (in_a_row && lanes.all()) {
    prefetch_ahead(buffer, address, lo, width, true);
    b.CreateAlignedStore(value, pointer(buffer, address, lo), align);
  } else if (in_a_row) {
    b.CreateMaskedStore(value, pointer(buffer, address, lo - first), align, constant_mask(is_active));
  } else {
    for (int64_t start = 0; start < span; start += width) {
      std::vector<int> from(static_cast<size_t>(width), -1);
      for (int lane = 0; lane < lanes.count; ++lane) {
        if (!is_active(lane))
          continue;
        int64_t at = address.lanes[static_cast<size_t>(lane)] - lo - start;
        if (at >= 0 && at < width)
          from[static_cast<size_t>(at)] = lane;
      }
      b.CreateMaskedStore(b.CreateShuffleVector(value, from), pointer(buffer, address, lo + start), align,
                          constant_mask([&](int element) { return from[static_cast<size_t>(element)] >= 0; }));
    }
  }
  forget(buffer);
}

void Emitter::forget(int buffer)
{
  int64_t group = buffers[static_cast<size_t>(buffer)].group;
  loaded.erase(loaded.lower_bound({group}), loaded.lower_bound({group + 1}));
}

} // namespace cnnc
