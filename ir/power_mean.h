// Texts of a sum of powers and its root, (sum |x|^p)^(1/p), and of their adjoint.
#pragma once

#include "ir/op.h"

namespace cnnc {

AttributeDef power_attribute();
// y[target] = (sum over what `at` has more of |x[at]|^p)^(1/p). `ranges`: "" or "\n  where ...".
std::string power_sum_text(int64_t p, const std::string& target, const std::string& at, const std::string& ranges);
// dy/dx = sign(x) * (|x|/y)^(p - 1), taken as 0 where y is.
std::string power_sum_gradient(int64_t p, const std::string& target, const std::string& at, const std::string& ranges);

} // namespace cnnc
