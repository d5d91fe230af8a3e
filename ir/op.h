// The op table. Everything that the project ever asks of an op stands in its row, one file in ir/ops/.
#pragma once

#include "ir/formula.h"

#include <functional>
#include <span>

namespace cnnc {

using AttributeValue = std::variant<int64_t, double, bool, std::string, std::vector<int64_t>, std::vector<double>,
                                    std::vector<std::string>>;
using Attributes = std::map<std::string, AttributeValue, std::less<>>;

std::string to_string(const AttributeValue&); // 1, 0.5, true, "same", [2, 2]

enum class AttributeKind : uint8_t {
  integer,
  real,
  boolean,
  text,
  integers, // as many as `parts`; one number stands for all of them
  padding,  // integers [top, left, bottom, right], as many before as behind; one number for all; [h, w]; "same" or
            // "valid" in YAML: resolved from kernel and dilation of the same row, the odd one goes to the end
  texts,
  reals, // any number of them
};

struct AttributeDef {
  std::string name = {};
  AttributeKind kind = AttributeKind::integer;
  // None: it must be given. For numbers also a text: the name of an attribute of the same row whose value is taken
  // (a pool's stride is its kernel).
  std::optional<AttributeValue> default_value = {};
  std::vector<std::string> parts = {}; // the symbols in formulas, e.g. stride_h, stride_w; else the name itself
  double minimum = 0;
  double maximum = 1e9;
  std::string doc = {};
  std::vector<std::string> choices = {}; // of a text: these and no others; empty: any
};

// A tensor that a layer brings along: its shape over the symbols of inputs and attributes, its first values.
struct ParameterDef {
  std::string name = {}; // of the operand it becomes
  std::vector<std::string> dims = {};
  // "zero", "one", "he" (normal, sqrt(2/fan_in); He et al. 2015), "glorot" (uniform; Glorot and Bengio 2010)
  std::string initial = {};
  std::string fan_in = {};    // an expression
  std::string only_when = {}; // an attribute that switches it off, e.g. "bias"; "" for always
  // False: no gradient goes to it (running statistics); it keeps its value, or the op's own update (OpDef::updates).
  bool is_learnt = true;
  // An attribute of integers that is the whole shape, in place of dims (a `parameter` layer's).
  std::string shape_from = {};
  // Likewise, where the rank of an input says it (layer_norm's weight); throws an Error. Sees only the other operands.
  std::function<std::vector<int64_t>(const struct OpCall&)> make_dims = {};
};

// A condition over symbols, and what to say where it does not hold. {expression} in the text is replaced by its value.
struct CheckDef {
  std::string condition = {};
  std::string message = {};
};

// What the makers of texts see: an op's operands, and what its attributes say.
struct OpCall {
  const std::vector<BoundInput>& inputs; // a variadic operand is written out: x0, x1, ...
  const Attributes& attributes;
  const Symbols& symbols; // attributes by name and by part, and the dimensions of the operands

