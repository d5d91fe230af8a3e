// y = x between min and max, else the nearer of the two, and max where min is above it; NaN stays NaN
#include "ir/op.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace cnnc {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

std::string bound(const OpCall& op, const std::string& name)
{
  const DType type = op.inputs[0].type->dtype;
  if (is_float(type))
    return name;
  if (op.real(name) != std::floor(op.real(name)))
    throw Error({}, fmt::format("{} is {}, and the tensor {}", name, op.real(name), to_string(type)));
  return fmt::format("cast({}, {})", to_string(type), name);
}

// A side without a bound is left out: integers have no infinity.
std::string make_clip(const OpCall& op)
{
  std::string value = "x[...]";
  if (op.real("min") != -infinity)
    value = fmt::format("select(x[...] < {0}, {0}, x[...])", bound(op, "min"));
  if (op.real("max") != infinity)
    value = fmt::format("select({0} < {1}, {0}, {1})", bound(op, "max"), value);
  return "y[...] = " + value;
}

} // namespace

extern const OpDef op_clip{
    .name = "clip",
    .doc = "keeps numbers between two bounds",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "min",
                    .kind = AttributeKind::real,
                    .default_value = -infinity,
                    .minimum = -infinity,
                    .maximum = infinity,
                    .doc = "the lower bound; none by default"},
                   {.name = "max",
                    .kind = AttributeKind::real,
                    .default_value = infinity,
                    .minimum = -infinity,
                    .maximum = infinity,
                    .doc = "the upper bound; none by default"}},
    .make_formula = make_clip,
    .is_monotone = true,
};

} // namespace cnnc
