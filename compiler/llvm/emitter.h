// The state of one region's emission. The parts: emit_nest.cpp (loops, regions), emit_nest_store.cpp (stores and
// registers), emit_nest_unroll.cpp (accumulators), emit_nest_dot.cpp (narrow products), emit_nest_address.cpp (where an element lies), emit_nest_memory.cpp
// (loads and stores of lanes), emit_nest_border.cpp (zero_border), emit_expr.cpp (values).
//
// Levels: 0 is the function, then one for each loop that remains a loop. Integer arithmetic of a level (sums of affine
// terms, addresses) is put at the head of that loop, before its marker: as far out as its indices allow. What is left
// in a body is a base pointer plus a constant.
#pragma once

#include "compiler/llvm/chain.h"
#include "compiler/llvm/emit_nest.h"

#include <llvm/IR/IRBuilder.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>

namespace cnnc {

// Values with the wrap-around taken out: bounds that do not fit are as good as infinite.
struct Range {
  int64_t lo, hi;
};
constexpr int64_t cache_line = 64; // bytes

// What is known of an index at this point of the emission.
struct Fact {
  enum class Kind : uint8_t { unknown, constant, same, scalar, lane };
  Kind kind = Kind::unknown;
  int64_t value = 0;             // constant
  Affine as;                     // same: a loop of one iteration is its begin
  llvm::Value* scalar = nullptr; // scalar: an i64
  int level = 0;
  Range range{-unbounded, unbounded};
  int64_t modulus = 1, residue = 0; // index = residue (mod modulus)
  std::vector<Affine> ends;         // it stays below all of these
};

inline Fact constant_fact(int64_t value)
{
  Fact fact;
  fact.kind = Fact::Kind::constant;
  fact.value = value;
  fact.range = {value, value};
  return fact;
}

struct Level {
  llvm::Instruction* marker = nullptr; // code of this level stands before it
  std::map<std::vector<int64_t>, llvm::Value*> memo;
  // Of a counted loop:
  int index = -2;
  llvm::BasicBlock* before = nullptr;
  llvm::Value* begin = nullptr;
  std::vector<std::pair<llvm::PHINode*, int64_t>> pointers; // that go on by so many bytes for each step of 1
};

// The lanes loop that is being emitted: lane l has the index begin + step * l; `width` is the next power of two.
struct Lanes {
  int index = -1;
  int64_t begin = 0, step = 1;
  int count = 0, width = 0;
  std::vector<bool> active; // of the width: those below count that no branch leaves out
  bool all() const { return std::find(active.begin(), active.end(), false) == active.end(); }
};

// Where the lanes of an access lie, in elements: `scalar` + sum of computed, and for each lane more.
struct Address {
  struct Computed {
    llvm::Value* value;
    int level;
    int64_t factor;
  };
  Affine scalar;                  // of indices that remain loops
  std::vector<Computed> computed; // run-time quotients and remainders
  std::vector<int64_t> lanes;     // `count` of them; empty: every lane means the same element
  llvm::Value* vector = nullptr;  // a run-time part for each lane, <width x i64>
  bool is_scalar() const { return lanes.empty() && !vector; }
};

// Which lanes take part: the constant ones, and what has to be asked at run time.
struct Mask {
  std::vector<bool> lanes;          // empty: all `width` of them
  llvm::Value* vector = nullptr;    // <width x i1>
  llvm::Value* condition = nullptr; // i1 for all
};

// A register or a vector of them: buffer, and the element of its first lane.
using RegisterKey = std::pair<int, int64_t>;

class Emitter {
public:
  Emitter(llvm::Module& module, const Nest& nest, const Target& target);
  EmittedRegion region(std::span<const Node> nodes, const std::string& name);

private:
  struct BufferState {
    llvm::Value* pointer = nullptr;
    int group = 0; // buffers whose bytes overlap
    std::vector<int64_t> strides;
    int64_t stored = 0; // elements, of one image
  };
  struct Written {
    int width; // 0: a scalar
    DType type;
    int count; // the most lanes of it that a store ever reaches
  };
  using WrittenRegisters = std::map<RegisterKey, Written>;

  // emit_nest.cpp
  void nodes(const std::vector<Node>&);
  void node(const Node&);
  void loop(const Loop&);
  void counted(const Loop&, const Fact&);
  void unrolled(const Loop&, int64_t begin, int64_t end);
  void lanes_loop(const Loop&);
  void branch(const If&);
  void branch_of_lanes(const If&, const Affine& condition);
  void tasks(std::vector<const Loop*>& chain, const std::vector<Node>& body, llvm::Value* begin, llvm::Value* end);
  Fact fact_of(const Loop&) const;
  llvm::Value* bound(const std::vector<Affine>&, bool largest);
  void written_registers(std::span<const Node>, WrittenRegisters&);
  void note_register(int buffer, const std::vector<Affine>& at, WrittenRegisters&);
  void push_level();
  void pop_level();
  void erase_dead_phis();
  void afford(int64_t nodes) const;
  void spend(int64_t nodes);
  llvm::BasicBlock* block(const char* name);
  [[noreturn]] void fail(const std::string& what) const;

  // emit_nest_store.cpp
  void store(const Store&);
  llvm::Value* updated(const Store&, llvm::Value* old, llvm::Value** wins);
  llvm::Value* as_lanes(llvm::Value*);
  RegisterKey register_key(int buffer, const std::vector<Affine>& at, bool* along_lanes) const;
  llvm::Value* read_register(int buffer, const std::vector<Affine>& at);
  void write_register(int buffer, const std::vector<Affine>& at, llvm::Value*);
  bool is_start_of_others(RegisterKey, llvm::Value*) const;
  llvm::Value* with_width(llvm::Value*, int width);
  llvm::Value* zero(DType, int width);

