#include "compiler/onnx/window.h"

#include <fmt/format.h>

namespace cnnc {

OnnxWindow::OnnxWindow(const OnnxCall& call, const Shape& weight, bool resolve)
{
  const Shape& x = call.in(0).shape();
  if (x.size() < 3 || x.size() > 5)
    call.refuse(fmt::format("its input is {}: windows are over one, two or three dimensions", to_string(x)));
  const size_t rank = x.size() - 2;
  const auto list = [&](const char* name, size_t count, int64_t otherwise, int64_t least) {
    std::vector<int64_t> values = call.integers(name).value_or(std::vector<int64_t>(count, otherwise));
    if (values.size() != count)
      call.refuse(fmt::format("{} has {} numbers, {} are wanted", name, values.size(), count));
    for (const int64_t value : values)
      if (value < least || value > INT32_MAX)
        call.refuse(fmt::format("{} has {}", name, value));
    return values;
  };
  if (!weight.empty()) {
    if (weight.size() != x.size())
      call.refuse(fmt::format("its weight is {}, its input {}", to_string(weight), to_string(x)));
    for (size_t d = 2; d < weight.size(); ++d)
      kernel.push_back(weight[d].size);
    if (const auto given = call.integers("kernel_shape"); given && *given != kernel)
      call.refuse(fmt::format("kernel_shape is [{}], its weight {}", fmt::join(*given, ","), to_string(weight)));
  } else {
    if (!call.has_attribute("kernel_shape"))
      call.refuse("kernel_shape is missing");
    kernel = list("kernel_shape", rank, 1, 1);
  }
  stride = list("strides", rank, 1, 1);
  dilation = list("dilations", rank, 1, 1);
  padding = list("pads", 2 * rank, 0, 0);
  auto_pad = call.text("auto_pad", "NOTSET");
  if (auto_pad.empty())
    auto_pad = "NOTSET";
  if (auto_pad != "NOTSET" && auto_pad != "VALID" && auto_pad != "SAME_UPPER" && auto_pad != "SAME_LOWER")
    call.refuse(fmt::format("auto_pad is '{}'", auto_pad));
  if (auto_pad != "NOTSET")
    padding.assign(2 * rank, 0);
  if (!resolve || (auto_pad != "SAME_UPPER" && auto_pad != "SAME_LOWER"))
    return;
  for (size_t d = 0; d < rank; ++d) {
    const int64_t size = x[d + 2].size, windows = (size + stride[d] - 1) / stride[d];
    const int64_t total = std::max<int64_t>((windows - 1) * stride[d] + dilation[d] * (kernel[d] - 1) + 1 - size, 0);
    padding[d] = auto_pad == "SAME_UPPER" ? total / 2 : total - total / 2;
    padding[rank + d] = total - padding[d];
  }
}

std::string OnnxWindow::row(const std::string& stem) const
{
  return fmt::format("{}{}d", stem, kernel.size());
}

} // namespace cnnc
