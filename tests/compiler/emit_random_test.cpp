// Drawn nests: a convolution or a maximum over a window, any layout on each side, lanes on any dimension (the reduced
// ones too), with strides, dilations, tails, checked reads or borders, registers or memory. CNNC_DRAWS sets how many.
#include "tests/compiler/run_nest.h"

#include "compiler/machine.h"
#include "ir/layout.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>

using namespace cnnc;
using namespace cnnc::test;

namespace {

class Draw {
public:
  explicit Draw(uint64_t seed) : engine(seed) {}

  std::string nest()
  {
    channels = number(1, 12);
    filters = number(1, 20);
    for (int d = 0; d < 2; ++d) {
      kernel[d] = number(1, 3);
      stride[d] = number(1, 3);
      dilation[d] = number(1, 2);
      padding[d] = number(0, 2);
      out[d] = number(1, 9);
      // What the last window needs, or less (it hangs over), or more.
      in[d] =
          std::max(1, (out[d] - 1) * stride[d] + dilation[d] * (kernel[d] - 1) + 1 - 2 * padding[d] + number(-1, 2));
    }
    maximum = number(0, 3) == 0;
    if (maximum)
      filters = channels;
    bool borders = number(0, 1) == 1;
    std::string x_layout = layout(borders);
    read_is_checked = true;
    if (borders) // wide enough for every window
      read_is_checked = !reaches_stay_inside();
    std::string w_layout = layout(false, true);
    std::string y_layout = layout(false);

    std::string text = fmt::format("nest @drawn(in %x: f32[n,{},{},{}]{}, in %w: f32[{},{},{},{}]{}, ", channels, in[0],
                                   in[1], x_layout, filters, channels, kernel[0], kernel[1], w_layout);
    text += fmt::format("out %y: f32[n,{0},{1},{2}]{3}, out %t: u8[n,{0},{1},{2}]) {{\n", filters, out[0], out[1],
                        y_layout);
    text += "  registers %acc: f32[64]\n  registers %tap: u8[64]\n";
    static const char* lanes_over[] = {"o", "w", "h", "c"};
    lane = lanes_over[number(0, maximum ? 2 : 3)];
    extent = lane == "o" ? filters : lane == "w" ? out[1] : lane == "h" ? out[0] : channels;
    width = number(1, 16);

    // The loops that are not in the lanes, the batch and perhaps one more in parallel.
    std::string open = "  parallel n in 0..N";
    int closing = 1;
    bool together = number(0, 1) == 1;
    for (std::string index : {"o", "h", "w"}) {
      if (index == lane)
        continue;
      int end = index == "o" ? filters : index == "h" ? out[0] : out[1];
      if (together && closing == 1)
        open += fmt::format(", {} in 0..{}", index, end);
      else
        open += fmt::format(" {{ for {} in 0..{}", index, end), ++closing;
      together = together && number(0, 1) == 1;
    }
    text += open + " {\n";
    if (lane == "c") {
      text += reduced_lanes();
    } else {
      int whole = extent / width * width;
      if (whole > 0)
        text += fmt::format("    {} b in 0..{} step {} {{\n{}    }}\n", number(0, 1) ? "for" : "unroll", whole, width,
                            tile("b + ", width));
      if (whole < extent)
        text += tile(fmt::format("{} + ", whole), extent - whole);
    }
    return text + "  " + std::string(static_cast<size_t>(closing), '}') + "\n}\n";
  }

private:
  int number(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(engine); }

  // A random order of the dimensions (the batch stays first), perhaps with one of them in blocks, perhaps with borders.
  std::string layout(bool borders, bool is_weight = false)
  {
    std::vector<int> order{0, 1, 2, 3};
    std::shuffle(order.begin() + (is_weight ? 0 : 1), order.end(), engine);
    int block = number(0, 1) ? std::array{2, 4, 8, 16}[static_cast<size_t>(number(0, 3))] : 0;
    int blocked = is_weight ? number(0, 3) : 1;
    std::string text;
    for (int dim : order) {
      text += fmt::format("{}{}", text.empty() ? "" : ", ", dim);
      if (dim == blocked && block)
        text += fmt::format("/{}", block);
      else if (borders && dim >= 2)
        text += fmt::format("+{}+{}", padding[dim - 2], padding[dim - 2] + 3);
      if (dim != blocked && dim > 0 && number(0, 5) == 0)
        text += "|3";
    }
    if (block)
      text += fmt::format(", {}%{}", blocked, block);
    return " as {" + text + "}";
  }

