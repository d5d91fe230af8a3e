// Formulas that passes derive, rewrite and put together, as `formula` ops of the graph.
#pragma once

#include "ir/graph.h"

namespace cnnc {

// inputs = ["dy[N,x1]:f32", ...], outputs = ["dx[N,28,28]:f32"], text = the statements. Operands are the formula's
// inputs, in order. Throws InternalError where an output has the batch and no input has: nobody would know it then.
Attributes attributes_of(const Formula&);

// The value that `tensor`, an input of the op's formula, stands for.
int operand_of(const Op&, const Formula&, int tensor);

// What an op is to compute, and on which values.
struct FormulaOp {
  Formula formula;
  std::vector<int> inputs; // values, in the order of the formula's inputs
};

// The inputs have these names, and tensors 0, 1, ...; the one output is the tensor behind them. No statements yet.
FormulaOp formula_on(const Graph&, const std::vector<std::pair<std::string, int>>& inputs, std::string output,
                     TensorType type);
// The input that stands for a value; where there is none, it becomes one, of this name (or name_, name__, ...).
int input_for(FormulaOp&, const Graph&, int value, std::string name);
// Appends `target[i0,i1,...] =`, still without a value. Returns the subscripts.
std::vector<Affine> assign_each(Formula&, int target);
// Appends `target[ik] update=` over all elements of tensor 0, whose dimension k is `channel`, still without a value.
// Returns the subscripts of tensor 0; it has no batch.
std::vector<Affine> reduce_to_channel(Formula&, int target, size_t channel, Update update);

// Appends the op to the graph. Returns its result, a value.
int add_op(Graph&, const FormulaOp&, const std::string& name, const Location& where);
// The op computes this from now on; its outputs stay.
void become(Op&, FormulaOp);

} // namespace cnnc