  // emit_nest_unroll.cpp
  size_t accumulate(std::span<const Node>); // how many of the first nodes are emitted: 0 where they are no such loops
  void run_in(const std::vector<Instance>& order, const Chain&, Ends&);
  void run_steps(const std::vector<Chain>&, Ends&, bool crowded);
  void run_ready(Ends&, const Chain&, const Instance&);
  template<class Run> // the loops' indices are these numbers meanwhile
  void with_values(const std::vector<const Loop*>&, const int64_t* values, const Run&);
  void read_again();
  void forget_loads();

  // emit_nest_order.cpp
  llvm::CallInst* in_place(llvm::Type*, std::string_view text, const char* constraints, llvm::Value* operand);
  llvm::Value* made_here(llvm::Value*);
  void prefetch_here(llvm::Value* at, std::string_view instruction);
  void read_here(int buffer);

  // emit_nest_dot.cpp
  llvm::Value* dot(const Expr& product, llvm::Value* sum);
  llvm::Value* load_groups(const Expr& read);

  // emit_nest_border.cpp
  void zero_border(const ZeroBorder&);

  // emit_nest_address.cpp
  Affine known(const Affine&) const; // constants put in; the lanes index stands for the lane's number
  Range range_of(const Affine& known) const;
  const Fact& fact(int index) const;
  void multiple_of(const Affine& known, int64_t* modulus, int64_t* residue) const;
  llvm::Value* scalar(const Affine& known); // without the lanes index; emitted at its level
  int level_of(const Affine& known) const;
  llvm::Value* at_level(int level, std::vector<int64_t> key, const std::function<llvm::Value*()>& emit);
  llvm::Value* quotient(const Affine& known, int64_t divisor, bool remainder); // scalar or of each lane
  Address address(int buffer, const std::vector<Affine>& at);
  llvm::Value* turn_of(const Ahead&);     // bytes
  llvm::Value* bytes_ahead(const Ahead&); // 0 where the batch is too small
  void add_axis(Address&, const Affine& known, int64_t stride, const Axis&);
  void add_cut_axis(Address&, const Affine& known, int64_t stride, const Axis&);
  llvm::Value* pointer(int buffer, const Address&, int64_t more = 0); // all but the lanes' part
  Mask lane_mask() const;
  // The lanes (or all) for which 0 <= at < extent; nothing is asked that the ranges prove.
  void check(Mask&, const Affine& known, const Affine& extent, int64_t before, int64_t after);
  llvm::Value* mask_value(const Mask&);                       // nullptr: all lanes
  llvm::Value* lane_values(const Affine& known, llvm::Type*); // <width x type>

  // emit_nest_memory.cpp
  llvm::Value* load(int buffer, const std::vector<Affine>& at, bool checked);
  llvm::Value* load(int buffer, const Address&, const Mask&);
  llvm::Value* load_window(int buffer, const Address&, const Mask&, llvm::Type*);
  void prefetch_ahead(int buffer, const Address&, int64_t first, int count, bool is_store);
  void prefetch(const Prefetch&);
  void prefetch(llvm::Value* at, bool is_written, uint32_t locality);
  void store(int buffer, const Address&, llvm::Value*);
  void forget(int buffer);
  llvm::Value* from_memory(llvm::Value*, DType);
  llvm::Value* to_memory(llvm::Value*, DType);
  llvm::Type* memory_type(DType);
  llvm::Type* value_type(DType);
  llvm::Type* vector_of(llvm::Type*, int width);

  // emit_expr.cpp
  llvm::Value* value(const Expr&);
  llvm::Value* fused(const Expr& product, llvm::Value* addend, bool negated = false);
  llvm::Value* sum_with(const Expr& number, const Expr& function); // exp or erf
  llvm::Value* function(const Expr&);
  llvm::Value* cast(const Expr&);
  llvm::Value* to_byte(const Expr&);
  llvm::Value* random(const Expr&);
  llvm::Value* reduce_lanes(const Expr&);
  llvm::Value* index_value(const Affine&);
  llvm::Value* divide(llvm::Value*, llvm::Value*, DType);
  void match(llvm::Value*&, llvm::Value*&);
  bool is_vector(llvm::Value* v) const { return v->getType()->isVectorTy(); }

  llvm::Module& module;
  const Nest& nest;
  const Target& target;
  bool fills_registers = false; // accumulators leave little room beside them
  llvm::IRBuilder<> b;
  llvm::Function* f = nullptr;
  std::vector<BufferState> buffers;
  std::vector<Fact> facts;
  Fact batch;
  std::vector<Level> levels;
  Lanes lanes;
  std::map<RegisterKey, llvm::Value*> registers;
  std::map<RegisterKey, llvm::Value*>* registers_here = nullptr; // that a store at the end of sums reads: see made_here
  bool copies_starts = false;                                    // of sums, each factor of which is read once
  const llvm::BasicBlock* block_of_shared_factors = nullptr;     // the last one that has other sums
  WrittenRegisters widths; // of each register, the most lanes that the region ever writes at once
  std::map<std::vector<int64_t>, llvm::Value*> loaded; // in this straight line of code: begins with the buffer's group
  std::set<std::vector<int64_t>> stale;                // loaded before read_again(), since the last barrier
  int dot_index = -1;                                  // while its steps are taken in groups: updates add whole groups
  int64_t dot_group = 1;
  int64_t spent = 0;
};

} // namespace cnnc
