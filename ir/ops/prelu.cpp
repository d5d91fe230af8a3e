// y = x where x is positive, else slope * x, the slope learnt: one a channel
//
// He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015. A slope of one dimension goes along the channels
// where there are as many; any other shape broadcasts as in NumPy.
#include "ir/op.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string make_prelu(const OpCall& op)
{
  const Shape &x = op.shape(0), &slope = op.shape(1);
  if (slope.size() != 1 || x.size() < 3 || x[1] != slope[0])
    return "y[...] = select(x[...] < 0, slope[...]*x[...], x[...])";
  std::string at = "n,c";
  for (size_t d = 2; d < x.size(); ++d)
    at += fmt::format(",i{}", d);
  return fmt::format("y[{0}] = select(x[{0}] < 0, slope[c]*x[{0}], x[{0}])", at);
}

} // namespace

extern const OpDef op_prelu{
    .name = "prelu",
    .doc = "keeps what is positive and a learnt part of what is not",
    .inputs = {"x[N,C,...]", "slope[...]"},
    .outputs = {"y"},
    .parameters = {{.name = "slope", .dims = {"C"}, .initial = "constant(0.25)"}},
    .make_formula = make_prelu,
};

} // namespace cnnc
