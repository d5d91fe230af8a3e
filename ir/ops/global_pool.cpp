// y[n,c,0,0] = sum over h, w of x[n,c,h,w] / (H*W), or the largest of them, or (sum |x|^p)^(1/p)
#include "ir/power_mean.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

struct Subscripts {
  std::string all, one; // n,c,i2,i3 and n,c,0,0
  int64_t points = 1;
};

Subscripts subscripts(const OpCall& op)
{
  Subscripts s{"n,c", "n,c", 1};
  for (size_t d = 2; d < op.shape(0).size(); ++d) {
    s.all += fmt::format(",i{}", d);
    s.one += ",0";
    s.points *= op.shape(0)[d].size;
  }
  if (s.points < 1)
    throw Error({}, "the picture has no points");
  return s;
}

std::string average(const OpCall& op)
{
  op.want_floats();
  const Subscripts s = subscripts(op);
  return fmt::format("s[n,c] += x[{}]\n"
                     "y[{}] = s[n,c] / {}",
                     s.all, s.one, s.points);
}

std::string maximum(const OpCall& op)
{
  const Subscripts s = subscripts(op);
  return fmt::format("y[{}], tap max= x[{}]", s.one, s.all);
}

} // namespace

extern const OpDef op_global_avg_pool{
    .name = "global_avg_pool",
    .doc = "the mean of each channel, as a picture of one point",
    .inputs = {"x[N,C,...]"},
    .outputs = {"y"},
    .make_formula = average,
};

extern const OpDef op_global_max_pool{
    .name = "global_max_pool",
    .doc = "the largest value of each channel, as a picture of one point",
    .inputs = {"x[N,C,...]"},
    .outputs = {"y", "tap:u8"},
    .make_formula = maximum,
    .kept = {"tap"},
};

extern const OpDef op_global_lp_pool{
    .name = "global_lp_pool",
    .doc = "the p-norm of each channel, as a picture of one point",
    .inputs = {"x[N,C,...]"},
    .outputs = {"y"},
    .attributes = {power_attribute()},
    .make_formula =
        [](const OpCall& op) {
          const Subscripts s = subscripts(op);
          return power_sum_text(op.integer("p"), s.one, s.all, "");
        },
    .make_gradient =
        [](const OpCall& op) {
          const Subscripts s = subscripts(op);
          return power_sum_gradient(op.integer("p"), s.one, s.all, "");
        },
};

} // namespace cnnc
