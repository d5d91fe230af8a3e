// Regions, loops and branches.
//
//   for h in 0..N {body}   =>       h = begin; if (h < end) do { body; h += step; } while (h < end);
//
// with a phi for h and for every register that the body writes. Loops are never unrolled again, and nothing is left to
// hoist: see emitter.h.
#include "compiler/llvm/emit_nest.h"

#include "compiler/llvm/emitter.h"
#include "ir/location.h"

#include <llvm/IR/Module.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>

#include <algorithm>
#include <numeric>
#include <optional>

namespace cnnc {

namespace {

constexpr int64_t most_spent = 400'000; // nodes emitted: beyond, an unroll has run away
constexpr int widest = 256;             // lanes of one vector; LLVM splits what the machine has not

const Loop* only_loop(std::span<const Node> nodes)
{
  return nodes.size() == 1 ? std::get_if<Loop>(&nodes[0].is) : nullptr;
}

// How many iterations, where that is affine in n.
std::optional<Affine> trips(const Loop& loop)
{
  auto one = [](const std::vector<Affine>& bounds, bool largest) -> std::optional<Affine> {
    if (bounds.size() == 1)
      return bounds[0];
    std::optional<Affine> result;
    for (const Affine& bound : bounds) {
      if (!bound.is_constant())
        return std::nullopt;
      if (!result || (bound.constant > result->constant) == largest)
        result = bound;
    }
    return result;
  };
  std::optional<Affine> begin = one(loop.begin, true), end = one(loop.end, false);
  if (!begin || !end)
    return std::nullopt;
  Affine distance = *end - *begin;
  for (Affine::Term& term : distance.terms) {
    if (term.index != batch_index || term.factor % loop.step != 0)
      return std::nullopt;
    term.factor /= loop.step;
  }
  distance.constant = ceil_div(distance.constant, loop.step);
  if (distance.is_constant() && distance.constant < 0)
    return Affine(0);
  return distance;
}

} // namespace

Emitter::Emitter(llvm::Module& module, const Nest& nest, const Target& target)
    : module(module),
      nest(nest),
      target(target),
      b(module.getContext())
{
  for (const Buffer& buffer : nest.buffers)
    if (buffer.role == BufferRole::registers)
      fills_registers =
          fills_registers || elements(buffer.type.shape) * bytes_of(buffer.type.dtype) / target.vector_bytes * 4 >=
                                 target.vector_registers * 3;
}

void Emitter::fail(const std::string& what) const
{
  throw InternalError("code for nest @" + nest.name + ": " + what);
}

// Before so many are listed.
void Emitter::afford(int64_t nodes) const
{
  if (nodes > most_spent - spent)
    fail("more than " + std::to_string(most_spent) + " operations: too much is unrolled");
}

void Emitter::spend(int64_t nodes)
{
  afford(nodes);
  spent += nodes;
}

llvm::BasicBlock* Emitter::block(const char* name)
{
  return llvm::BasicBlock::Create(module.getContext(), name, f);
}

void Emitter::push_level()
{
  // Stands where this level's code ends; no code comes of it.
  auto* marker = llvm::cast<llvm::Instruction>(b.CreateFreeze(llvm::PoisonValue::get(b.getInt1Ty())));
  levels.emplace_back().marker = marker;
}

void Emitter::pop_level()
{
  levels.back().marker->eraseFromParent();
  levels.pop_back();
}

Fact Emitter::fact_of(const Loop& loop) const
{
  Fact fact;
  fact.kind = Fact::Kind::scalar;
  fact.level = static_cast<int>(levels.size());
  for (const Affine& end : loop.end) {
    fact.ends.push_back(known(end));
    fact.range.hi = std::min(fact.range.hi, range_of(fact.ends.back()).hi - 1);
  }
  fact.modulus = loop.step;
  for (size_t i = 0; i < loop.begin.size(); ++i) {
    Affine begin = known(loop.begin[i]);
    fact.range.lo = std::max(fact.range.lo, range_of(begin).lo);
    int64_t modulus, residue;
    multiple_of(begin, &modulus, &residue);
    fact.modulus = std::gcd(fact.modulus, modulus);
    if (i == 0)
      fact.residue = residue;
    else
      fact.modulus = std::gcd(fact.modulus, fact.residue - residue);
  }
  fact.residue -= floor_div(fact.residue, fact.modulus) * fact.modulus;
  auto above = [&](int64_t x) { // residue of x over the residue of the index
    return x - fact.residue - floor_div(x - fact.residue, fact.modulus) * fact.modulus;
  };
  if (fact.range.hi < unbounded)
    fact.range.hi -= above(fact.range.hi);
  if (fact.range.lo > -unbounded)
    fact.range.lo += above(fact.range.lo) == 0 ? 0 : fact.modulus - above(fact.range.lo);
  return fact;
}

// The largest (smallest) of several bounds; those that others always beat are left out.
llvm::Value* Emitter::bound(const std::vector<Affine>& bounds, bool largest)
{
  std::vector<Affine> kept;
  for (const Affine& bound : bounds) {
    Affine a = known(bound);
    auto beaten_by = [&](const Affine& x, const Affine& y) { return range_of(largest ? y - x : x - y).lo >= 0; };
    if (std::any_of(kept.begin(), kept.end(), [&](const Affine& other) { return beaten_by(a, other); }))
      continue;
    std::erase_if(kept, [&](const Affine& other) { return beaten_by(other, a); });
    kept.push_back(a);
  }
  llvm::Value* result = nullptr;
  for (const Affine& a : kept) {
    llvm::Value* v = scalar(a);
    if (result)
      v = b.CreateSelect(largest ? b.CreateICmpSGT(v, result) : b.CreateICmpSLT(v, result), v, result);
    result = v;
  }
  return result;
}

void Emitter::nodes(const std::vector<Node>& body)
{
  for (std::span<const Node> rest = body; !rest.empty();) {
    size_t done = accumulate(rest);
    if (done == 0) {
      node(rest.front());
      done = 1;
    }
    rest = rest.subspan(done);
  }
}

void Emitter::node(const Node& each)
{
  if (auto* is_loop = std::get_if<Loop>(&each.is))
    loop(*is_loop);
  else if (auto* is_store = std::get_if<Store>(&each.is))
    store(*is_store);
  else if (auto* is_if = std::get_if<If>(&each.is))
    branch(*is_if);
  else if (auto* line = std::get_if<Prefetch>(&each.is))
    prefetch(*line);
  else
    zero_border(std::get<ZeroBorder>(each.is));
}

void Emitter::loop(const Loop& loop)
{
  if (loop.begin.empty() || loop.end.empty() || loop.step < 1)
    fail("a loop without bounds or step");
  if (loop.kind == LoopKind::lanes)
    return lanes_loop(loop);
  Fact& slot = facts.at(static_cast<size_t>(loop.index));
  Fact outer = slot;
  Fact fact = fact_of(loop);
  if (fact.range.lo > fact.range.hi)
    return; // never runs
  Affine begin = known(loop.begin[0]);
  bool one_each = loop.begin.size() == 1 && loop.end.size() == 1;
  Affine distance = one_each ? known(loop.end[0]) - begin : Affine(unbounded);
  if (loop.kind == LoopKind::unroll) {
    if (fact.range.lo <= -unbounded || fact.range.hi >= unbounded ||
        !std::all_of(loop.begin.begin(), loop.begin.end(), [&](const Affine& a) { return known(a).is_constant(); }) ||
        !std::all_of(loop.end.begin(), loop.end.end(), [&](const Affine& a) { return known(a).is_constant(); }))
      fail("an unrolled loop whose bounds are no constants");
    unrolled(loop, fact.range.lo, fact.range.hi + 1);
  } else if (one_each && distance.is_constant() && distance.constant <= loop.step) {
    if (begin.is_constant()) {
      unrolled(loop, begin.constant, begin.constant + 1);
    } else { // one iteration: no loop
      fact.kind = Fact::Kind::same;
      fact.as = begin;
      slot = fact;
      nodes(loop.body);
    }
  } else {
    counted(loop, fact);
  }
  slot = outer;
}

void Emitter::unrolled(const Loop& loop, int64_t begin, int64_t end)
{
  for (int64_t value = begin; value < end; value += loop.step) {
    spend(1);
    facts[static_cast<size_t>(loop.index)] = constant_fact(value);
    nodes(loop.body);
  }
}

void Emitter::counted(const Loop& loop, const Fact& known_fact)
{
  Fact& slot = facts[static_cast<size_t>(loop.index)];
  llvm::Value* begin = bound(loop.begin, true);
  llvm::Value* end = bound(loop.end, false);
  bool runs = true; // at least once, for certain
  for (const Affine& last : loop.end)
    for (const Affine& first : loop.begin)
      runs = runs && range_of(known(last) - known(first)).lo > 0;

  WrittenRegisters written;
  Fact sketch = known_fact;
  sketch.scalar = b.getInt64(0);
  slot = sketch;
  written_registers(loop.body, written);
  for (const auto& [key, of] : written)
    if (!registers.contains(key))
      registers[key] = zero(of.type, widths.at(key).width);

  llvm::BasicBlock *before = b.GetInsertBlock(), *head = block("for"),
                   *after = llvm::BasicBlock::Create(module.getContext(), "end");
  if (runs)
    b.CreateBr(head);
  else
    b.CreateCondBr(b.CreateICmpSLT(begin, end), head, after);

  b.SetInsertPoint(head);
  llvm::PHINode* at = b.CreatePHI(b.getInt64Ty(), 2, nest.indices[static_cast<size_t>(loop.index)].name);
  at->addIncoming(begin, before);
  std::map<RegisterKey, llvm::PHINode*> carried;
  std::map<RegisterKey, llvm::Value*> initial;
  for (const auto& [key, of] : written) {
    llvm::Value*& current = registers[key];
    llvm::PHINode* phi = b.CreatePHI(current->getType(), 2);
    phi->addIncoming(current, before);
    initial[key] = current;
    carried[key] = phi;
    current = phi;
  }
  push_level();
  levels.back().index = loop.index;
  levels.back().before = before;
  levels.back().begin = begin;
  slot.scalar = at;
  forget_loads();
  nodes(loop.body);
  for (auto [pointer, bytes] : levels.back().pointers)
    pointer->addIncoming(b.CreatePtrAdd(pointer, b.getInt64(static_cast<uint64_t>(bytes * loop.step))),
                         b.GetInsertBlock());
  pop_level();

  bool positive = slot.range.lo >= 0;
  llvm::Value* next = b.CreateAdd(at, b.getInt64(static_cast<uint64_t>(loop.step)), "", positive, true);
  llvm::BasicBlock* latch = b.GetInsertBlock();
  at->addIncoming(next, latch);
  for (const auto& [key, phi] : carried)
    phi->addIncoming(registers[key], latch);
  llvm::BranchInst* back = b.CreateCondBr(b.CreateICmpSLT(next, end), head, after);
  llvm::LLVMContext& context = module.getContext();
  llvm::MDNode* disable = llvm::MDNode::get(context, llvm::MDString::get(context, "llvm.loop.unroll.disable"));
  llvm::MDNode* id = llvm::MDNode::getDistinct(context, {nullptr, disable});
  id->replaceOperandWith(0, id);
  back->setMetadata(llvm::LLVMContext::MD_loop, id);

  after->insertInto(f);
  b.SetInsertPoint(after);
  if (!runs)
    for (const auto& [key, phi] : carried) {
      llvm::PHINode* result = b.CreatePHI(phi->getType(), 2);
      result->addIncoming(initial[key], before);
      result->addIncoming(registers[key], latch);
      registers[key] = result;
    }
  forget_loads();
}

void Emitter::lanes_loop(const Loop& loop)
{
  if (lanes.index >= 0)
    fail("a lanes loop inside of another");
  Fact fact = fact_of(loop);
  auto is_constant = [&](const Affine& a) { return known(a).is_constant(); };
  if (!std::all_of(loop.begin.begin(), loop.begin.end(), is_constant) ||
      !std::all_of(loop.end.begin(), loop.end.end(), is_constant))
    fail("a lanes loop whose bounds are no constants");
  int64_t count = fact.range.hi < fact.range.lo ? 0 : (fact.range.hi - fact.range.lo) / loop.step + 1;
  if (count > widest)
    fail("a lanes loop of more than " + std::to_string(widest) + " lanes");
  Fact& slot = facts.at(static_cast<size_t>(loop.index));
  Fact outer = slot;
  if (count == 1) { // one lane is a scalar
    unrolled(loop, fact.range.lo, fact.range.lo + 1);
  } else if (count > 1) {
    int width = 2;
    while (width < count)
      width *= 2;
    lanes = {loop.index, fact.range.lo, loop.step, static_cast<int>(count), width, {}};
    lanes.active.assign(static_cast<size_t>(width), false);
    std::fill_n(lanes.active.begin(), count, true);
    slot = {};
    slot.kind = Fact::Kind::lane;
    slot.range = {0, count - 1};
    nodes(loop.body);
    lanes = {};
  }
  slot = outer;
}

void Emitter::branch(const If& node)
{
  Affine condition = known(node.condition);
  Range range = range_of(condition);
  if (range.lo >= 0)
    return nodes(node.then_body);
  if (range.hi < 0)
    return nodes(node.else_body);
  if (lanes.index >= 0 && condition.uses(lanes.index))
    return branch_of_lanes(node, condition);

  WrittenRegisters written;
  written_registers(node.then_body, written);
  written_registers(node.else_body, written);
  for (const auto& [key, of] : written)
    if (!registers.contains(key))
      registers[key] = zero(of.type, widths.at(key).width);
  std::map<RegisterKey, llvm::Value*> before = registers;
  llvm::BasicBlock *then = block("then"), *otherwise = block("else"), *join = block("join");
  b.CreateCondBr(b.CreateICmpSGE(scalar(condition), b.getInt64(0)), then, otherwise);

  std::map<RegisterKey, llvm::Value*> after[2];
  llvm::BasicBlock* last[2];
  for (int side = 0; side < 2; ++side) {
    b.SetInsertPoint(side == 0 ? then : otherwise);
    registers = before;
    forget_loads();
    nodes(side == 0 ? node.then_body : node.else_body);
    b.CreateBr(join);
    last[side] = b.GetInsertBlock();
    after[side] = registers;
  }
  join->moveAfter(last[1]);
  b.SetInsertPoint(join);
  registers = before;
  forget_loads();
  for (const auto& [key, of] : written) {
    llvm::Value *x = after[0][key], *y = after[1][key];
    llvm::PHINode* phi = b.CreatePHI(x->getType(), 2);
    phi->addIncoming(x, last[0]);
    phi->addIncoming(y, last[1]);
    registers[key] = phi;
  }
}

// Which lanes take which side is known: either side runs for its own.
void Emitter::branch_of_lanes(const If& node, const Affine& condition)
{
  if (condition.terms.size() != 1)
    fail("a branch on the lanes index and on others");
  std::vector<bool> before = lanes.active;
  for (bool side : {true, false}) {
    for (int lane = 0; lane < lanes.count; ++lane) {
      bool taken = condition.constant + condition.terms[0].factor * lane >= 0;
      lanes.active[static_cast<size_t>(lane)] = before[static_cast<size_t>(lane)] && taken == side;
    }
    forget_loads(); // a masked load of one side has nothing for the other
    nodes(side ? node.then_body : node.else_body);
    lanes.active = before;
  }
  forget_loads();
}

void Emitter::note_register(int buffer, const std::vector<Affine>& at, WrittenRegisters& written)
{
  const Buffer& of = nest.buffers.at(static_cast<size_t>(buffer));
  if (of.role != BufferRole::registers)
    return;
  bool along_lanes = false;
  RegisterKey key = register_key(buffer, at, &along_lanes);
  Written& noted = written.try_emplace(key, Written{0, of.type.dtype, 1}).first->second;
  noted.width = std::max(noted.width, along_lanes ? lanes.width : 0);
  noted.count = std::max(noted.count, along_lanes ? lanes.count : 1);
}

// Walks as the emission will, without emitting: unrolled indices take their values.
void Emitter::written_registers(std::span<const Node> body, WrittenRegisters& written)
{
  for (const Node& each : body) {
    if (auto* s = std::get_if<Store>(&each.is)) {
      note_register(s->target, s->at, written);
      if (s->tap >= 0)
        note_register(s->tap, s->at, written);
    } else if (auto* branches = std::get_if<If>(&each.is)) {
      written_registers(branches->then_body, written);
      written_registers(branches->else_body, written);
    } else if (auto* inner = std::get_if<Loop>(&each.is)) {
      Fact& slot = facts.at(static_cast<size_t>(inner->index));
      Fact outer = slot;
      Fact fact = fact_of(*inner);
      int64_t count = fact.range.hi < fact.range.lo ? 0 : (fact.range.hi - fact.range.lo) / inner->step + 1;
      bool lane = inner->kind == LoopKind::lanes;
      if (lane && count > 1) {
        int width = 2;
        while (width < count && width < widest)
          width *= 2;
        lanes = {
            inner->index, fact.range.lo, inner->step, static_cast<int>(std::min<int64_t>(count, widest)), width, {}};
        slot = {};
        slot.kind = Fact::Kind::lane;
        slot.range = {0, count - 1};
        written_registers(inner->body, written);
        lanes = {};
      } else if (inner->kind == LoopKind::unroll || lane || count == 1) {
        for (int64_t value = fact.range.lo; value <= fact.range.hi; value += inner->step) {
          spend(1);
          slot = constant_fact(value);
          written_registers(inner->body, written);
        }
      } else if (count > 1) {
        fact.scalar = b.getInt64(0);
        slot = fact;
        written_registers(inner->body, written);
      }
      slot = outer;
    }
  }
}

// Phis that only other such phis use: registers that every iteration writes before it reads them.
void Emitter::erase_dead_phis()
{
  std::set<llvm::PHINode*> dead;
  for (llvm::BasicBlock& each : *f)
    for (llvm::PHINode& phi : each.phis())
      dead.insert(&phi);
  for (bool changed = true; changed;) {
    changed = std::erase_if(dead, [&](llvm::PHINode* phi) {
                return std::any_of(phi->user_begin(), phi->user_end(), [&](llvm::User* user) {
                  auto* other = llvm::dyn_cast<llvm::PHINode>(user);
                  return !other || !dead.contains(other);
                });
              }) > 0;
  }
  for (llvm::PHINode* phi : dead)
    phi->replaceAllUsesWith(llvm::PoisonValue::get(phi->getType()));
  for (llvm::PHINode* phi : dead)
    phi->eraseFromParent();
}

// The collapsed chain: digits of the first task by division, then the next task by counting up.
void Emitter::tasks(std::vector<const Loop*>& chain, const std::vector<Node>& body, llvm::Value* begin,
                    llvm::Value* end)
{
  struct Digit {
    const Loop* loop;
    Fact fact;
    llvm::Value *first, *limit, *initial;
    llvm::PHINode* phi;
  };
  std::vector<Digit> digits;
  for (const Loop* loop : chain) {
    Affine count = *trips(*loop);
    if (count == Affine(1)) { // a constant, as in any loop
      Fact fact = fact_of(*loop);
      fact.kind = Fact::Kind::constant;
      fact.value = fact.range.lo;
      fact.range.hi = fact.range.lo;
      facts[static_cast<size_t>(loop->index)] = fact;
      continue;
    }
    Digit digit{loop, fact_of(*loop), bound(loop->begin, true), nullptr, nullptr, nullptr};
    digit.limit =
        b.CreateNSWAdd(digit.first, b.CreateNSWMul(scalar(count), b.getInt64(static_cast<uint64_t>(loop->step))));
    digits.push_back(digit);
  }
  llvm::Value* rest = begin;
  for (size_t k = digits.size(); k-- > 0;) {
    Digit& digit = digits[k];
    llvm::Value* number = rest;
    if (k > 0) {
      llvm::Value* count = scalar(*trips(*digit.loop));
      number = b.CreateURem(rest, count);
      rest = b.CreateUDiv(rest, count);
    }
    digit.initial =
        b.CreateNSWAdd(digit.first, b.CreateNSWMul(number, b.getInt64(static_cast<uint64_t>(digit.loop->step))));
  }

  llvm::BasicBlock *before = b.GetInsertBlock(), *head = block("task");
  b.CreateBr(head);
  b.SetInsertPoint(head);
  llvm::PHINode* task = b.CreatePHI(b.getInt64Ty(), 2, "task");
  task->addIncoming(begin, before);
  for (Digit& digit : digits) {
    digit.phi = b.CreatePHI(b.getInt64Ty(), 2, nest.indices[static_cast<size_t>(digit.loop->index)].name);
    digit.phi->addIncoming(digit.initial, before);
    digit.fact.scalar = digit.phi;
    digit.fact.level = static_cast<int>(levels.size());
    facts[static_cast<size_t>(digit.loop->index)] = digit.fact;
  }
  push_level();
  registers.clear();
  forget_loads();
  nodes(body);
  pop_level();

  llvm::BasicBlock* latch = b.GetInsertBlock();
  llvm::Value* carry = b.getTrue();
  for (size_t k = digits.size(); k-- > 0;) {
    Digit& digit = digits[k];
    llvm::Value* next = b.CreateNSWAdd(digit.phi, b.getInt64(static_cast<uint64_t>(digit.loop->step)));
    llvm::Value* wraps = k > 0 ? b.CreateICmpEQ(next, digit.limit) : b.getFalse();
    next = b.CreateSelect(carry, b.CreateSelect(wraps, digit.first, next), digit.phi);
    digit.phi->addIncoming(next, latch);
    carry = b.CreateAnd(carry, wraps);
  }
  llvm::Value* next = b.CreateAdd(task, b.getInt64(1), "", true, true);
  task->addIncoming(next, latch);
  llvm::BasicBlock* after = block("end");
  b.CreateCondBr(b.CreateICmpSLT(next, end), head, after);
  b.SetInsertPoint(after);
}

EmittedRegion Emitter::region(std::span<const Node> top, const std::string& name)
{
  EmittedRegion result;
  facts.assign(nest.indices.size(), {});
  batch = {};
  batch.kind = Fact::Kind::scalar;
  batch.range = {1, int64_t{1} << 31};
  levels.clear();
  registers.clear();
  forget_loads();
  lanes = {};
  spent = 0;

  std::vector<const Loop*> chain;
  std::span<const Node> body = top;
  result.tasks = 1;
  for (const Loop* loop = only_loop(body); loop && loop->kind == LoopKind::parallel; loop = only_loop(body)) {
    std::optional<Affine> count = trips(*loop);
    if (!count || (!count->is_constant() && !result.tasks.is_constant()))
      break;
    result.tasks = count->is_constant() ? result.tasks * count->constant : *count * result.tasks.constant;
    chain.push_back(loop);
    body = loop->body;
  }

  // The function that others call takes the pointers out of `args`; the inner one has them as noalias parameters.
  llvm::LLVMContext& context = module.getContext();
  llvm::Type *ptr = b.getPtrTy(), *i64 = b.getInt64Ty();
  auto* outer_type = llvm::FunctionType::get(b.getVoidTy(), {ptr, i64, ptr, i64, i64}, false);
  auto* outer = llvm::Function::Create(outer_type, llvm::GlobalValue::ExternalLinkage, name, module);
  outer->setVisibility(llvm::GlobalValue::HiddenVisibility);
  b.SetInsertPoint(llvm::BasicBlock::Create(context, "entry", outer));

  buffers.assign(nest.buffers.size(), {});
  std::vector<llvm::Type*> types{i64, i64, i64};
  std::vector<llvm::Value*> arguments{outer->getArg(1), outer->getArg(3), outer->getArg(4)};
  struct Bytes {
    int64_t begin, end;
    int buffer;
  };
  std::vector<Bytes> locals;
  std::map<int, unsigned> parameters; // of each group: which parameter it is
  int argument = 0;
  for (int i = 0; i < std::ssize(nest.buffers); ++i) {
    const Buffer& buffer = nest.buffers[static_cast<size_t>(i)];
    BufferState& state = buffers[static_cast<size_t>(i)];
    state.group = i;
    if (buffer.role == BufferRole::registers)
      continue;
    state.strides = axis_strides(buffer.layout, buffer.type.shape);
    state.stored = stored_elements(buffer.layout, buffer.type.shape);
    if (buffer.role == BufferRole::local) {
      locals.push_back({buffer.offset, buffer.offset + state.stored * bytes_of(buffer.type.dtype), i});
      continue;
    }
    llvm::Value* slot = b.CreatePtrAdd(outer->getArg(0), b.getInt64(static_cast<uint64_t>(argument++ * 8)));
    parameters[i] = static_cast<unsigned>(types.size());
    types.push_back(ptr);
    arguments.push_back(b.CreateLoad(ptr, slot));
  }
  // Locals that share bytes, at different times, are one pointer: nothing may be moved across between them.
  std::sort(locals.begin(), locals.end(), [](const Bytes& x, const Bytes& y) { return x.begin < y.begin; });
  std::map<int, int64_t> bases;
  for (size_t i = 0; i < locals.size();) {
    int group = locals[i].buffer;
    int64_t base = locals[i].begin, end = locals[i].end;
    bases[group] = base;
    parameters[group] = static_cast<unsigned>(types.size());
    types.push_back(ptr);
    arguments.push_back(b.CreatePtrAdd(outer->getArg(2), b.getInt64(static_cast<uint64_t>(base))));
    for (; i < locals.size() && locals[i].begin < end; ++i) {
      end = std::max(end, locals[i].end);
      buffers[static_cast<size_t>(locals[i].buffer)].group = group;
    }
  }

  auto* inner_type = llvm::FunctionType::get(b.getVoidTy(), types, false);
  f = llvm::Function::Create(inner_type, llvm::GlobalValue::InternalLinkage, name + ".body", module);
  b.CreateCall(f, arguments);
  b.CreateRetVoid();
  for (llvm::Function* each : {outer, f}) {
    each->addFnAttr(llvm::Attribute::NoUnwind);
    if (!target.cpu.empty())
      each->addFnAttr("target-cpu", target.cpu);
    if (!target.features.empty())
      each->addFnAttr("target-features", target.features);
    if (target.vector_bytes >= 64)
      each->addFnAttr("prefer-vector-width", "512");
  }
  f->addFnAttr(llvm::Attribute::NoInline);
  for (auto [group, parameter] : parameters) {
    f->addParamAttr(parameter, llvm::Attribute::NoAlias);
    if (nest.buffers[static_cast<size_t>(group)].role == BufferRole::in)
      f->addParamAttr(parameter, llvm::Attribute::ReadOnly);
  }

  widths.clear();
  written_registers(top, widths);
  llvm::BasicBlock* entry = block("entry");
  llvm::BasicBlock* work = block("work");
  b.SetInsertPoint(entry);
  batch.scalar = f->getArg(0);
  for (int i = 0; i < std::ssize(nest.buffers); ++i) {
    BufferState& state = buffers[static_cast<size_t>(i)];
    const Buffer& buffer = nest.buffers[static_cast<size_t>(i)];
    if (buffer.role == BufferRole::registers)
      continue;
    state.pointer = f->getArg(parameters.at(state.group));
    if (buffer.role == BufferRole::local && buffer.offset != bases.at(state.group))
      state.pointer =
          b.CreatePtrAdd(state.pointer, b.getInt64(static_cast<uint64_t>(buffer.offset - bases.at(state.group))));
  }
  push_level();
  llvm::Value *begin = f->getArg(1), *end = f->getArg(2);
  llvm::BasicBlock* nothing = llvm::BasicBlock::Create(context, "nothing", f);
  b.CreateCondBr(b.CreateICmpSLT(begin, end), work, nothing);
  b.SetInsertPoint(work);
  if (chain.empty()) {
    for (const Node& each : body)
      node(each);
  } else {
    tasks(chain, chain.back()->body, begin, end);
  }
  b.CreateRetVoid();
  pop_level();
  nothing->moveAfter(&f->back());
  b.SetInsertPoint(nothing);
  b.CreateRetVoid();

  erase_dead_phis();

  std::string complaint;
  llvm::raw_string_ostream stream(complaint);
  if (llvm::verifyFunction(*f, &stream) || llvm::verifyFunction(*outer, &stream))
    fail("the IR is broken: " + complaint);
  result.function = outer;
  return result;
}

std::vector<EmittedRegion> emit_nest(llvm::Module& module, const Nest& nest, const Target& target)
{
  std::vector<EmittedRegion> regions;
  Emitter emitter(module, nest, target);
  auto is_parallel = [](const Node& node) {
    auto* loop = std::get_if<Loop>(&node.is);
    return loop && loop->kind == LoopKind::parallel;
  };
  std::span<const Node> all = nest.body;
  for (size_t i = 0; i < all.size();) {
    size_t end = i + 1;
    if (!is_parallel(all[i]))
      while (end < all.size() && !is_parallel(all[end]))
        ++end;
    std::string name = nest.name + (regions.empty() ? "" : "." + std::to_string(regions.size()));
    regions.push_back(emitter.region(all.subspan(i, end - i), name));
    i = end;
  }
  return regions;
}

} // namespace cnnc
