// Reverse mode on formulas.
//
//   y[n,o,h] += x[n,c,2*h + i - 1] * w[o,c,i]    =>   dx[n,c,2*h + i - 1] += dy[n,o,h] * w[o,c,i]
//                                                     dw[o,c,i] += dy[n,o,h] * x[n,c,2*h + i - 1]
//
// For each read R[g] of a term E that updates T[f]: dR[g] += dT[f] * dE/dR. The derivative of an op is a formula again,
// and one of dx may be a scatter, as here: ir/gather.h makes it a gather.
#pragma once

#include "ir/op.h"

namespace cnnc {

// A formula whose outputs are gradients, and what of the differentiated op its inputs are.
struct Gradient {
  enum class From : uint8_t { input, output, adjoint };
  struct Operand {
    From from;
    int number; // of the op's inputs, or of its outputs
    friend bool operator==(const Operand&, const Operand&) = default;
  };

  Formula formula;               // outputs d<input>; dead statements are gone
  std::vector<Operand> operands; // of the formula's inputs, in order
  std::vector<int> wanted;       // the op's inputs whose gradients the outputs are, in order
};

// The adjoints of `forward` with respect to the op's inputs `wanted` (numbers as in Formula::input_numbers), given the
// adjoints of those outputs that have one. A wanted input that does not influence them, or only in steps (comparisons,
// floor, integers), is left out: its gradient is zero.
//
// Adjoints read outputs rather than inputs where a term is one: exp and tanh keep y, not x. Locals are computed again.
// Where operands are equal, max and min pass the whole adjoint to the first; max= and min= to the first winner, by the
// tap. Throws Error at `where` for a formula that this cannot do: a tensor that is read before it is complete, or
// assigned twice at one element.
Gradient derive(const Formula& forward, const std::vector<int>& wanted, const std::vector<bool>& have_adjoint,
                const Location& where);

// The gradients of an op, one formula for each wanted input so that dead ones vanish: derived, or the row's own text.
// Empty where def says that it has none (no_gradient).
std::vector<Gradient> gradients_of(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs,
                                   const Attributes& attributes, const std::vector<int>& wanted,
                                   const std::vector<bool>& have_adjoint, const Location& where);

// The chain rule through one term: `result` receives each read of an active tensor with its adjoint, where `adjoint` is
// that of `e`. Zero adjoints are left out.
void propagate(const ExprPtr& e, const ExprPtr& adjoint, const std::function<bool(int tensor)>& active,
               const std::function<void(const ExprPtr& read, const ExprPtr& adjoint)>& result);

} // namespace cnnc
