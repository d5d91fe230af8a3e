// Along one axis, the others likewise one after the other:
//
//   y[h] = sum over t of weight[h,t] * x[base(h) + t],   weight[h,t] = kernel(base(h) + t - at(h)),
//   at(h) = slope*h + offset: where the output's element lies in the input,   base(h): the first element that counts
//
// base(h) is written as progressions of h (ir/shape_text.h), so that every subscript is affine: twice as many are
// y[2*q + r] += weight[r,t] * x[q + r + t - 1]. Where at(h) repeats along with them the weights do as well. Elements
// before the first one are the first one, those behind the last one the last one: places that see such have statements
// of their own, so that no other read is ever outside. `nearest` is a gather.
//
// Coordinates, kernels and rounding: the Resize operator of ONNX (opset 19). Cubic: Keys, 1981. Antialiasing stretches
// the kernel over what one output element covers.
#include "ir/shape_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace cnnc {

namespace {

constexpr int64_t extent_limit = int64_t{1} << 22; // positions along an axis are listed
constexpr double tolerance = 1e-9;                 // so near to an element is there

// What happens along one axis.
struct Axis {
  size_t axis;
  int64_t in, out;
  double scale;         // of coordinates
  double slope, offset; // at(h)

  double at(int64_t h) const { return static_cast<double>(h) * slope + offset; }
};

void set_coordinates(Axis& a, const std::string& mode, double from, double to)
{
  const double in = static_cast<double>(a.in), length = a.scale * in;
  a.slope = 1 / a.scale;
  if (mode == "align_corners") {
    a.slope = length == 1 ? 0 : (in - 1) / (length - 1);
    a.offset = 0;
  } else if (mode == "asymmetric") {
    a.offset = 0;
  } else if (mode == "tf_crop_and_resize") {
    a.slope = a.out == 1 ? 0 : (to - from) * (in - 1) / static_cast<double>(a.out - 1);
    a.offset = a.out == 1 ? (from + to) / 2 * (in - 1) : from * (in - 1);
  } else if (mode == "pytorch_half_pixel" && a.out == 1) {
    a.slope = a.offset = 0;
  } else {
    a.offset = 0.5 / a.scale - 0.5;
    if (mode == "half_pixel_symmetric")
      a.offset += in / 2 * (1 - static_cast<double>(a.out) / length);
  }
}

// Elements and the middles between them are met as they are meant: 4.5/3 - 0.5 is 1, also where 1/3 is rounded.
int64_t rounded(double at, const std::string& rounding)
{
  const double near = std::round(2 * at) / 2;
  at = std::abs(at - near) < tolerance ? near : at;
  const double down = std::floor(at), rest = at - down;
  const bool up = rounding == "ceil"                 ? rest > 0
                  : rounding == "round_prefer_ceil"  ? rest >= 0.5
                  : rounding == "round_prefer_floor" ? rest > 0.5
                                                     : false;
  return static_cast<int64_t>(down) + (up ? 1 : 0);
}

class Text {
public:
  explicit Text(const OpCall& op) : op(op), dtype(to_string(op.inputs[0].type->dtype)), shape(op.shape(0)) {}

  std::string run()
  {
    std::vector<Axis> axes = read_axes();
    // What makes it smaller first: less is left to do.
    std::stable_sort(axes.begin(), axes.end(),
                     [](const Axis& a, const Axis& b) { return a.out * b.in < b.out * a.in; });
    for (const Axis& axis : axes) {
      const std::string to = &axis == &axes.back() ? "y" : fmt::format("t{}", axis.axis);
      Shape next = shape;
      next[axis.axis].size = axis.out;
      if (to != "y")
        text += fmt::format("{}: {}[{}]\n", to, dtype, extents(next));
      if (op.text("mode") == "nearest")
        nearest(axis, to);
      else
        weighted(axis, to);
      shape = next;
      source = to;
    }
    return axes.empty() ? "y[...] = x[...]" : text;
  }

private:
  const OpCall& op;
  std::string dtype, text, source = "x";
  Shape shape; // of source

