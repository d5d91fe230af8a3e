#include "ir/norm_text.h"

#include <fmt/format.h>

namespace cnnc {

std::string norm_formula(const NormText& t)
{
  std::string text = fmt::format("s[{1}] += x[{0}]{3}\n"
                                 "mean[{1}] = s[{1}] / {2}\n"
                                 "q[{1}] += (x[{0}] - mean[{1}]) * (x[{0}] - mean[{1}]){3}\n"
                                 "inverse[{1}] = rsqrt(q[{1}] / {2} + epsilon)\n"
                                 "y[{0}] = (x[{0}] - mean[{1}]) * inverse[{1}]",
                                 t.x, t.statistics, t.points, t.ranges);
  if (!t.weight.empty())
    text += " * " + t.weight;
  if (!t.bias.empty())
    text += " + " + t.bias;
  return text + t.ranges;
}

std::string norm_gradient(const NormText& t)
{
  const std::string weighted = fmt::format("dy[{}]{}", t.x, t.weight.empty() ? "" : " * " + t.weight);
  std::string text = fmt::format("a[{1}] += {4}{3}\n"
                                 "b[{1}] += {4} * (x[{0}] - mean[{1}]){3}\n"
                                 "level[{1}] = a[{1}] / {2}\n"
                                 "slope[{1}] = b[{1}] * inverse[{1}] * inverse[{1}] / {2}\n"
                                 "dx[{0}] = inverse[{1}] * ({4} - level[{1}] - (x[{0}] - mean[{1}]) * slope[{1}]){3}",
                                 t.x, t.statistics, t.points, t.ranges, weighted);
  if (!t.weight.empty())
    text += fmt::format("\nd{2} += dy[{0}] * (x[{0}] - mean[{1}]) * inverse[{1}]{3}", t.x, t.statistics, t.weight,
                        t.ranges);
  if (!t.bias.empty())
    text += fmt::format("\nd{1} += dy[{0}]{2}", t.x, t.bias, t.ranges);
  return text;
}

AttributeDef epsilon_attribute(double default_value)
{
  return {.name = "epsilon",
          .kind = AttributeKind::real,
          .default_value = default_value,
          .doc = "added to the variance, which may be zero"};
}

} // namespace cnnc
