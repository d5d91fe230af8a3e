// target[at] update value, in memory or in a register.
//
//   y += a*b      y = fma(a, b, y)
//   y max= v      wins = v > y;  y = select(wins, v, y);  tap = select(wins, tap_value, tap)
//
// Registers are values of the function, keyed by the element of their first lane.
#include "compiler/llvm/emitter.h"

#include "ir/location.h"

namespace cnnc {

llvm::Value* Emitter::zero(DType type, int width)
{
  return llvm::Constant::getNullValue(vector_of(value_type(type), width));
}

llvm::Value* Emitter::as_lanes(llvm::Value* v)
{
  return is_vector(v) ? v : b.CreateVectorSplat(static_cast<unsigned>(lanes.width), v);
}

llvm::Value* Emitter::updated(const Store& s, llvm::Value* old, llvm::Value** wins)
{
  const Expr& e = *s.value;
  bool floats = is_float(e.type);
  switch (s.update) {
  case Update::assign: return value(e);
  case Update::sum: {
    if (dot_index >= 0)
      return dot(e, old);
    if (floats && e.fn == Fn::mul)
      return fused(e, old);
    llvm::Value* v = value(e);
    match(v, old);
    return floats ? b.CreateFAdd(old, v) : b.CreateAdd(old, v);
  }
  case Update::max:
  case Update::min: {
    llvm::Value* v = value(e);
    match(v, old);
    bool max = s.update == Update::max;
    if (floats)
      *wins = max ? b.CreateFCmpOGT(v, old) : b.CreateFCmpOLT(v, old);
    else if (e.type == DType::u8 || e.type == DType::boolean)
      *wins = max ? b.CreateICmpUGT(v, old) : b.CreateICmpULT(v, old);
    else
      *wins = max ? b.CreateICmpSGT(v, old) : b.CreateICmpSLT(v, old);
    return b.CreateSelect(*wins, v, old);
  }
  }
  fail("an unknown update");
}

void Emitter::store(const Store& s)
{
  spend(1);
  bool memory = nest.buffers[static_cast<size_t>(s.target)].role != BufferRole::registers;
  bool along_lanes = false;
  Address where;
  if (memory) {
    where = address(s.target, s.at);
    along_lanes = !where.is_scalar();
  } else {
    register_key(s.target, s.at, &along_lanes);
  }
  auto read = [&](int buffer) {
    bool registers = nest.buffers[static_cast<size_t>(buffer)].role == BufferRole::registers;
    return registers ? read_register(buffer, s.at) : load(buffer, address(buffer, s.at), lane_mask());
  };
  auto write = [&](int buffer, llvm::Value* v) {
    if (along_lanes)
      v = as_lanes(v);
    else if (is_vector(v))
      fail("the lanes of a vector are stored into one element of " + nest.buffers[static_cast<size_t>(buffer)].name);
    if (nest.buffers[static_cast<size_t>(buffer)].role == BufferRole::registers)
      write_register(buffer, s.at, v);
    else
      store(buffer, buffer == s.target ? where : address(buffer, s.at), v);
  };

  llvm::Value* wins = nullptr;
  llvm::Value* old = s.update == Update::assign ? nullptr : read(s.target);
  if (copies_starts && !memory && along_lanes && is_start_of_others(register_key(s.target, s.at, &along_lanes), old))
    old = made_here(old);
  std::map<RegisterKey, llvm::Value*> here;
  if (memory && along_lanes && s.update == Update::assign && s.value->fn != Fn::read &&
      b.GetInsertBlock() != block_of_shared_factors)
    registers_here = &here;
  llvm::Value* result = updated(s, old, &wins);
  registers_here = nullptr;
  if (s.tap >= 0) {
    if (!wins)
      fail("a tap beside an update that has no winner");
    DType type = nest.buffers[static_cast<size_t>(s.tap)].type.dtype;
    llvm::Value* number = index_value(s.tap_value);
    number = b.CreateTrunc(number, number->getType()->getWithNewType(memory_type(type)));
    llvm::Value* before = read(s.tap);
    if (is_vector(wins) || is_vector(number) || is_vector(before)) {
      number = as_lanes(number);
      before = as_lanes(before);
      wins = as_lanes(wins);
    }
    write(s.tap, b.CreateSelect(wins, number, before));
  }
  write(s.target, result);
}

RegisterKey Emitter::register_key(int buffer, const std::vector<Affine>& at, bool* along_lanes) const
{
  const Buffer& of = nest.buffers[static_cast<size_t>(buffer)];
  if (at.size() != of.type.shape.size())
    fail(of.name + " has another number of subscripts than dimensions");
  int64_t element = 0;
  *along_lanes = false;
  for (size_t dim = 0; dim < at.size(); ++dim) {
    Affine s = known(at[dim]);
    if (!s.is_constant()) {
      bool is_lane = lanes.index >= 0 && s.terms.size() == 1 && s.terms[0] == Affine::Term{lanes.index, 1};
      if (!is_lane || dim + 1 != at.size())
        fail("a subscript of register " + of.name + " is neither a constant nor, as the last, the lanes index");
      *along_lanes = true;
    }
    element = element * of.type.shape[dim].size + s.constant;
  }
  return {buffer, element};
}

llvm::Value* Emitter::read_register(int buffer, const std::vector<Affine>& at)
{
  bool along_lanes = false;
  RegisterKey key = register_key(buffer, at, &along_lanes);
  auto width_of = [](const llvm::Value* v) {
    auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(v->getType());
    return vector ? static_cast<int>(vector->getNumElements()) : 0;
  };
  auto found = registers.find(key);
  if (found != registers.end()) {
    int width = width_of(found->second);
    if (width == (along_lanes ? lanes.width : 0)) {
      if (!registers_here)
        return found->second;
      llvm::Value*& here = (*registers_here)[key];
      return here = here ? here : made_here(found->second);
    }
    if (along_lanes && width > lanes.width)
      return with_width(found->second, lanes.width);
  }

  // Written in other pieces than it is read in: lane by lane.
  auto element = [&](int64_t number) -> llvm::Value* {
    auto after = registers.upper_bound({buffer, number});
    while (after != registers.begin()) {
      --after;
      if (after->first.first != buffer)
        break;
      int64_t lane = number - after->first.second;
      if (lane < std::max(width_of(after->second), 1))
        return is_vector(after->second) ? b.CreateExtractElement(after->second, static_cast<uint64_t>(lane))
                                        : after->second;
    }
    fail("register " + nest.buffers[static_cast<size_t>(buffer)].name + " is read before it is written");
  };
  if (!along_lanes)
    return element(key.second);
  llvm::Value* all =
      llvm::PoisonValue::get(vector_of(value_type(nest.buffers[static_cast<size_t>(buffer)].type.dtype), lanes.width));
  for (int lane = 0; lane < lanes.count; ++lane)
    all = b.CreateInsertElement(all, element(key.second + lane), static_cast<uint64_t>(lane));
  return all;
}

// Sums begin with the same number: each with a copy, which costs nothing. Of one value in several registers LLVM makes
// none, and reads the first product's factor into the accumulator instead, an instruction of its own.
bool Emitter::is_start_of_others(RegisterKey key, llvm::Value* v) const
{
  const auto end = registers.lower_bound({key.first + 1, 0});
  return std::any_of(registers.lower_bound({key.first, 0}), end,
                     [&](const auto& other) { return other.first != key && other.second == v; });
}

// The first `width` lanes, or those there are and undefined ones.
llvm::Value* Emitter::with_width(llvm::Value* v, int width)
{
  int from = static_cast<int>(llvm::cast<llvm::FixedVectorType>(v->getType())->getNumElements());
  std::vector<int> each;
  for (int lane = 0; lane < width; ++lane)
    each.push_back(lane < from ? lane : -1);
  return b.CreateShuffleVector(v, each);
}

void Emitter::write_register(int buffer, const std::vector<Affine>& at, llvm::Value* v)
{
  bool along_lanes = false;
  RegisterKey key = register_key(buffer, at, &along_lanes);
  llvm::Value*& to = registers[key];
  int width = widths.at(key).width; // the register has this many lanes throughout the region
  if (!along_lanes) {
    if (width > 0)
      v = b.CreateInsertElement(to ? to : zero(widths.at(key).type, width), v, uint64_t{0});
    to = v;
    return;
  }
  if (lanes.width < width)
    v = with_width(v, width);
  // Lanes past the end keep what they hold, unless nothing ever reaches them.
  bool visible = lanes.count < widths.at(key).count;
  auto hole = std::find(lanes.active.begin(), lanes.active.begin() + lanes.count, false);
  if (to && (visible || hole != lanes.active.begin() + lanes.count)) {
    std::vector<llvm::Constant*> each;
    for (int lane = 0; lane < width; ++lane)
      each.push_back(b.getInt1(lane < lanes.width && lanes.active[static_cast<size_t>(lane)]));
    v = b.CreateSelect(llvm::ConstantVector::get(each), v, to);
  }
  to = v;
}

} // namespace cnnc