  const Shape& shape(size_t input) const { return inputs.at(input).type->shape; }
  bool has(size_t input) const { return input < inputs.size() && inputs[input].type.has_value(); }
  void want_floats() const;                     // throws Error where the first operand is of integers
  int64_t integer(std::string_view name) const; // also of booleans
  double real(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  const std::vector<int64_t>& integers(std::string_view name) const;
  const std::vector<double>& reals(std::string_view name) const;
};
using MakeText = std::function<std::string(const OpCall&)>;

struct OpDef {
  std::string name = {};
  std::string doc = {};                      // one line
  std::vector<std::string> inputs = {};      // operand specs (see OperandSpec)
  std::vector<std::string> outputs = {};     // likewise; a shape in brackets only where the left sides do not imply it
  std::vector<AttributeDef> attributes = {}; // of the op
  std::vector<AttributeDef> layer = {};      // only of the YAML layer: where its parameters' shapes come from (units)
  std::vector<ParameterDef> parameters = {};
  std::vector<CheckDef> checks = {}; // what must hold: an error
  std::vector<CheckDef> hints = {};  // what a user should know: a warning
  std::string formula = {};
  // Where no text can say it (ranks, any number of inputs): makes the text, or throws an Error. One of the two is set.
  MakeText make_formula = {};
  // The element type of the first output, where it is neither the formula's nor written in `outputs` (a cast's).
  std::function<DType(const OpCall&)> make_type = {};
  // The adjoint as text, where that is better than the derived one: statements that write `d<input>` and read inputs,
  // outputs and `d<output>`. Empty: derived.
  std::string gradient = {};
  // Likewise where the text depends on ranks: see gradient_text().
  MakeText make_gradient = {};
  // Why it has none ("" for all that have one).
  std::string no_gradient = {};
  // Extra outputs that only the way back reads (a pool's tap): never written by a graph that has no gradient.
  std::vector<std::string> kept = {};
  // In a training step an output takes the place of an operand when the step ends: {output, operand}. Such outputs
  // exist only where the attribute `training` is set.
  //   batch_norm   {"new_mean", "running_mean"}
  std::vector<std::pair<std::string, std::string>> updates = {};
  // An index remap, x's elements in another shape and the same order: costs nothing.
  bool is_view = false;
  // Pointwise and never decreasing: it changes places with a maximum.
  bool is_monotone = false;
  // A boolean attribute of the name `training`, which no file gives: build_training sets it. The formula may differ.
  bool training_only = false; // in inference the layer's input passes through (dropout)
  bool is_internal = false;   // passes put it in; no layer of a file
  bool is_loss = false;       // may stand in `loss:`; inputs are predictions and labels
  // A loss that contains this op: as the network's last layer it is left out of the training graph ("softmax").
  std::string absorbs = {};
  // May stand in `optimizer:`. One op a parameter; the outputs replace the inputs of the same position, so inputs are
  // the parameter, its states (one for each further output), then `gradient[...]`, then any of the net's scalars by
  // name: `rate[]` (the learning rate, f32) and `step[]:i64` (1 in the first step).
  //   adam   "w[...]", "mean[...]", "square[...]", "gradient[...]", "rate[]", "step[]:i64"  ->  three outputs
  // `differentiate` makes the states, `@conv1.weight.mean` (the parameter's type, zero), and the scalars
  // `@learning_rate` (first value: the attribute learning_rate, which the formula does not read) and `@step`. The
  // attribute `rate_factor` (real, 1 by default) is set to the parameter's Value::rate: the formula multiplies `rate[]`
  // by it.
  bool is_optimizer = false;
};

// The table, in the order of ops.def. User-defined ops are not in it.
std::span<const OpDef* const> op_table();
const OpDef* find_op(std::string_view name); // nullptr
std::vector<std::string> op_names();

// The op whose formula is its attribute `text`: gradients and users' ops.
//   %g = formula %dy, @w {inputs = ["dy[N,O,H,W]", "w[...]"], outputs = ["dx"], text = "dx[n,c] += ..."} : f32[n,64]
extern const OpDef op_formula;

// The operands of an op: its row's, or those that a `formula` op names in its attributes.
std::vector<OperandSpec> input_specs(const OpDef& def, const Attributes& attributes);
std::vector<OperandSpec> output_specs(const OpDef& def, const Attributes& attributes);

// The symbols that a row's texts may use: attributes by name and by part.
Symbols symbols_of(const OpDef& def, const Attributes& attributes);
// Formula of a row on operands of these types. Throws Error at `where` for shapes that do not meet or failed checks. A
// tap declared as u8 is i32 where a window has more than 256 taps.
Formula bind(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs, const Attributes& attributes,
             const Location& where);
// The row's own gradient on these operands, as text ("" where it is to be derived).
std::string gradient_text(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs,
                          const Attributes& attributes);
// Defaults filled in, kinds and bounds checked, single numbers spread over parts. Unknown names are errors with the
// nearest known one. `allow_layer`: also those in def.layer.
Attributes check_attributes(const OpDef& def, const Attributes& given, bool allow_layer, const Location& where);
// The parameters that a YAML layer brings along, from the types of its other operands and its attributes, those of the
// layer included: an operand's name, its type and its first values ("he(25)"). Throws Error.
struct LayerParameter {
  std::string name;
  TensorType type;
  std::string initial;
  bool is_learnt;
};
std::vector<LayerParameter> parameters_of(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs,
                                          const Attributes& attributes, const Location& where);
// What hints say of it.
std::vector<std::string> hints(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs,
                               const Attributes& attributes);

} // namespace cnnc
