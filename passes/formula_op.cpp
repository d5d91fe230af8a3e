#include "passes/formula_op.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

// Of an operand, batch dimensions are named, "N" or "N4" for 4*n, and others have names of their own; of a result they
// are written out: an operand of the same extent may not be there.
std::string operand(const FormulaTensor& tensor, bool is_output)
{
  std::string dims;
  for (size_t d = 0; d < tensor.type.shape.size(); d++) {
    const Dim& dim = tensor.type.shape[d];
    dims += d == 0 ? "" : ",";
    if (dim.batch)
      dims += dim.size == 1 ? "N" : is_output ? fmt::format("{}*N", dim.size) : fmt::format("N{}", dim.size);
    else
      dims += is_output ? fmt::format("{}", dim.size) : fmt::format("{}_{}", tensor.name, d);
  }
  return fmt::format("{}[{}]:{}", tensor.name, dims, to_string(tensor.type.dtype));
}

} // namespace

Attributes attributes_of(const Formula& formula)
{
  std::vector<std::string> inputs, outputs;
  bool knows_batch = false, has_batch_output = false;
  for (const FormulaTensor& tensor : formula.tensors)
    if (tensor.role == Role::input) {
      inputs.push_back(operand(tensor, false));
      knows_batch = knows_batch || has_batch(tensor.type.shape);
    } else if (tensor.role == Role::output) {
      outputs.push_back(operand(tensor, true));
      has_batch_output = has_batch_output || has_batch(tensor.type.shape);
    }
  if (has_batch_output && !knows_batch)
    throw InternalError(fmt::format("no operand of `{}` has the batch", to_string(formula)));
  return {{"inputs", inputs}, {"outputs", outputs}, {"text", to_string(formula)}};
}

} // namespace cnnc
