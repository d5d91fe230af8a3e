#include "ir/window.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

// The names of one direction.
struct Side {
  std::string extent, kernel, stride, before, after, dilation;
  std::string length, lengths, lines; // words

  std::string span() const // rows from the first tap to the last
  {
    return dilation.empty() ? fmt::format("({} - 1)", kernel) : fmt::format("{}*({} - 1)", dilation, kernel);
  }
  std::string padded() const { return fmt::format("{} + {} + {}", extent, before, after); }
  std::string steps() const { return fmt::format("({} - {} - 1)", padded(), span()); }
};

Side rows(const Window& w)
{
  return {"H",      w.height,  "stride_h", "pad_top", "pad_bottom", w.is_dilated ? "dilation_h" : "",
          "height", "heights", "row"};
}

Side columns(const Window& w)
{
  return {"W",     w.width,  "stride_w", "pad_left", "pad_right", w.is_dilated ? "dilation_w" : "",
          "width", "widths", "column"};
}

std::string output(const Side& s)
{
  return fmt::format("{}/{} + 1", s.steps(), s.stride);
}

CheckDef fits_along(const Side& s)
{
  return {fmt::format("{} >= {} + 1", s.padded(), s.span()),
          fmt::format("a kernel of {0} {{{1} + 1}} does not fit into {0} {{{2}}}, padding included", s.length, s.span(),
                      s.padded())};
}

CheckDef touches_along(const Side& s)
{
  return {fmt::format("max({}, {}) <= {}", s.before, s.after, s.span()),
          fmt::format("padding {{max({}, {})}} puts whole windows of {} {{{} + 1}} outside of the input", s.before,
                      s.after, s.length, s.span())};
}

CheckDef reaches_along(const Side& s)
{
  std::string rest = fmt::format("{} % {}", s.steps(), s.stride);
  return {fmt::format("{} <= {}", rest, s.after),
          fmt::format("kernel {{{}}} with stride {{{}}} on {} {{{}}} gives size {{{}*1.0/{} + 1}}: the last "
                      "{{{} - {}}} {}(s) are ignored; {} {{{} - {}}} or {{{} - {} + {}}} fit",
                      s.kernel, s.stride, s.length, s.extent, s.steps(), s.stride, rest, s.after, s.lines, s.lengths,
                      s.extent, rest, s.extent, rest, s.stride)};
}

constexpr double most = 1 << 20; // products of two stay far inside int64_t

} // namespace

std::string Window::output_height() const
{
  return output(rows(*this));
}

std::string Window::output_width() const
{
  return output(columns(*this));
}

std::vector<CheckDef> Window::fits(std::vector<CheckDef> first) const
{
  first.push_back(fits_along(rows(*this)));
  first.push_back(fits_along(columns(*this)));
  return first;
}

std::vector<CheckDef> Window::fits_and_touches() const
{
  return {fits_along(rows(*this)), fits_along(columns(*this)), touches_along(rows(*this)),
          touches_along(columns(*this))};
}

std::vector<CheckDef> Window::reaches_end() const
{
  return {reaches_along(rows(*this)), reaches_along(columns(*this))};
}

AttributeDef kernel_attribute(std::string doc)
{
  return {.name = "kernel",
          .kind = AttributeKind::integers,
          .parts = {"kernel_h", "kernel_w"},
          .minimum = 1,
          .maximum = most,
          .doc = std::move(doc)};
}

AttributeDef stride_attribute(AttributeValue default_value)
{
  return {.name = "stride",
          .kind = AttributeKind::integers,
          .default_value = std::move(default_value),
          .parts = {"stride_h", "stride_w"},
          .minimum = 1,
          .maximum = most,
          .doc = "steps of the window, down and right"};
}

AttributeDef padding_attribute(std::string doc)
{
  return {.name = "padding",
          .kind = AttributeKind::padding,
          .default_value = int64_t{0},
          .parts = {"pad_top", "pad_left", "pad_bottom", "pad_right"},
          .maximum = most,
          .doc = std::move(doc)};
}

AttributeDef dilation_attribute()
{
  return {.name = "dilation",
          .kind = AttributeKind::integers,
          .default_value = int64_t{1},
          .parts = {"dilation_h", "dilation_w"},
          .minimum = 1,
          .maximum = most,
          .doc = "distance between the taps of the kernel"};
}

} // namespace cnnc
