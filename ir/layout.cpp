// {0, 1/16, 2+1+1, 3+1+1, 1%16}  <=>  axes; strides from the innermost axis outwards:
//
//   stride[last] = 1     stride[k] = stride[k+1] * extent[k+1] + extra[k+1]
#include "ir/layout.h"

#include "ir/location.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace cnnc {

namespace {

int64_t checked(int64_t a, int64_t b, int64_t c)
{
  int64_t result;
  if (__builtin_mul_overflow(a, b, &result) || __builtin_add_overflow(result, c, &result) || result > element_limit)
    throw Error({}, fmt::format("a tensor with more than {} elements", element_limit));
  return result;
}

bool is_whole(const Axis& axis)
{
  return axis.divide == 1 && axis.modulo == 0;
}

const Axis* whole_axis(const Layout& layout, int dim)
{
  for (const Axis& axis : layout.axes)
    if (axis.dim == dim && is_whole(axis))
      return &axis;
  return nullptr;
}

} // namespace

Layout planar(size_t rank)
{
  Layout layout;
  for (size_t dim = 0; dim < rank; ++dim)
    layout.axes.push_back({.dim = static_cast<int>(dim)});
  return layout;
}

bool is_planar(const Layout& layout)
{
  return layout == planar(layout.axes.size());
}

std::vector<int64_t> axis_extents(const Layout& layout, const Shape& shape)
{
  std::vector<int64_t> extents;
  for (const Axis& axis : layout.axes) {
    int64_t extent = checked(1, shape.at(static_cast<size_t>(axis.dim)).size, axis.before);
    extent = checked(1, extent, axis.after);
    if (axis.modulo != 0)
      extent = axis.modulo;
    else if (axis.divide > 1)
      extent = extent / axis.divide + (extent % axis.divide != 0);
    extents.push_back(extent);
  }
  return extents;
}

std::vector<int64_t> axis_strides(const Layout& layout, const Shape& shape)
{
  std::vector<int64_t> extents = axis_extents(layout, shape), strides(extents.size());
  int64_t stride = 1;
  for (size_t k = extents.size(); k-- > 0;) {
    strides[k] = stride;
    stride = checked(stride, extents[k], layout.axes[k].extra);
  }
  return strides;
}

int64_t stored_elements(const Layout& layout, const Shape& shape)
{
  if (layout.axes.empty())
    return 1;
  return checked(axis_strides(layout, shape)[0], axis_extents(layout, shape)[0], layout.axes[0].extra);
}

int64_t offset_of(const Layout& layout, const std::vector<int64_t>& strides, const int64_t* at)
{
  int64_t offset = 0;
  for (size_t k = 0; k < layout.axes.size(); ++k) {
    const Axis& axis = layout.axes[k];
    int64_t e = at[axis.dim] + axis.before;
    offset += strides[k] * (axis.modulo != 0 ? e / axis.divide % axis.modulo : e / axis.divide);
  }
  return offset;
}

std::optional<Layout> layout_of_part(const Layout& whole, const Shape& whole_shape, const Shape& part_shape, int64_t at)
{
  const std::vector<Axis>& axes = whole.axes;
  if (whole_shape.size() < 2 || part_shape.size() != whole_shape.size() || axes.size() < 2 || axes[0].dim != 0 ||
      axes[1].dim != 1 || axes[1].modulo != 0 || axes[1].before != 0 || axes[1].after != 0)
    return std::nullopt;
  for (size_t d = 0; d < part_shape.size(); ++d)
    if (d != 1 && part_shape[d] != whole_shape[d])
      return std::nullopt;
  const int64_t size = part_shape[1].size, all = whole_shape[1].size, block = axes[1].divide;
  if (part_shape[1].batch || at < 0 || size > all || at > all - size || at % block != 0 ||
      (size % block != 0 && at + size != all))
    return std::nullopt;
  const int64_t blocks = size / block + (size % block != 0);
  Layout part = whole;
  part.axes[1].extra =
      checked(axis_extents(whole, whole_shape)[1] - blocks, axis_strides(whole, whole_shape)[1], axes[1].extra);
  return part;
}

int64_t elements_before(const Layout& whole, const Shape& whole_shape, int64_t at)
{
  return checked(axis_strides(whole, whole_shape)[1], at / whole.axes[1].divide, 0);
}

void set_apart(Layout& layout, const TensorType& type)
{
  constexpr int64_t line = 64; // bytes
  const int64_t per_line = line / bytes_of(type.dtype);
  for (size_t k = 2; k < layout.axes.size(); ++k) {
    if (layout.axes[k].divide == 1 || layout.axes[k - 1].divide != 1 || layout.axes[k - 1].modulo != 0)
      continue;
    if (axis_strides(layout, type.shape)[k - 1] % (2 * per_line) == 0)
      layout.axes[k].extra += per_line;
    return;
  }
}

bool has_border(const Layout& layout)
{
  return std::any_of(layout.axes.begin(), layout.axes.end(),
                     [](const Axis& axis) { return axis.before > 0 || axis.after > 0; });
}

