// y[n,c,h,w] = mean or maximum of x[n,c,i,j] for h*H/OH <= i < (h + 1)*H/OH, the first rounded down, the last up
//
// With g the greatest common divisor of H and OH, windows repeat after OH/g of them and H/g rows:
//   y[n, c, q*OH/g + r] of x[n, c, q*H/g + start(r) + i], i < length(r)
// One statement for each r along each direction, and a single one where OH divides H.
#include "ir/window.h"

#include <fmt/format.h>

#include <numeric>

namespace cnnc {

namespace {

struct Phase {
  std::string to, from, ranges; // along one direction
  int64_t length;
};

constexpr int64_t most_statements = 1024;

std::vector<Phase> phases(const std::string& index, const std::string& tap, int64_t in, int64_t out)
{
  const int64_t repeats = std::gcd(in, out), period = out / repeats, step = in / repeats;
  std::vector<Phase> result;
  for (int64_t r = 0; r < period; ++r) {
    const int64_t start = r * in / out, length = ((r + 1) * in + out - 1) / out - start;
    result.push_back({fmt::format("{}*{} + {}", index, period, r),
                      fmt::format("{}*{} + {} + {}", index, step, tap, start),
                      fmt::format("{} < {}, {} < {}", index, repeats, tap, length), length});
  }
  return result;
}

std::string formula(const Window& window, bool is_mean, const OpCall& op)
{
  const std::vector<int64_t>& size = op.integers("size");
  std::vector<Phase> all{{"n,c", "n,c", "", 1}};
  for (size_t d = 0; d < window.rank; ++d) {
    const std::string index(1, window.indices()[2 * d + 1]), tap(1, window.taps()[2 * d + 1]);
    const int64_t in = op.integer(window.extent(d));
    if (in < 1)
      throw Error({}, "its input has no points");
    if (static_cast<int64_t>(all.size()) * (size[d] / std::gcd(in, size[d])) > most_statements)
      throw Error(
          {}, fmt::format("windows of more than {} forms: sizes [{}] of an input of {}", most_statements, size[d], in));
    std::vector<Phase> more;
    for (const Phase& outer : all)
      for (const Phase& inner : phases(index, tap, in, size[d]))
        more.push_back({outer.to + ", " + inner.to, outer.from + ", " + inner.from,
                        outer.ranges + (d == 0 ? "" : ", ") + inner.ranges, outer.length * inner.length});
    all = std::move(more);
  }
  std::string text;
  for (const Phase& phase : all)
    text += is_mean
                ? fmt::format("y[{}] += x[{}] * (1.0/{}) where {}\n", phase.to, phase.from, phase.length, phase.ranges)
                : fmt::format("y[{}] max= x[{}] where {}\n", phase.to, phase.from, phase.ranges);
  text.pop_back();
  return text;
}

OpDef adaptive_pool(size_t rank, bool is_mean)
{
  const Window window{.rank = rank};
  const AttributeDef size = window.sizes_attribute("size", "extents of the output");
  std::string outputs;
  for (const std::string& part : size.parts)
    outputs += "," + part;
  return {
      .name = fmt::format("adaptive_{}_pool{}d", is_mean ? "avg" : "max", rank),
      .doc = fmt::format("the {} under windows that share the input out evenly, for an output of a given size",
                         is_mean ? "mean" : "largest value"),
      .inputs = {"x[N,C" + window.extents() + "]"},
      .outputs = {"y[N,C" + outputs + "]"},
      .attributes = {size},
      .make_formula = [=](const OpCall& op) { return formula(window, is_mean, op); },
  };
}

} // namespace

extern const OpDef op_adaptive_avg_pool1d = adaptive_pool(1, true);
extern const OpDef op_adaptive_avg_pool2d = adaptive_pool(2, true);
extern const OpDef op_adaptive_avg_pool3d = adaptive_pool(3, true);
extern const OpDef op_adaptive_max_pool1d = adaptive_pool(1, false);
extern const OpDef op_adaptive_max_pool2d = adaptive_pool(2, false);
extern const OpDef op_adaptive_max_pool3d = adaptive_pool(3, false);

} // namespace cnnc
