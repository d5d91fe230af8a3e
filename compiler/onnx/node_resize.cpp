// Resize (10: scales only; 11: roi, sizes; 13; 18: axes, antialias, keep_aspect_ratio_policy; 19) and its ancestor
// Upsample (7: an attribute; 9: an input).
#include "compiler/onnx/node.h"

#include <cmath>
#include <fmt/format.h>

namespace cnnc {

namespace {

// Axes along which nothing happens are left out.
void resize(OnnxCall& call, std::vector<int64_t> axes, std::vector<int64_t> sizes, std::vector<double> scales,
            std::vector<double> roi, Attributes attributes)
{
  const Operand& x = call.in(0);
  const size_t count = axes.size();
  if ((!sizes.empty() && sizes.size() != count) || (!scales.empty() && scales.size() != count) ||
      (!roi.empty() && roi.size() != 2 * count))
    call.refuse(fmt::format("scales, sizes and roi have {}, {} and {} numbers, for {} axes", scales.size(),
                            sizes.size(), roi.size(), count));
  if (sizes.empty() && scales.empty())
    call.refuse("it has neither scales nor sizes");
  for (const double scale : scales)
    if (!(scale > 0 && scale <= 1e6))
      call.refuse(fmt::format("a scale is {}", scale));
  for (const int64_t size : sizes)
    if (size < 1)
      call.refuse(fmt::format("a size is {}", size));
  // As other programs compute it: in f32, rounded down.
  if (sizes.empty())
    for (size_t k = 0; k < count; ++k) {
      const Dim& dim = x.shape()[static_cast<size_t>(axes[k])];
      sizes.push_back(dim.batch ? dim.size
                                : static_cast<int64_t>(static_cast<float>(scales[k]) * static_cast<float>(dim.size)));
    }
  std::vector<size_t> changed;
  for (size_t k = 0; k < count; ++k) {
    const Dim& dim = x.shape()[static_cast<size_t>(axes[k])];
    const bool same = roi.empty() && (scales.empty() || scales[k] == 1) && sizes[k] == dim.size;
    if (!same)
      changed.push_back(k);
  }
  if (changed.empty()) {
    call.give(x);
    return;
  }
  const auto pick = [&](const auto& list, size_t offset) {
    std::remove_cvref_t<decltype(list)> result;
    for (const size_t k : changed)
      if (offset + k < list.size())
        result.push_back(list[offset + k]);
    return result;
  };
  std::vector<double> crop = pick(roi, 0);
  for (const double end : pick(roi, count))
    crop.push_back(end);
  attributes["axes"] = pick(axes, 0);
  if (!sizes.empty())
    attributes["sizes"] = pick(sizes, 0);
  if (!scales.empty())
    attributes["scales"] = pick(scales, 0);
  if (!crop.empty())
    attributes["roi"] = crop;
  call.give(call.build.op("resize", {x}, attributes));
}

std::vector<int64_t> all_axes(const Operand& x)
{
  std::vector<int64_t> axes;
  for (int64_t d = 0; d < x.rank(); ++d)
    axes.push_back(d);
  return axes;
}

} // namespace

void onnx_Upsample(OnnxCall& call)
{
  std::vector<double> scales;
  if (call.opset < 9) {
    if (const OnnxValue* given = call.has_attribute("scales") ? &call.node.attributes.at("scales") : nullptr)
      if (const auto* list = std::get_if<std::vector<double>>(given))
        scales = *list;
  } else {
    scales = call.known_reals(1, "scales");
  }
  const std::string mode = call.text("mode", "nearest");
  resize(call, all_axes(call.in(0)), {}, scales, {},
         {{"mode", mode}, {"coordinates", std::string("asymmetric")}, {"rounding", std::string("floor")}});
}

void onnx_Resize(OnnxCall& call)
{
  const Operand& x = call.in(0);
  const std::string mode = call.text("mode", "nearest");
  if (call.opset < 11) {
    resize(call, all_axes(x), {}, call.known_reals(1, "scales"), {},
           {{"mode", mode}, {"coordinates", std::string("asymmetric")}, {"rounding", std::string("floor")}});
    return;
  }
  std::vector<int64_t> axes = call.integers("axes").value_or(all_axes(x));
  for (int64_t& axis : axes)
    axis = axis_of(axis, x.rank());
  const std::string coordinates = call.text("coordinate_transformation_mode", "half_pixel");
  std::string policy = call.text("keep_aspect_ratio_policy", "stretch");
  Attributes attributes{{"mode", mode}, {"coordinates", coordinates}};
  if (mode == "nearest")
    attributes["rounding"] = call.text("nearest_mode", "round_prefer_floor");
  else
    call.text("nearest_mode", "");
  const double cubic_a = call.real("cubic_coeff_a", -0.75);
  const bool outside = call.integer("exclude_outside", 0) != 0, antialias = call.integer("antialias", 0) != 0;
  const double value = call.real("extrapolation_value", 0);
  if (mode == "cubic")
    attributes["cubic_a"] = cubic_a;
  if (outside)
    attributes["exclude_outside"] = true;
  if (antialias)
    attributes["antialias"] = true;
  std::vector<double> roi, scales;
  std::vector<int64_t> sizes;
  if (coordinates == "tf_crop_and_resize") {
    roi = call.known_reals(1, "roi");
    attributes["extrapolation_value"] = value;
  }
  if (call.has(2) && !call.in(2).is_empty())
    scales = call.known_reals(2, "scales");
  if (call.has(3) && !call.in(3).is_empty()) {
    for (const Dim& extent : call.known_extents(3, "sizes"))
      sizes.push_back(extent.batch ? -1 : extent.size);
    // The batch stays as it is.
    if (sizes.size() == axes.size())
      for (size_t k = axes.size(); k-- > 0;)
        if (x.shape()[static_cast<size_t>(axes[k])].batch && (sizes[k] == -1 || sizes[k] == 1)) {
          sizes.erase(sizes.begin() + static_cast<std::ptrdiff_t>(k));
          axes.erase(axes.begin() + static_cast<std::ptrdiff_t>(k));
        }
  }
  if (policy != "stretch" && !sizes.empty() && sizes.size() == axes.size()) {
    double common = 0;
    for (size_t k = 0; k < axes.size(); ++k) {
      const double ratio =
          static_cast<double>(sizes[k]) / static_cast<double>(x.shape()[static_cast<size_t>(axes[k])].size);
      common = k == 0 ? ratio : policy == "not_larger" ? std::min(common, ratio) : std::max(common, ratio);
    }
    for (size_t k = 0; k < axes.size(); ++k)
      sizes[k] = static_cast<int64_t>(
          std::floor(common * static_cast<double>(x.shape()[static_cast<size_t>(axes[k])].size) + 0.5));
    scales.assign(axes.size(), common);
  }
  resize(call, axes, sizes, scales, roi, attributes);
}

} // namespace cnnc
