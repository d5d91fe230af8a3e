// A kernel as loops over buffers.
//
//   nest @k0(in %x: f32[n,6,14,14], in @w: f32[16,6,5,5] as {0/16, 1, 2, 3, 0%16}, out %y: f32[n,16,10,10] as {...}) {
//     registers %acc: f32[10,16]
//     parallel n in 0..N {
//       for h in 0..10 {
//         unroll w in 0..10 { lanes o in 0..16 { %acc[w,o] = 0 } }
//         for c in 0..6, i in 0..5, j in 0..5 {
//           unroll w in 0..10 { lanes o in 0..16 { %acc[w,o] += %x[n,c,h + i,w + j] * @w[o,c,i,j] } }
//         }
//         unroll w in 0..10 { lanes o in 0..16 { %y[n,o,h,w] = %acc[w,o] } }
//       }
//     }
//   }
//
// Subscripts are logical; where an element lies is the layout's business, and codegen's. `N` is the batch.
// - for:      begin, begin + step, ... below end. Bounds are affine in outer loops; several begins mean the largest,
//             several ends the smallest.
// - parallel: iterations may run on any thread in any order. Only as chains at the top of the nest; the loops of a
//             chain are collapsed into one range of tasks. Bounds depend on nothing but N. Chains, and what stands
//             between them (one task), run one after the other.
// - unroll:   constant bounds, written out by codegen.
// - lanes:    constant bounds, at most the target's lanes of the narrowest type that is stored: one vector. A subscript
//             that uses the index makes a vector access: contiguous, strided or gathered, as the layout has it. Each
//             store happens for all lanes at once: first all values, then all elements. A store whose subscripts do not
//             use the index happens once; its value is the same in all lanes (lane_sum and lane_max make it so).
// - registers: a buffer that never exists in memory. Its subscripts are constants once unrolled; the last one may be
//             the lanes index. A loop carries the values that its body changes.
// - if:       taken where the affine condition is >= 0: full tiles and their tails. With the lanes index: a mask.
// - stores:   `%y[n,o,h,w], %tap max= %x[...] tap 3*i + j` also writes the tap (at the subscripts of %y) where the
//             value wins. Pad lanes may be written, with zeros; borders only by zero_border.
// - ahead:    `in @w: f32[4096,4096] ahead 4096`: each read of @w prefetches the line 4096 bytes behind it;
//             of an `out` or `inout`, each store does. `ahead 32768 turns w/4`: those that a loop over w reads again
//             and again ask for a fourth of these lines in each of four iterations. `ahead 2048 from 4 images`: only
//             where the batch has so many.
// - reads:    `%x[n,c,h - 1,w]` stays within the buffer, borders and pads included; `%x[n,c,h - 1,w]?` is checked, and
//             zero outside.
//
// Loops of one kind with nothing between them may share a line: `for c in 0..6, i in 0..5 {`. Several begins are
// `max(a, b)`, several ends `min(a, b)`, a step follows: `for h in 0..min(28, h0 + 4) step 2`.
// The head may end in `at "lenet5.yaml":4-6 schedule "lanes = o:16"`.
#pragma once

#include "ir/expr.h"
#include "ir/formula.h"
#include "ir/layout.h"
#include "ir/location.h"

#include <memory>

namespace cnnc {

enum class BufferRole : uint8_t {
  in,
  out,
  inout,     // also written in place: updates
  local,     // per thread, in the workspace, alive inside one task
  registers, // never in memory
};

// Which cache lines are asked for early.
struct Ahead {
  int64_t bytes = 0; // behind each that is read; 0: none
  std::string loop;  // "", or the loop whose iterations take turns: each asks for one line of `turns`, a power of two
  int64_t turns = 1;
  int64_t images = 0; // of a batch with so many at least: fewer do not read the lines often enough
  friend bool operator==(const Ahead&, const Ahead&) = default;
};

struct Buffer {
  std::string name; // with its sigil: "%x", "@conv1.weight"
  BufferRole role = BufferRole::in;
  TensorType type;
  Layout layout;      // registers: planar
  int64_t offset = 0; // local: bytes within the thread's part of the workspace, set by plan_memory
  Ahead ahead = {};   // arguments: by each read; of a result, by each store
};

enum class LoopKind : uint8_t { serial, parallel, unroll, lanes };
std::string_view to_string(LoopKind);   // "for", "parallel", "unroll", "lanes"
std::string_view to_string(BufferRole); // "in", "out", "inout", "local", "registers"

struct LoopIndex {
  std::string name;
};

struct Node;

struct Loop {
  int index = 0; // in Nest::indices
  std::vector<Affine> begin, end;
  int64_t step = 1;
  LoopKind kind = LoopKind::serial;
  std::vector<Node> body;
};

// target[at...] update value; with a tap: where `value` wins, tap[at...] = tap_value.
struct Store {
  int target = 0;
  int tap = -1;
  std::vector<Affine> at;
  Update update = Update::assign;
  ExprPtr value;
  Affine tap_value;
};

struct If {
  Affine condition; // >= 0
  std::vector<Node> then_body, else_body;
};

// All borders and pad lanes of `buffer` become zero, for the coordinates of the leading axes that `at` fixes (elements
// of the axes' dimensions, as logical subscripts; fewer than the axes: the rest is swept).
//   zero_border %y[n,o]
struct ZeroBorder {
  int buffer = 0;
  std::vector<Affine> at;
};

// The cache line in which the element lies is asked for; to be written, where the nest may write it.
//   prefetch %y[n,o,h,w]
struct Prefetch {
  int buffer = 0;
  std::vector<Affine> at;
};

struct Node {
  std::variant<Loop, Store, If, ZeroBorder, Prefetch> is;
};

struct Nest {
  std::string name;
  std::vector<Buffer> buffers; // arguments first (in, out, inout), in the order of the kernel's operands
  std::vector<LoopIndex> indices;
  std::vector<Node> body;
  std::string schedule; // the decisions, as text; passes obey it
  Location location;    // of the first op, and the last line of the last
  int last_line = 0;

  int add_index(std::string name); // made unique
  int add_buffer(Buffer);          // likewise
};

std::string to_string(const Nest&);
std::string to_string(const Node&, const Nest&, int indent = 0);
// Reads what to_string wrote. Throws Error at line and column.
Nest parse_nest(const std::shared_ptr<const Source>&);
// Throws InternalError: kinds in their places, subscripts of the right rank, registers with constant subscripts, reads
// that are not `checked` inside their buffer including its border (proved by interval arithmetic where bounds are
// constant), writes inside the extents.
void verify(const Nest&);

void for_each_node(std::vector<Node>&, const std::function<void(Node&)>&); // outer before inner
void for_each_node(const std::vector<Node>&, const std::function<void(const Node&)>&);

} // namespace cnnc
