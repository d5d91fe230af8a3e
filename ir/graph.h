// A network as ops on values, grouped into kernels.
//
//   net @lenet5(%image: f32[n,1,28,28]) {
//     parameter @conv1.weight: f32[6,1,5,5] = he(25)                                    at "lenet5.yaml":4:5
//     parameter @conv1.bias: f32[6] = zero rate 2                                       at "lenet5.yaml":4:5
//     kernel k0 {
//       %conv1 = conv2d %image, @conv1.weight, @conv1.bias {padding = [2, 2, 2, 2]} : f32[n,6,28,28]
//           at "lenet5.yaml":4:5
//       %relu1 = relu %conv1 : f32[n,6,28,28] at "lenet5.yaml":5:5
//     }
//     ...
//     output %softmax
//     update @conv1.weight = %conv1.weight.new
//   }
//
// A value's layout, once chosen, follows its type: `f32[n,64,56,56] as {0, 1/16, 2+1+1, 3+1+1, 1%16}`; its place in the
// arena follows that: `in image 8192` (region and byte offset), or `in %y at 64` (see Value::whole). An absent optional
// operand is `_`. Ops outside of any `kernel` block have no kernel yet, or need none. Several results: `%y, %tap =
// max_pool2d %x {...} : f32[...], u8[...]`.
#pragma once

#include "ir/layout.h"
#include "ir/op.h"
#include "ir/tensor.h"

#include <map>
#include <memory>
#include <optional>
#include <set>

namespace cnnc {

enum class ValueKind : uint8_t {
  input,     // the caller's, for each call
  parameter, // learnt; lives in the parameter blob
  state,     // lives across steps beside the parameters: moments, the step counter, running statistics
  prepared,  // follows from the parameters alone; `<name>.prepare` computes it whenever they change; lives behind them
  constant,  // known now
  result,    // of an op
  temporary, // memory that one lowered kernel needs beside its operands; no op makes it: "temporary %loss.l: f32[n]"
};

// Where a value's bytes lie. A call's workspace is fixed_bytes + n * image_bytes + threads * thread_bytes + run_bytes for
// each image that is on its way through a run of kernels alone (see image_by_image), in this order.
//   fixed      workspace + offset
//   image      workspace + fixed_bytes + n * offset            (n images lie behind each other)
//   run        the part of the image on its way + offset
//   parameter, state, constant: offset in the blob of that name (a prepared value: in that of the parameters)
// Inputs and outputs of the net have none: they are the caller's pointers.
enum class Region : uint8_t { none, fixed, image, run, parameter, state, constant };

struct Value {
  std::string name = {}; // without % or @; unique in the graph. What outlives a call prints with @
  ValueKind kind = ValueKind::result;
  TensorType type = {};
  std::optional<Layout> layout = {}; // nothing: planar so far
  Region region = Region::none;
  int64_t offset = 0; // bytes, a multiple of 64
  // Its memory is a part of another result's: elements whole_at, whole_at + 1, ... of that one's dimension 1. It then has
  // no region of its own. What joins such parts, or takes one out, has no kernel: nothing is left to do.
  int whole = -1;
  int64_t whole_at = 0;
  int op = -1; // that makes it (results), and which of its outputs
  int output = 0;
  std::string initial = {}; // parameters and states: "zero", "one", "constant(0.05)", "he(25)", "glorot(25,6)"
  int64_t limit = 0;        // integer inputs: values are in [0, limit), checked at the call; 0: any. "below 10"
  double rate = 1;          // parameters: times the learning rate; 0 is frozen
  std::shared_ptr<const Tensor> data = {}; // constants, and parameters whose data is known
  std::string data_name = {};              // elided data: its name in the side file (see elided_data)
  Location location = {};
};

struct Op {
  const OpDef* def = nullptr;
  std::string name = {};         // the layer's, for messages; may be empty
  std::vector<int> inputs = {};  // value numbers; -1 where an optional operand is absent
  std::vector<int> outputs = {}; // in the row's order; those that are only kept for the way back may be missing
  Attributes attributes = {};    // checked, with defaults
  Location location = {};
  int kernel = -1;
};

struct Kernel {
  std::string name = {};
  std::vector<int> ops = {};       // in order; the last one's outputs and those that others read are stored
  Attributes schedule = {};        // decisions of the scheduler, or the user's; see docs/passes.md
  int nest = -1;                   // in Program::nests, once lowered: "kernel k0 -> @conv2d_relu_1f3a(%x, @w, %y) {"
  std::vector<int> arguments = {}; // once lowered: the values that the nest's arguments stand for, in their order
};

// "update @w = %w.new": at the end of the call the value takes the parameter's (or state's) place. A prepared value is
// written where it stands: nothing reads it in the function that makes it.
struct StateUpdate {
  int target;
  int value;
};

// What `differentiate` is asked for, until it has run:
//   train %loss {optimizer = "sgd", momentum = 0.9}        the optimizer's ops and updates are added
//   train %loss {gradients = ["w1", "image"]}              the named values' gradients become outputs "w1.gradient"
struct Training {
  int loss = -1;
  const OpDef* optimizer = nullptr;
  Attributes attributes = {}; // the optimizer's
  std::vector<std::string> gradients = {};
};

// What `lower_precision` is asked for, until it has run; results keep their type.
//   precision bf16             contractions multiply bf16 numbers, sums are f32
//   precision bf16 weights     only large parameters are bf16
//   precision i8               contractions multiply 8-bit integers where the operand's range is known
//   range %relu1 = 0, 5.75     what the value was found to be, on the pictures that it was calibrated with
//   range %relu2 = [0, 5.75], [0, 0.5]     likewise, each of its channels (dimension 1)
//   range %relu3 = 0, 5.75, 1.25           and its mean
//   range %relu4 = bf16                    8 bits are too few for it: contractions multiply it as bf16
struct LowPrecision {
  DType type = DType::bf16;
  bool weights_only = false;
  struct Range {
    double low = 0, high = 0, mean = 0;
  };
  using Ranges = std::vector<Range>;         // one, or one for each channel
  std::map<std::string, Ranges> ranges = {}; // by the value's name
  std::set<std::string> wide = {};           // values that are bf16 though `type` is i8
};

struct Graph {
  std::string name;
  std::vector<Value> values; // erased ones stay as holes until compact()
  std::vector<Op> ops;       // in an order in which operands come before their users
  std::vector<Kernel> kernels;
  std::vector<int> outputs;
  std::vector<StateUpdate> updates;
  std::optional<Training> training;
  std::optional<LowPrecision> precision;
  int64_t fixed_bytes = 0, image_bytes = 0, thread_bytes = 0, run_bytes = 0; // the workspace, once planned
  Location location;