  // Those along which anything happens.
  std::vector<Axis> read_axes() const
  {
    const std::vector<int64_t>& sizes = op.integers("sizes");
    const std::vector<double>&scales = op.reals("scales"), &roi = op.reals("roi");
    std::vector<size_t> numbers = axes_of(op.integers("axes"), shape.size());
    if (numbers.empty())
      for (size_t d = 2; d < shape.size(); ++d)
        numbers.push_back(d);
    auto fits = [&](const char* name, size_t count, size_t wanted) {
      if (count != wanted)
        throw Error({}, fmt::format("{} has {} numbers, {} are wanted", name, count, wanted));
    };
    if (sizes.empty() && scales.empty())
      throw Error({}, "wants sizes or scales");
    if (sizes.size() > 1)
      fits("sizes", sizes.size(), numbers.size());
    if (scales.size() > 1)
      fits("scales", scales.size(), numbers.size());
    const std::string& coordinates = op.text("coordinates");
    const bool is_crop = coordinates == "tf_crop_and_resize";
    if (is_crop || !roi.empty())
      fits("roi", roi.size(), 2 * numbers.size());
    std::vector<Axis> axes;
    for (size_t k = 0; k < numbers.size(); ++k) {
      Axis axis{numbers[k], shape[numbers[k]].size, 0, 1, 1, 0};
      const double scale = scales.empty() ? 0 : scales[scales.size() > 1 ? k : 0];
      const bool is_same = sizes.empty() && scale == 1 && !is_crop;
      if (shape[axis.axis].batch && !is_same)
        throw Error({}, fmt::format("axis {} is the batch, whose extent is not known here", axis.axis));
      if (is_same)
        continue;
      if (!sizes.empty())
        axis.out = sizes[sizes.size() > 1 ? k : 0];
      else
        axis.out = static_cast<int64_t>(std::min(1e15, std::floor(static_cast<double>(axis.in) * scale)));
      if (axis.in < 1 || axis.out < 1 || axis.in > extent_limit || axis.out > extent_limit)
        throw Error({}, fmt::format("axis {} would go from {} to {} elements", axis.axis, axis.in, axis.out));
      axis.scale = scales.empty() ? static_cast<double>(axis.out) / static_cast<double>(axis.in) : scale;
      set_coordinates(axis, coordinates, is_crop ? roi[k] : 0, is_crop ? roi[numbers.size() + k] : 1);
      if (axis.in != axis.out || std::abs(axis.slope - 1) > tolerance || std::abs(axis.offset) > tolerance)
        axes.push_back(axis);
    }
    return axes;
  }

  // Its elements have no place in the input: the extrapolation value stands there.
  bool is_outside(const Axis& a, int64_t h) const
  {
    return op.text("coordinates") == "tf_crop_and_resize" && (a.at(h) < 0 || a.at(h) > static_cast<double>(a.in - 1));
  }

  Texts subscripts(size_t axis, const std::string& at) const
  {
    Texts result = index_names(shape.size());
    result[axis] = at;
    return result;
  }

  // The other dimensions, and what is added.
  std::string over(size_t axis, const std::vector<std::string>& more) const
  {
    Texts range;
    for (size_t d = 0; d < shape.size(); ++d)
      if (d != axis)
        range.push_back(fmt::format("i{} < {}", d, extent_text(shape[d])));
    range.insert(range.end(), more.begin(), more.end());
    return where(fmt::format("{}", fmt::join(range, ", ")));
  }

  void extrapolate(const Axis& a, const std::string& to, const char* update)
  {
    std::vector<int64_t> positions;
    for (int64_t h = 0; h < a.out; ++h)
      positions.push_back(is_outside(a, h) ? 0 : no_entry);
    for (const Progression& run : progressions(positions))
      text += fmt::format("{}[{}] {} extrapolation_value{}\n", to, list(subscripts(a.axis, target(run))), update,
                          over(a.axis, ranges_of(run)));
  }

