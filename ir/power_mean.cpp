#include "ir/power_mean.h"

#include <fmt/format.h>

namespace cnnc {

AttributeDef power_attribute()
{
  return {.name = "p", .default_value = int64_t{2}, .minimum = 1, .maximum = 1000, .doc = "the power"};
}

std::string power_sum_text(int64_t p, const std::string& target, const std::string& at, const std::string& ranges)
{
  if (p == 1)
    return fmt::format("y[{}] += abs(x[{}]){}", target, at, ranges);
  if (p == 2)
    return fmt::format("s[{0}] += x[{1}] * x[{1}]{2}\ny[{0}] = sqrt(s[{0}])", target, at, ranges);
  return fmt::format("s[{0}] += pow(abs(x[{1}]), {2}){3}\ny[{0}] = pow(s[{0}], 1.0/{2})", target, at, p, ranges);
}

std::string power_sum_gradient(int64_t p, const std::string& target, const std::string& at, const std::string& ranges)
{
  if (p == 1)
    return fmt::format("dx[{1}] += select(x[{1}] < 0, -dy[{0}], select(x[{1}] > 0, dy[{0}], 0)){2}", target, at,
                       ranges);
  if (p == 2)
    return fmt::format("dx[{1}] += select(y[{0}] > 0, dy[{0}] * x[{1}] / y[{0}], 0){2}", target, at, ranges);
  return fmt::format("dx[{1}] += select(y[{0}] > 0, dy[{0}] * select(x[{1}] < 0, -1, 1) * "
                     "pow(abs(x[{1}]) / y[{0}], {3}), 0){2}",
                     target, at, ranges, p - 1);
}

} // namespace cnnc