  int find(std::string_view name) const; // value, -1
  int add_value(Value);                  // the name is made unique: "relu", "relu.1"
  // Result types and names are made from the row's formula; the op is appended. Throws Error.
  int add_op(const OpDef& def, std::string name, std::vector<int> inputs, Attributes attributes, Location where);
};

bool may_be_updated(ValueKind); // parameters, states, prepared values
std::vector<int> values_of(const Graph&, ValueKind);
// Why a value cannot be the part that it says it is, or nothing.
std::string why_no_part(const Graph&, const Value& part);
// Elements between the first one of a part's whole and its own, within one image.
int64_t elements_before(const Graph&, const Value& part);
// For each value the ops that read it (by number, ascending).
std::vector<std::vector<int>> users_of(const Graph&);
// Bound to the op's operands; outputs that the op does not have are left out.
Formula formula_of(const Graph&, const Op&);
// Gives the op the outputs that its row only keeps for the way back.
void add_kept(Graph&, int op);
// Dead ops (no output read, not an output, not an update) removed, values and ops renumbered without holes; which op
// makes a value and which ops a kernel has follow from the ops' outputs and kernels, so a pass may insert, reorder and
// erase ops and call this. Inputs, parameters and states stay.
void compact(Graph&);

std::string to_string(const Graph&);
// Data of more than 64 elements prints as `= data "name"`: these, for a side file. parse_graph leaves `data` empty
// there and sets `data_name`; whoever has the file fills it in.
std::vector<std::pair<std::string, const Tensor*>> elided_data(const Graph&);
// Reads what to_string wrote; comments run from `#` to the end of the line. Throws Error at line and column.
// Types of results are checked against the formulas.
Graph parse_graph(const std::shared_ptr<const Source>&);

// All that must hold between passes: operands before users, types as the formulas say, names unique, kernels contiguous
// and complete or absent, updates of equal type, layouts valid. Throws InternalError with the op's text.
void verify(const Graph&);

} // namespace cnnc
