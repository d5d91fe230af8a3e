// y = x between min and max, else the nearer of the two, and max where min is above it; NaN stays NaN
#include "ir/op.h"

#include <cmath>
#include <limits>

namespace cnnc {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// A side without a bound is left out: integers have no infinity.
std::string make_clip(const OpCall& op)
{
  std::string value = "x[...]";
  if (op.real("min") != -infinity)
    value = "select(x[...] < min, min, x[...])";
  if (op.real("max") != infinity)
    value = "select(max < " + value + ", max, " + value + ")";
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
