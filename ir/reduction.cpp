#include "ir/reduction.h"

#include "ir/shape_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

AttributeDef keep_dims()
{
  return {.name = "keep_dims",
          .kind = AttributeKind::boolean,
          .default_value = true,
          .doc = "the axes stay, with one element each"};
}

bool has(const std::vector<size_t>& axes, size_t axis)
{
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

} // namespace

std::vector<AttributeDef> reduction_attributes()
{
  return {{.name = "axes",
           .kind = AttributeKind::integers,
           .default_value = std::vector<int64_t>{},
           .minimum = -16,
           .maximum = 15,
           .doc = "which axes, the batch is 0, negative ones count from the end; all but the batch by default"},
          keep_dims()};
}

std::vector<AttributeDef> arg_reduction_attributes()
{
  return {{.name = "axis",
           .kind = AttributeKind::integer,
           .default_value = int64_t{1},
           .minimum = -16,
           .maximum = 15,
           .doc = "which axis, the batch is 0, a negative one counts from the end"},
          keep_dims()};
}

std::vector<size_t> reduced_axes(const OpCall& op)
{
  const size_t rank = op.shape(0).size();
  if (op.symbols.contains("axis"))
    return {axis_of(op.integer("axis"), rank)};
  std::vector<size_t> axes = axes_of(op.integers("axes"), rank);
  for (size_t d = 1; d < rank && op.integers("axes").empty(); ++d)
    axes.push_back(d);
  return axes;
}

Shape reduced_shape(const OpCall& op)
{
  const std::vector<size_t> axes = reduced_axes(op);
  Shape shape;
  for (size_t d = 0; d < op.shape(0).size(); ++d)
    if (!has(axes, d))
      shape.push_back(op.shape(0)[d]);
    else if (op.integer("keep_dims"))
      shape.push_back({1, false});
  return shape;
}

Dim reduced_count(const OpCall& op)
{
  Dim count;
  for (const size_t axis : reduced_axes(op)) {
    count.size *= op.shape(0)[axis].size; // at most all elements, which are counted
    count.batch = count.batch || op.shape(0)[axis].batch;
  }
  return count;
}

std::vector<std::string> kept_subscripts(const OpCall& op, const std::vector<std::string>& all)
{
  const std::vector<size_t> axes = reduced_axes(op);
  std::vector<std::string> kept;
  for (size_t d = 0; d < all.size(); ++d)
    if (!has(axes, d))
      kept.push_back(all[d]);
    else if (op.integer("keep_dims"))
      kept.emplace_back("0");
  return kept;
}

std::string reduction_text(const OpCall& op, std::string_view text)
{
  const std::vector<std::string> all = index_names(op.shape(0).size());
  const Dim count = reduced_count(op);
  // The batch as a value is i64, which becomes no other integer by itself.
  std::string number = extent_text(count);
  if (count.batch)
    number = fmt::format("cast({}, {})", to_string(op.inputs[0].type->dtype), number);
  return fmt::format(fmt::runtime(text), fmt::arg("all", list(all)), fmt::arg("kept", list(kept_subscripts(op, all))),
                     fmt::arg("count", number));
}

MakeText reduction(std::string text)
{
  return [text = std::move(text)](const OpCall& op) { return reduction_text(op, text); };
}

} // namespace cnnc
