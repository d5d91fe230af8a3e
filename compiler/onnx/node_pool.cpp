// Pools over one, two or three dimensions, and over everything.
#include "compiler/onnx/window.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

Attributes window_attributes(const OnnxCall& call, const OnnxWindow& window, bool has_ceil_mode = true)
{
  Attributes attributes{
      {"kernel", window.kernel}, {"stride", window.stride}, {"padding", window.padding}, {"dilation", window.dilation}};
  // Where auto_pad says the size, rounding up changes nothing.
  if (has_ceil_mode && call.integer("ceil_mode", 0) != 0 && window.auto_pad != "SAME_UPPER" &&
      window.auto_pad != "SAME_LOWER")
    attributes["ceil_mode"] = true;
  return attributes;
}

// The place of each winner among all elements of x, rows first, or columns first (storage_order).
//   y[n,c,h,w], tap max= x[n, c, 2*h + i, 2*w + j];   at = ((n*C + c)*H + 2*h + tap / 2)*W + 2*w + tap % 2
Operand places_of_maxima(OnnxCall& call, const OnnxWindow& window, const Shape& size)
{
  const Operand& x = call.in(0);
  const Shape& shape = x.shape();
  const size_t rank = window.kernel.size();
  const bool columns_first = call.integer("storage_order", 0) != 0;
  std::string to, from, range, place, strides;
  std::vector<int64_t> weight(rank, 1); // of a step along a dimension
  int64_t image = 1;
  for (size_t d = 0; d < rank; ++d)
    image *= shape[d + 2].size;
  for (size_t k = 1; k < rank; ++k)
    if (columns_first)
      weight[k] = weight[k - 1] * shape[k + 1].size;
    else
      weight[rank - 1 - k] = weight[rank - k] * shape[rank + 2 - k].size;
  // The tap's digits, the last one fastest: as exact numbers in f64.
  std::string rest = "t";
  int64_t inner = 1;
  for (size_t d = 0; d < rank; ++d)
    inner *= window.kernel[d];
  for (size_t d = 0; d < rank; ++d) {
    to += fmt::format(",o{}", d);
    from += fmt::format(", o{0}*{1} + k{0}*{2} - {3}", d, window.stride[d], window.dilation[d], window.padding[d]);
    range += fmt::format("{}o{} < {}, k{} < {}", d == 0 ? "" : ", ", d, size[d + 2].size, d, window.kernel[d]);
    inner /= window.kernel[d];
    const std::string tap = "cast(f64, tap[n,c{0}])";
    const std::string whole =
        d == 0 ? tap : fmt::format("({0} - {1}*floor(({0} + 0.5)/{1}))", tap, inner * window.kernel[d]);
    const std::string digit = fmt::format("floor(({} + 0.5)/{})", whole, inner);
    place += fmt::format(" + {}*({}*cast(f64, o{}) - {} + {}*{})", weight[d], window.stride[d], d, window.padding[d],
                         window.dilation[d], digit);
  }
  for (size_t at; (at = place.find("{0}")) != place.npos;)
    place.replace(at, 3, to);
  std::string outer;
  for (size_t d = 0; d < rank; ++d)
    outer += fmt::format(", o{} < {}", d, size[d + 2].size);
  const std::string count = shape[0].batch ? "N" : std::to_string(shape[0].size);
  const std::string text = fmt::format(
      "m: {0}[{8},{1}{2}]\ntap: i32[{8},{1}{2}]\n"
      "m[n,c{3}], tap max= x[n,c{4}] where n < {8}, c < {1}, {5}\n"
      "y[n,c{3}] = cast(i64, {6}*(cast(f64, n)*{1} + cast(f64, c)){7}) where n < {8}, c < {1}{9}",
      to_string(x.type.dtype), shape[1].size,
      [&] {
        std::string extents;
        for (size_t d = 0; d < rank; ++d)
          extents += fmt::format(",{}", size[d + 2].size);
        return extents;
      }(),
      to, from, range, image, place, count, outer);
  return call.build.formula({"x[...]"}, {"y[...]:i64"}, text, {x}).at(0);
}

void global_pool(OnnxCall& call, const std::string& row, const Attributes& attributes = {})
{
  if (call.in(0).rank() < 3)
    call.refuse(fmt::format("its input is {}", to_string(call.in(0).type)));
  call.give(call.build.op(row, {call.in(0)}, attributes));
}

} // namespace

void onnx_MaxPool(OnnxCall& call)
{
  const OnnxWindow window(call, {});
  const Operand y = call.build.op(window.row("max_pool"), {call.in(0)}, window_attributes(call, window));
  call.integer("storage_order", 0);
  if (call.wants(1))
    call.give(1, places_of_maxima(call, window, y.shape()));
  call.give(y);
}

void onnx_AveragePool(OnnxCall& call)
{
  const OnnxWindow window(call, {});
  Attributes attributes = window_attributes(call, window);
  if (call.integer("count_include_pad", 0) != 0)
    attributes["count_include_pad"] = true;
  call.give(call.build.op(window.row("avg_pool"), {call.in(0)}, attributes));
}

void onnx_LpPool(OnnxCall& call)
{
  const OnnxWindow window(call, {});
  Attributes attributes = window_attributes(call, window);
  attributes["p"] = call.integer("p", 2);
  call.give(call.build.op(window.row("lp_pool"), {call.in(0)}, attributes));
}

void onnx_GlobalMaxPool(OnnxCall& call)
{
  global_pool(call, "global_max_pool");
}

void onnx_GlobalAveragePool(OnnxCall& call)
{
  global_pool(call, "global_avg_pool");
}

void onnx_GlobalLpPool(OnnxCall& call)
{
  global_pool(call, "global_lp_pool", {{"p", call.integer("p", 2)}});
}

// y[n,c,place] = x where place is the index that MaxPool gave; 0 elsewhere
void onnx_MaxUnpool(OnnxCall& call)
{
  const Operand &x = call.in(0), &places = call.in(1);
  const OnnxWindow window(call, {});
  const Shape& shape = x.shape();
  const size_t rank = window.kernel.size();
  Shape out = shape;
  for (size_t d = 0; d < rank; ++d)
    out[d + 2].size =
        (shape[d + 2].size - 1) * window.stride[d] - window.padding[d] - window.padding[rank + d] + window.kernel[d];
  // The places are those in a tensor of the plain size; output_shape only says how much stands around it.
  if (call.has(2)) {
    const std::vector<int64_t> wanted = call.known_integers(2, "output_shape");
    if (wanted.size() != shape.size())
      call.refuse("output_shape has another rank than the input");
    for (size_t d = 2; d < shape.size(); ++d)
      out[d].size = wanted[d];
  }
  std::string to, from, range, place;
  int64_t image = 1;
  for (size_t d = rank; d-- > 0;) {
    to.insert(0, fmt::format(",o{}", d));
    from.insert(0, fmt::format(",i{}", d));
    range += fmt::format(", o{} < {}, i{} < {}", d, out[d + 2].size, d, shape[d + 2].size);
    place += fmt::format(" + {}*o{}", image, d);
    image *= out[d + 2].size;
  }
  const std::string count = shape[0].batch ? "N" : std::to_string(shape[0].size);
  const std::string text =
      fmt::format("y[n,c{0}] += select(place[n,c{1}] == {2}*({3}*n + c){4}, x[n,c{1}], 0) where n < {5}, c < {3}{6}",
                  to, from, image, shape[1].size, place, count, range);
  call.give(call.build.formula({"x[...]", "place[...]:i64"}, {"y[...]"}, text, {x, call.build.cast(places, DType::i64)})
                .at(0));
}

} // namespace cnnc