  static std::string target(const Progression& run)
  {
    std::string result = std::to_string(run.first);
    for (size_t k = 0; k < run.digits.size(); ++k)
      if (const int64_t step = run.digits[k].step; step != 0)
        result += fmt::format(" + {}", times(fmt::format("j{}", k), step));
    return result;
  }

  static std::string value(const Progression& run)
  {
    std::string result = std::to_string(run.start);
    for (size_t k = 0; k < run.digits.size(); ++k)
      if (const int64_t step = run.digits[k].value_step; step != 0)
        result += fmt::format(" {} {}", step < 0 ? "-" : "+", times(fmt::format("j{}", k), std::abs(step)));
    return result;
  }

  static std::vector<std::string> ranges_of(const Progression& run)
  {
    std::vector<std::string> result;
    for (size_t k = 0; k < run.digits.size(); ++k)
      if (run.digits[k].count > 1)
        result.push_back(fmt::format("j{} < {}", k, run.digits[k].count));
    return result;
  }

  void nearest(const Axis& a, const std::string& to)
  {
    std::vector<int64_t> from;
    for (int64_t h = 0; h < a.out; ++h)
      from.push_back(is_outside(a, h) ? no_entry
                                      : std::clamp<int64_t>(rounded(a.at(h), op.text("rounding")), 0, a.in - 1));
    extrapolate(a, to, "=");
    text += gather_text(to, source, shape, a.axis, from);
  }

  // K of a distance in elements.
  std::string kernel_of(const std::string& distance) const
  {
    if (op.text("mode") != "cubic")
      return fmt::format("max(0, 1 - {})", distance);
    return fmt::format("select({0} <= 1, ((cubic_a + 2)*{0} - (cubic_a + 3))*{0}*{0} + 1, "
                       "select({0} < 2, ((cubic_a*{0} - 5*cubic_a)*{0} + 8*cubic_a)*{0} - 4*cubic_a, 0))",
                       distance);
  }

  // Statements in the order in which they run: a tensor is complete before the next one reads it.
  struct Parts {
    std::string distances, kernels, sums, weights, outside, results;
  };

  void weighted(const Axis& a, const std::string& to)
  {
    if (!is_float(op.inputs[0].type->dtype))
      throw Error({}, fmt::format("mode {} is for real numbers, the input is {}", op.text("mode"), dtype));
    const double shrink = op.integer("antialias") != 0 ? std::min(a.scale, 1.0) : 1;
    const double reach = (op.text("mode") == "cubic" ? 2 : 1) / shrink;
    if (!(reach <= static_cast<double>(extent_limit)))
      throw Error({}, fmt::format("a scale of {} is too small", a.scale));
    const int64_t before = static_cast<int64_t>(std::floor(-reach)) + 1, taps = 2 - 2 * before;
    // Where all taps are inside of the input, and the stretches where they are not.
    std::vector<int64_t> base(static_cast<size_t>(a.out), no_entry);
    std::vector<Edge> edges;
    for (int64_t h = 0; h < a.out; ++h) {
      if (is_outside(a, h))
        continue;
      const int64_t first = static_cast<int64_t>(std::floor(a.at(h) + tolerance)) + before;
      if (first >= 0 && first + taps <= a.in) {
        base[static_cast<size_t>(h)] = first;
        continue;
      }
      if (edges.empty() || edges.back().begin + edges.back().count != h)
        edges.push_back({h, 0, first, first + taps});
      Edge& edge = edges.back();
      edge.count++;
      edge.first = std::min(edge.first, first);
      edge.last = std::max(edge.last, first + taps);
    }
    Parts parts;
    if (const std::vector<Progression> runs = progressions(base); !runs.empty())
      inner(a, to, runs, taps, shrink, parts);
    for (size_t k = 0; k < edges.size(); ++k)
      outer(a, to, edges[k], fmt::format("{}_{}", a.axis, k), shrink, parts);
    if (op.text("coordinates") == "tf_crop_and_resize")
      extrapolate(a, to, "+=");
    text += parts.distances + parts.kernels + parts.sums + parts.weights + parts.outside + parts.results;
  }