bool has_pad(const Layout& layout, const Shape& shape)
{
  return std::any_of(layout.axes.begin(), layout.axes.end(), [&](const Axis& axis) {
    return axis.modulo != 0 && shape.at(static_cast<size_t>(axis.dim)).size % (axis.divide * axis.modulo) != 0;
  });
}

int64_t border_before(const Layout& layout, int dim)
{
  const Axis* axis = whole_axis(layout, dim);
  return axis ? axis->before : 0;
}

int64_t border_after(const Layout& layout, int dim)
{
  const Axis* axis = whole_axis(layout, dim);
  return axis ? axis->after : 0;
}

std::string to_string(const Layout& layout)
{
  std::string text = "{";
  for (const Axis& axis : layout.axes) {
    text += fmt::format("{}{}", text.size() > 1 ? ", " : "", axis.dim);
    if (axis.divide != 1)
      text += fmt::format("/{}", axis.divide);
    if (axis.modulo != 0)
      text += fmt::format("%{}", axis.modulo);
    if (axis.before != 0 || axis.after != 0)
      text += fmt::format("+{}+{}", axis.before, axis.after);
    if (axis.extra != 0)
      text += fmt::format("|{}", axis.extra);
  }
  return text + "}";
}

Layout parse_layout(std::string_view text)
{
  size_t at = 0;
  auto skip = [&] {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\t'))
      ++at;
  };
  auto take = [&](char c) {
    skip();
    bool found = at < text.size() && text[at] == c;
    at += found;
    return found;
  };
  auto number = [&] {
    skip();
    int64_t value = 0;
    auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), value);
    if (error != std::errc() || value < 0 || value > element_limit)
      throw std::invalid_argument(fmt::format("a layout wants a number at character {}", at + 1));
    at = static_cast<size_t>(end - text.data());
    return value;
  };

  if (!take('{'))
    throw std::invalid_argument("a layout starts with '{'");
  Layout layout;
  if (!take('}')) {
    do {
      int64_t dim = number();
      if (dim > 63 || layout.axes.size() > 63)
        throw std::invalid_argument("a layout has at most 64 axes");
      Axis axis{.dim = static_cast<int>(dim)};
      auto block = [&] {
        int64_t value = number();
        if (value == 0)
          throw std::invalid_argument("a block of 0 elements");
        return value;
      };
      if (take('/'))
        axis.divide = block();
      if (take('%'))
        axis.modulo = block();
      if (axis.modulo > element_limit / axis.divide)
        throw std::invalid_argument("a block that is too large");
      if (take('+')) {
        axis.before = number();
        if (!take('+'))
          throw std::invalid_argument("a border is written +before+after");
        axis.after = number();
      }
      if (take('|'))
        axis.extra = number();
      layout.axes.push_back(axis);
    } while (take(','));
    if (!take('}'))
      throw std::invalid_argument(fmt::format("a layout wants ',' or '}}' at character {}", at + 1));
  }
  skip();
  if (at != text.size())
    throw std::invalid_argument("text after the layout");
  return layout;
}

void verify(const Layout& layout, const Shape& shape)
{
  auto fail = [&](const std::string& reason) {
    throw std::invalid_argument(fmt::format("layout {} of {}: {}", to_string(layout), to_string(shape), reason));
  };
  for (const Axis& axis : layout.axes) {
    if (axis.dim < 0 || static_cast<size_t>(axis.dim) >= shape.size())
      fail(fmt::format("there is no dimension {}", axis.dim));
    if (axis.divide < 1 || axis.modulo < 0 || axis.before < 0 || axis.after < 0 || axis.extra < 0)
      fail("numbers below zero");
    if (axis.divide > 1 && axis.modulo != 0 &&
        shape[static_cast<size_t>(axis.dim)].size % (axis.divide * axis.modulo) != 0)
      fail("a block that is cut again has pads");
    if ((axis.before != 0 || axis.after != 0) && !is_whole(axis))
      fail("a border on a blocked dimension");
  }
  for (size_t d = 0; d < shape.size(); ++d) {
    std::vector<Axis> own;
    for (const Axis& axis : layout.axes)
      if (axis.dim == static_cast<int>(d))
        own.push_back(axis);
    // A place of its own: the element itself, or a rest that never wraps, or parts that meet: each begins where the next
    // finer one ends, the finest at 1, and the coarsest has no end.
    bool alone = own.size() == 1 &&
                 (is_whole(own[0]) || (own[0].divide == 1 && own[0].modulo >= shape[d].size && !shape[d].batch));
    std::stable_sort(own.begin(), own.end(), [](const Axis& a, const Axis& b) { return a.divide < b.divide; });
    bool parts = own.size() > 1 && own[0].divide == 1 && own.back().modulo == 0;
    for (size_t k = 0; parts && k + 1 < own.size(); ++k)
      parts = own[k].modulo > 0 && own[k].divide * own[k].modulo == own[k + 1].divide;
    if (!alone && !parts)
      fail(fmt::format("elements of dimension {} do not each have a place of their own", d));
    if (shape[d].batch && (!alone || own[0] != Axis{.dim = static_cast<int>(d)} || layout.axes[0] != own[0]))
      fail("the batch is the outermost axis, whole, without a border");
  }
  try {
    stored_elements(layout, shape);
  } catch (const Error& error) {
    fail(error.what());
  }
}

} // namespace cnnc