  bool reaches_stay_inside() const
  {
    for (int d = 0; d < 2; ++d)
      if ((out[d] - 1) * stride[d] + dilation[d] * (kernel[d] - 1) - padding[d] > in[d] - 1 + padding[d] + 3)
        return false;
    return true;
  }

  std::string read(const std::string& c, const std::string& h, const std::string& w) const
  {
    return fmt::format("%x[n,{},{}*({}) + {}*i - {},{}*({}) + {}*j - {}]{}", c, stride[0], h, dilation[0], padding[0],
                       stride[1], w, dilation[1], padding[1], read_is_checked ? "?" : "");
  }

  std::string window(const std::string& inner) const
  {
    return fmt::format("      for i in 0..{}, j in 0..{} {{ {} }}\n", kernel[0], kernel[1], inner);
  }

  // One vector of outputs: base + l stands for the lanes' index.
  std::string tile(const std::string& base, int count)
  {
    auto at = [&](const std::string& index) { return index == lane ? base + "l" : index; };
    std::string y = fmt::format("%y[n,{},{},{}]", at("o"), at("h"), at("w"));
    std::string t = "%t" + y.substr(2);
    bool in_memory = number(0, 2) == 0;
    std::string acc = in_memory ? y : "%acc[l]", tap = in_memory ? "%t" : "%tap", taps = in_memory ? t : "%tap[l]";
    auto in_lanes = [&](const std::string& inner) { return fmt::format("lanes l in 0..{} {{ {} }}", count, inner); };
    std::string text = "      " + in_lanes(fmt::format("{} = {}  {} = 0", acc, maximum ? "-inf" : "0.5", taps)) + "\n";
    if (maximum) {
      text += window(
          in_lanes(fmt::format("{}, {} max= {} tap {}*i + j", acc, tap, read(at("o"), at("h"), at("w")), kernel[1])));
    } else {
      std::string product = fmt::format("{} += {} * %w[{},c,i,j]", acc, read("c", at("h"), at("w")), at("o"));
      std::string kind = number(0, 1) ? "for" : "unroll";
      text += window(fmt::format("{} c in 0..{} {{ {} }}", kind, channels, in_lanes(product)));
    }
    if (!in_memory)
      text += "      " + in_lanes(fmt::format("{} = {}  {} = {}", y, acc, t, taps)) + "\n";
    return text;
  }

  // Lanes along the channels that are summed.
  std::string reduced_lanes()
  {
    std::string text = "      %acc[0] = 0.5  %t[n,o,h,w] = 0\n";
    auto part = [&](const std::string& base, int count) {
      std::string c = base + "l";
      return fmt::format("lanes l in 0..{} {{ %acc[0] += lane_sum({} * %w[o,{},i,j]) }} ", count, read(c, "h", "w"), c);
    };
    int whole = extent / width * width;
    std::string inner;
    if (whole > 0)
      inner += fmt::format("for b in 0..{} step {} {{ {} }} ", whole, width, part("b + ", width));
    if (whole < extent)
      inner += part(fmt::format("{} + ", whole), extent - whole);
    return text + window(inner) + "      %y[n,o,h,w] = %acc[0]\n";
  }

  std::mt19937_64 engine;
  int channels = 1, filters = 1, kernel[2], stride[2], dilation[2], padding[2], out[2], in[2];
  bool maximum = false, read_is_checked = true;
  std::string lane;
  int extent = 1, width = 1;
};

} // namespace

TEST_CASE("drawn nests agree with the interpreter")
{
  const char* wanted = std::getenv("CNNC_DRAWS");
  int draws = wanted ? std::atoi(wanted) : 60;
  std::vector<Target> targets{host_target(), make_target("x86-64")};
  if (targets[0].fma && targets[0].vector_bytes >= 32)
    targets.push_back(make_target("x86-64-v3"));
  for (int draw = 0; draw < draws; ++draw) {
    std::string text = Draw(static_cast<uint64_t>(draw)).nest();
    CAPTURE(draw);
    CAPTURE(text);
    const Target& target = targets[static_cast<size_t>(draw) % targets.size()];
    CAPTURE(target.march);
    CHECK(worst_difference(text, target, 1 + draw % 3, 1) <= 1e-5);
  }
}