  void declare(const std::string& name, std::string_view type, const std::string& dims)
  {
    text += fmt::format("{}: {}[{}]\n", name, type, dims);
  }

  std::string distance(const Axis& a, const std::string& element, const std::string& place, double shrink) const
  {
    return fmt::format("abs(cast(f64, {}) - cast(f64, {})*{} - {}) * {}", element, place, number(a.slope),
                       number(a.offset), number(shrink));
  }

  void inner(const Axis& a, const std::string& to, const std::vector<Progression>& runs, int64_t taps, double shrink,
             Parts& parts)
  {
    const std::string name = std::to_string(a.axis), table = fmt::format("{},{}", a.out, taps);
    declare("distance" + name, "f64", table);
    declare("kernel" + name, dtype, table);
    if (shrink != 1) {
      declare("sum" + name, dtype, std::to_string(a.out));
      declare("weight" + name, dtype, table);
    }
    for (const Progression& run : runs) {
      // The digits along which the weights repeat are left out of them.
      Progression own = run;
      for (Progression::Digit& digit : own.digits)
        if (std::abs(static_cast<double>(digit.step) * a.slope - static_cast<double>(digit.value_step)) *
                static_cast<double>(digit.count) <
            tolerance)
          digit = {1, 0, 0};
      const std::string h = target(own);
      std::vector<std::string> own_ranges = ranges_of(own), all_ranges = ranges_of(run);
      own_ranges.push_back(fmt::format("t < {}", taps));
      all_ranges.push_back(own_ranges.back());
      const std::string range = where(fmt::format("{}", fmt::join(own_ranges, ", ")));
      parts.distances +=
          fmt::format("distance{}[{},t] = {}{}\n", name, h, distance(a, value(own) + " + t", h, shrink), range);
      parts.kernels += fmt::format("kernel{0}[{1},t] = {2}{3}\n", name, h,
                                   kernel_of(fmt::format("distance{}[{},t]", name, h)), range);
      if (shrink != 1) {
        parts.sums += fmt::format("sum{0}[{1}] += kernel{0}[{1},t]{2}\n", name, h, range);
        parts.weights += fmt::format("weight{0}[{1},t] = kernel{0}[{1},t] / sum{0}[{1}]{2}\n", name, h, range);
      }
      parts.results += fmt::format("{}[{}] += {}{}[{},t] * {}[{}]{}\n", to, list(subscripts(a.axis, target(run))),
                                   shrink != 1 ? "weight" : "kernel", name, h, source,
                                   list(subscripts(a.axis, value(run) + " + t")), over(a.axis, all_ranges));
    }
  }

  // Places whose taps lie from `first` to before `last`, some of them outside: those count for the element at the end.
  struct Edge {
    int64_t begin, count;
    int64_t first, last;
  };

