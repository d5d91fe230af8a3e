// y[n,o,h,w] = bias[o,h,w] + sum over c, i, j of x[n, c, h*stride_h + i - pad_top, ...] * weight[o,h,w,c,i,j]
#include "ir/window.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

OpDef local(size_t rank)
{
  const Window window{.rank = rank, .has_weight = true, .is_dilated = false}, layer{.rank = rank, .is_dilated = false};
  std::vector<std::string> weight{"filters"}, bias{"filters"};
  std::string elements = "C", outputs, matches, wanted, found;
  std::vector<CheckDef> checks{{"C == I", "weight wants {I} input channels, the input has {C}"}};
  for (size_t d = 0; d < rank; ++d) {
    weight.push_back(layer.output(d));
    bias.push_back(layer.output(d));
    elements += "*" + layer.kernel(d);
    outputs += ",O" + window.extent(d);
    matches += fmt::format("{}O{} == {}", d == 0 ? "" : " and ", window.extent(d), window.output(d));
    wanted += fmt::format("{}{{O{}}}", d == 0 ? "" : " by ", window.extent(d));
    found += fmt::format("{}{{{}}}", d == 0 ? "" : " by ", window.output(d));
  }
  checks.push_back({matches, fmt::format("weight is for an output of {}, this one has {}", wanted, found)});
  weight.push_back("C");
  for (size_t d = 0; d < rank; ++d)
    weight.push_back(layer.kernel(d));
  return {
      .name = fmt::format("local{}d", rank),
      .doc = "a convolution whose filters are not shared: each place has its own (locally connected)",
      .inputs = {"x[N,C" + window.extents() + "]", "weight[O" + outputs + ",I" + window.kernels() + "]",
                 "bias[O" + outputs + "]?"},
      .outputs = {"y[N,O" + outputs + "]"},
      .attributes = {window.stride_attribute(int64_t{1}), window.padding_attribute("zeros around the input")},
      .layer = {{.name = "filters", .minimum = 1, .doc = "output channels"},
                layer.kernel_attribute("extents of a filter"),
                bias_attribute("a learnt number added to each output")},
      .parameters = {{.name = "weight", .dims = weight, .initial = "he", .fan_in = elements},
                     {.name = "bias", .dims = bias, .initial = "zero", .only_when = "bias"}},
      .checks = window.fits(checks),
      .hints = window.reaches_end(),
      .formula = fmt::format("y[n,o{0}] = bias[o{0}]\n"
                             "y[n,o{0}] += x[n, c{1}] * weight[o{0},c{2}]",
                             window.indices(), window.places(), window.taps()),
  };
}

} // namespace

extern const OpDef op_local1d = local(1);
extern const OpDef op_local2d = local(2);

} // namespace cnnc
