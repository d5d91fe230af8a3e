// y = a^b, shapes broadcast as in NumPy, in a's element type
//
// Where one of them is an integer, both are taken as f64: exact up to 2^53; what a cannot hold is the nearest it can.
// The gradient to b is 0 where a is 0: a power of 0 does not change with b.
#include "ir/op.h"

namespace cnnc {

namespace {

std::string make_pow(const OpCall& op)
{
  const DType a = op.inputs[0].type->dtype, b = op.inputs[1].type->dtype;
  if (is_float(a) && is_float(b))
    return "y[...] = pow(a[...], b[...])";
  if (is_float(a))
    return "y[...] = pow(a[...], cast(" + std::string(to_string(a)) + ", b[...]))";
  return "y[...] = cast(" + std::string(to_string(a)) + ", pow(cast(f64, a[...]), cast(f64, b[...])))";
}

} // namespace

extern const OpDef op_pow{
    .name = "pow",
    .doc = "a to the power of b, element by element; dimensions of 1 are repeated",
    .inputs = {"a[...]", "b[...]"},
    .outputs = {"y"},
    .make_formula = make_pow,
    .make_type = [](const OpCall& op) { return op.inputs[0].type->dtype; },
};

} // namespace cnnc