  void outer(const Axis& a, const std::string& to, const Edge& edge, const std::string& name, double shrink,
             Parts& parts)
  {
    const bool excludes = op.integer("exclude_outside") != 0, normalizes = excludes || shrink != 1;
    const int64_t from = std::clamp<int64_t>(edge.first, 0, a.in - 1), until = std::clamp<int64_t>(edge.last, 1, a.in);
    const int64_t low = excludes ? 0 : std::max<int64_t>(0, -edge.first);
    const int64_t high = excludes ? 0 : std::max<int64_t>(0, edge.last - a.in);
    const int64_t elements = until - from, taps = low + elements + high;
    const std::string table = fmt::format("{},{}", edge.count, taps), h = fmt::format("h < {}", edge.count);
    const std::string range = fmt::format(" where {}, t < {}", h, taps);
    declare("distance" + name, "f64", table);
    declare("kernel" + name, dtype, table);
    parts.distances += fmt::format("distance{}[h,t] = {}{}\n", name,
                                   distance(a, "t" + plus(from - low), "h" + plus(edge.begin), shrink), range);
    parts.kernels +=
        fmt::format("kernel{0}[h,t] = {1}{2}\n", name, kernel_of(fmt::format("distance{}[h,t]", name)), range);
    if (normalizes) {
      declare("sum" + name, dtype, std::to_string(edge.count));
      declare("weight" + name, dtype, table);
      parts.sums += fmt::format("sum{0}[h] += kernel{0}[h,t]{1}\n", name, range);
      parts.weights += fmt::format("weight{0}[h,t] = kernel{0}[h,t] / sum{0}[h]{1}\n", name, range);
    }
    const std::string weight = (normalizes ? "weight" : "kernel") + name;
    const std::string place = list(subscripts(a.axis, "h" + plus(edge.begin)));
    parts.results +=
        fmt::format("{}[{}] += {}[h,t{}] * {}[{}]{}\n", to, place, weight, plus(low), source,
                    list(subscripts(a.axis, "t" + plus(from))), over(a.axis, {h, fmt::format("t < {}", elements)}));
    auto beyond = [&](const std::string& side, int64_t count, int64_t first, int64_t element) {
      if (count == 0)
        return;
      declare(side + name, dtype, std::to_string(edge.count));
      parts.outside +=
          fmt::format("{}{}[h] += {}[h,t{}] where {}, t < {}\n", side, name, weight, plus(first), h, count);
      parts.results += fmt::format("{}[{}] += {}{}[h] * {}[{}]{}\n", to, place, side, name, source,
                                   list(subscripts(a.axis, std::to_string(element))), over(a.axis, {h}));
    };
    beyond("low", low, 0, 0);
    beyond("high", high, low + elements, a.in - 1);
  }

  static std::string number(double value) { return fmt::format("({:.17g})", value); }
};

std::string formula(const OpCall& op)
{
  return Text(op).run();
}

AttributeDef one_of(std::string name, std::vector<std::string> choices, std::string doc)
{
  return {.name = std::move(name),
          .kind = AttributeKind::text,
          .default_value = choices[0],
          .doc = std::move(doc),
          .choices = choices};
}

AttributeDef numbers(std::string name, double minimum, double maximum, std::string doc)
{
  return {.name = std::move(name),
          .kind = AttributeKind::reals,
          .default_value = std::vector<double>{},
          .minimum = minimum,
          .maximum = maximum,
          .doc = std::move(doc)};
}

AttributeDef number(std::string name, double default_value, std::string doc)
{
  return {.name = std::move(name),
          .kind = AttributeKind::real,
          .default_value = default_value,
          .minimum = -1e30,
          .maximum = 1e30,
          .doc = std::move(doc)};
}

AttributeDef flag(std::string name, std::string doc)
{
  return {.name = std::move(name), .kind = AttributeKind::boolean, .default_value = false, .doc = std::move(doc)};
}

} // namespace

extern const OpDef op_resize{
    .name = "resize",
    .doc = "a picture in another size",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "axes",
                    .kind = AttributeKind::integers,
                    .default_value = std::vector<int64_t>{},
                    .minimum = -16,
                    .maximum = 15,
                    .doc = "which dimensions; all behind the channels where none is given"},
                   {.name = "sizes",
                    .kind = AttributeKind::integers,
                    .default_value = std::vector<int64_t>{},
                    .minimum = 1,
                    .doc = "their extents in the result; one number stands for all"},
                   numbers("scales", 1e-6, 1e6,
                           "how much larger they are, rounded down; beside sizes what coordinates are divided by"),
                   one_of("mode", {"nearest", "linear", "cubic"}, "how elements between the given ones are made"),
                   one_of("coordinates",
                          {"half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric",
                           "tf_crop_and_resize"},
                          "where an element of the result lies in the input"),
                   one_of("rounding", {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}, "of mode nearest"),
                   number("cubic_a", -0.75, "of mode cubic"),
                   flag("exclude_outside", "what lies outside of the input has no weight"),
                   flag("antialias", "smaller results are means of all that an element covers"),
                   numbers("roi", -1e6, 1e6,
                           "of tf_crop_and_resize: the first and the last places along each axis, from 0 to 1"),
                   number("extrapolation_value", 0, "of tf_crop_and_resize: what lies outside of the input")},
    .make_formula = formula,
};

} // namespace cnnc
