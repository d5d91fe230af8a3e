// Conv, ConvTranspose: the rank of the input says which of conv1d, conv2d, conv3d it is. auto_pad becomes numbers.
#include "compiler/onnx/window.h"

#include <fmt/format.h>

namespace cnnc {

void onnx_Conv(OnnxCall& call)
{
  const Operand &x = call.in(0), &weight = call.in(1);
  OnnxWindow window(call, weight.shape());
  const int64_t groups = call.integer("group", 1);
  Operand y = call.build.op(
      window.row("conv"), {x, weight, call.maybe(2)},
      {{"stride", window.stride}, {"padding", window.padding}, {"dilation", window.dilation}, {"groups", groups}});
  y.scale = {y.value < 0 ? -1 : static_cast<int>(call.build.graph.ops.size()) - 1, 0, groups};
  call.give(y);
}

// Its output is stride*(X - 1) + output_padding + dilation*(K - 1) + 1 - padding long.
void onnx_ConvTranspose(OnnxCall& call)
{
  const Operand &x = call.in(0), &weight = call.in(1);
  OnnxWindow window(call, weight.shape(), false);
  const size_t rank = window.stride.size();
  const int64_t groups = call.integer("group", 1);
  std::vector<int64_t> extra = call.integers("output_padding").value_or(std::vector<int64_t>(rank, 0));
  std::optional<std::vector<int64_t>> wanted = call.integers("output_shape");
  const bool same = window.auto_pad == "SAME_UPPER" || window.auto_pad == "SAME_LOWER";
  if (extra.size() != rank || (wanted && wanted->size() != rank && wanted->size() != rank + 2))
    call.refuse("output_padding and output_shape want one number for each dimension of the kernel");
  if (wanted && wanted->size() == rank + 2)
    wanted->erase(wanted->begin(), wanted->begin() + 2);
  for (size_t d = 0; d < rank && (wanted || same); ++d) {
    const int64_t size = x.shape()[d + 2].size;
    const int64_t full = window.stride[d] * (size - 1) + extra[d] + window.dilation[d] * (window.kernel[d] - 1) + 1;
    const int64_t total = full - (wanted ? (*wanted)[d] : size * window.stride[d]);
    // The first half is the smaller one where the odd one goes to the end.
    const int64_t small = std::max<int64_t>(total, 0) / 2, large = std::max<int64_t>(total, 0) - small;
    window.padding[d] = window.auto_pad == "SAME_UPPER" ? small : large;
    window.padding[rank + d] = window.auto_pad == "SAME_UPPER" ? large : small;
    extra[d] += std::max<int64_t>(-total, 0);
  }
  Operand y = call.build.op(window.row("conv_transpose"), {x, weight, call.maybe(2)},
                            {{"stride", window.stride},
                             {"padding", window.padding},
                             {"dilation", window.dilation},
                             {"groups", groups},
                             {"output_padding", extra}});
  y.scale = {y.value < 0 ? -1 : static_cast<int>(call.build.graph.ops.size()) - 1, 1, groups};
  call.give(y);
}

} // namespace cnnc
