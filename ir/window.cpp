#include "ir/window.h"

#include <fmt/format.h>

#include <functional>

namespace cnnc {

namespace {

// The names of one direction.
struct Names {
  const char *extent, *index, *tap, *before, *after;
  const char *length, *lengths, *lines; // words
};

constexpr Names all_names[] = {{"D", "d", "k", "pad_front", "pad_back", "depth", "depths", "plane"},
                               {"H", "h", "i", "pad_top", "pad_bottom", "height", "heights", "row"},
                               {"W", "w", "j", "pad_left", "pad_right", "width", "widths", "column"}};

const Names& names(const Window& w, size_t d)
{
  return all_names[3 - w.rank + d];
}

std::string stride(const Window& w, size_t d)
{
  return fmt::format("stride_{}", names(w, d).index);
}

std::string dilation(const Window& w, size_t d)
{
  return fmt::format("dilation_{}", names(w, d).index);
}

// Rows from the first tap to the last.
std::string span(const Window& w, size_t d)
{
  return w.is_dilated ? fmt::format("{}*({} - 1)", dilation(w, d), w.kernel(d)) : fmt::format("({} - 1)", w.kernel(d));
}

std::string padded(const Window& w, size_t d)
{
  return fmt::format("{} + {} + {}", w.extent(d), names(w, d).before, names(w, d).after);
}

std::string steps(const Window& w, size_t d)
{
  return fmt::format("({} - {} - 1)", padded(w, d), span(w, d));
}

std::string for_each_direction(const Window& w, std::string_view between,
                               const std::function<std::string(size_t)>& text)
{
  std::string result;
  for (size_t d = 0; d < w.rank; ++d)
    result += (d == 0 ? "" : std::string(between)) + text(d);
  return result;
}

constexpr double most = 1 << 20; // products of two stay far inside int64_t

} // namespace

std::string Window::extent(size_t d) const
{
  return names(*this, d).extent;
}

std::string Window::kernel(size_t d) const
{
  return has_weight ? fmt::format("K{}", names(*this, d).extent) : fmt::format("kernel_{}", names(*this, d).index);
}

// Rounded up, a last window that would start behind the input is dropped.
std::string Window::output(size_t d) const
{
  const std::string step = stride(*this, d);
  if (!rounds_up)
    return fmt::format("{}/{} + 1", steps(*this, d), step);
  return fmt::format("min(({0} + ceil_mode*({1} - 1))/{1}, ({2} + {3} - 1)/{1}) + 1", steps(*this, d), step, extent(d),
                     names(*this, d).before);
}

std::string Window::extents() const
{
  return for_each_direction(*this, "", [&](size_t d) { return "," + extent(d); });
}

std::string Window::kernels() const
{
  return for_each_direction(*this, "", [&](size_t d) { return "," + kernel(d); });
}

std::string Window::outputs() const
{
  return for_each_direction(*this, "", [&](size_t d) { return "," + output(d); });
}

std::string Window::indices() const
{
  return for_each_direction(*this, "", [&](size_t d) { return fmt::format(",{}", names(*this, d).index); });
}

std::string Window::taps() const
{
  return for_each_direction(*this, "", [&](size_t d) { return fmt::format(",{}", names(*this, d).tap); });
}

std::string Window::places() const
{
  return for_each_direction(*this, "", [&](size_t d) {
    const Names& n = names(*this, d);
    return fmt::format(", {}*{} + {}{} - {}", n.index, stride(*this, d), n.tap,
                       is_dilated ? "*" + dilation(*this, d) : "", n.before);
  });
}

std::string Window::index_ranges() const
{
  return for_each_direction(*this, ", ",
                            [&](size_t d) { return fmt::format("{} < {}", names(*this, d).index, output(d)); });
}

std::string Window::tap_ranges() const
{
  return for_each_direction(*this, ", ",
                            [&](size_t d) { return fmt::format("{} < {}", names(*this, d).tap, kernel(d)); });
}

std::vector<CheckDef> Window::fits(std::vector<CheckDef> checks) const
{
  for (size_t d = 0; d < rank; ++d)
    checks.push_back({fmt::format("{} >= {} + 1", padded(*this, d), span(*this, d)),
                      fmt::format("a kernel of {0} {{{1} + 1}} does not fit into {0} {{{2}}}, padding included",
                                  names(*this, d).length, span(*this, d), padded(*this, d))});
  return checks;
}

std::vector<CheckDef> Window::fits_and_touches() const
{
  std::vector<CheckDef> checks = fits();
  for (size_t d = 0; d < rank; ++d) {
    const Names& n = names(*this, d);
    checks.push_back({fmt::format("max({}, {}) <= {}", n.before, n.after, span(*this, d)),
                      fmt::format("padding {{max({}, {})}} puts whole windows of {} {{{} + 1}} outside of the input",
                                  n.before, n.after, n.length, span(*this, d))});
  }
  return checks;
}

std::vector<CheckDef> Window::reaches_end() const
{
  std::vector<CheckDef> checks;
  for (size_t d = 0; d < rank; ++d) {
    const Names& n = names(*this, d);
    const std::string rest = fmt::format("{} % {}", steps(*this, d), stride(*this, d));
    checks.push_back(
        // A window that is smaller than its step leaves out more than the end, and is meant to.
        {fmt::format("{} <= {} or {} < {}{}", rest, n.after, kernel(d), stride(*this, d),
                     rounds_up ? " or ceil_mode > 0" : ""),
         fmt::format("kernel {{{}}} with stride {{{}}} on {} {{{}}} gives size {{{}*1.0/{} + 1}}: the last "
                     "{}s are ignored: {{{} - {}}}; {} {{{} - {}}} or {{{} - {} + {}}} fit",
                     kernel(d), stride(*this, d), n.length, n.extent, steps(*this, d), stride(*this, d), n.lines, rest,
                     n.after, n.lengths, n.extent, rest, n.extent, rest, stride(*this, d))});
  }
  return checks;
}

AttributeDef Window::sizes_attribute(const std::string& stem, std::string doc) const
{
  AttributeDef def{.name = stem, .kind = AttributeKind::integers, .minimum = 1, .maximum = most, .doc = std::move(doc)};
  for (size_t d = 0; d < rank; ++d)
    def.parts.push_back(fmt::format("{}_{}", stem, names(*this, d).index));
  return def;
}

AttributeDef Window::kernel_attribute(std::string doc) const
{
  return sizes_attribute("kernel", std::move(doc));
}

AttributeDef Window::stride_attribute(AttributeValue default_value) const
{
  AttributeDef def =
      sizes_attribute("stride", rank == 1 ? "steps of the window" : "steps of the window, down and right");
  def.default_value = std::move(default_value);
  return def;
}

AttributeDef Window::padding_attribute(std::string doc) const
{
  AttributeDef def{.name = "padding",
                   .kind = AttributeKind::padding,
                   .default_value = int64_t{0},
                   .maximum = most,
                   .doc = std::move(doc)};
  for (size_t d = 0; d < rank; ++d)
    def.parts.push_back(names(*this, d).before);
  for (size_t d = 0; d < rank; ++d)
    def.parts.push_back(names(*this, d).after);
  return def;
}

AttributeDef Window::dilation_attribute() const
{
  AttributeDef def = sizes_attribute("dilation", "distance between the taps of the kernel");
  def.default_value = int64_t{1};
  return def;
}

AttributeDef Window::ceil_mode_attribute() const
{
  return {.name = "ceil_mode",
          .kind = AttributeKind::boolean,
          .default_value = false,
          .doc = "also a last window that reaches past the end; one that starts behind the input is dropped"};
}

AttributeDef groups_attribute()
{
  return {.name = "groups",
          .default_value = int64_t{1},
          .minimum = 1,
          .doc = "channels and filters in groups that do not mix; as many as channels is depthwise"};
}

AttributeDef bias_attribute(std::string doc)
{
  return {.name = "bias", .kind = AttributeKind::boolean, .default_value = true, .doc = std::move(doc)};
}

} // namespace cnnc
