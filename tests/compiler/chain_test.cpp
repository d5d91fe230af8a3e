// In what order unrolled sums and the stores behind them run, and that machine code of it computes the same.
#include "compiler/llvm/chain.h"
#include "tests/compiler/run_nest.h"

#include "compiler/compile_nest.h"
#include "compiler/machine.h"
#include "ir/location.h"

#include <doctest/doctest.h>

#include <numeric>

using namespace cnnc;
using namespace cnnc::test;

namespace {

// Two blocks of channels, a row of four pixels and three taps: as a depthwise convolution.
const char* const window = R"(nest @k(in %x: f32[n,6,16], in @w: f32[3,16], in %r: f32[n,4,16], out %y: f32[n,4,16]) {
  registers %a: f32[4,2,8]
  parallel n in 0..N {
    unroll p in 0..4, b in 0..2 { lanes l in 0..8 { %a[p,b,l] = 0 } }
    unroll i in 0..3, p1 in 0..4, b1 in 0..2 { lanes l1 in 0..8 {
      %a[p1,b1,l1] += %x[n,p1 + i,8*b1 + l1] * @w[i,8*b1 + l1]
    } }
    unroll p2 in 0..4, b2 in 0..2 { lanes l2 in 0..8 {
      %y[n,p2,8*b2 + l2] = max(%a[p2,b2,l2] + %r[n,p2,8*b2 + l2], 0)
    } }
  }
})";

struct Parsed {
  explicit Parsed(const std::string& text) : nest(parse(text)), body(std::get<Loop>(nest.body[0].is).body)
  {
    chains.push_back(chain_of(std::get<Loop>(body[1].is), nest).value());
    groups.resize(nest.buffers.size());
    std::iota(groups.begin(), groups.end(), 0);
  }
  Ends ends() const { return Ends(std::span(body).subspan(2), chains, nest, groups); }

  Nest nest;
  const std::vector<Node>& body;
  std::vector<Chain> chains;
  std::vector<int> groups;
};

std::string replaced(std::string text, const std::string& from, const std::string& to)
{
  const size_t at = text.find(from);
  REQUIRE(at != text.npos);
  return text.replace(at, from.size(), to);
}

} // namespace

TEST_CASE("a store waits for the last step of its own sum")
{
  const Parsed parsed(window);
  Ends ends = parsed.ends();
  CHECK(ends.nodes() == 1);
  // (i, p1, b1) in the order of the loops; the store's are (p2, b2).
  std::vector<Ends::End> now = ends.ready(parsed.chains[0], {2, 3, 1});
  REQUIRE(now.size() == 1);
  CHECK(now[0].values == Instance{3, 1});
  CHECK(ends.ready(parsed.chains[0], {2, 3, 1}).empty());
}

TEST_CASE("a store of several sums waits for all of them")
{
  const Parsed parsed(replaced(window, "max(%a[p2,b2,l2] +", "max(%a[p2,b2,l2] + %a[-p2 + 3,b2,l2] +"));
  Ends ends = parsed.ends();
  REQUIRE(ends.nodes() == 1);
  CHECK(ends.ready(parsed.chains[0], {2, 0, 0}).empty());
  CHECK(ends.ready(parsed.chains[0], {2, 3, 0}).size() == 2);
}

TEST_CASE("stores that may not run before other steps stay behind them")
{
  auto taken = [](const std::string& text) { return Parsed(text).ends().nodes(); };
  const std::string y = "%y[n,p2,8*b2 + l2] = ";
  CHECK(taken(window) == 1);
  CHECK(taken(replaced(window, y + "max", y.substr(0, y.size() - 2) + "+= max")) == 0); // adds in memory
  CHECK(taken(replaced(window, "l2] + %r", "l2] + %y")) == 0);                          // reads what others store
  CHECK(taken(replaced(window, "max(%a[p2,b2,l2] + ", "max(")) == 0);                   // has no sum
  CHECK(taken(replaced(window, "lanes l2 in 0..8 {", "lanes l2 in 1..8 {")) == 0);      // other lanes
  // A result whose bytes may be those of an operand.
  Parsed parsed(window);
  parsed.groups[3] = parsed.groups[0];
  CHECK(parsed.ends().nodes() == 0);
}

TEST_CASE("blocks that share nothing take their turns, element by element")
{
  const Parsed parsed(window);
  const Chain& chain = parsed.chains[0];
  // 4 sums, 3 weights and the element.
  CHECK(by_element(chain, 7, 8, true).empty());
  const std::vector<Instance> order = by_element(chain, 8, 8, true);
  REQUIRE(order.size() == 24);
  for (size_t k = 0; k < order.size(); ++k)
    CHECK(order[k][2] == static_cast<int64_t>(k / 12));
  for (size_t k = 1; k < 12; ++k) // x[p1 + i] once
    CHECK(order[k][0] + order[k][1] >= order[k - 1][0] + order[k - 1][1]);
  // Without ends in between all eight sums and six weights are alive.
  CHECK(by_element(chain, 14, 8, false).empty());
  CHECK(by_element(chain, 15, 8, false).size() == 24);
}

TEST_CASE("neighbours that end together are rows, or parts of one")
{
  const Parsed parsed(window);
  auto sizes = [&](int64_t rows, int64_t columns) {
    Loop outer = *parsed.chains[0].parallel[0], inner = *parsed.chains[0].parallel[1];
    outer.end[0] = rows;
    inner.end[0] = columns;
    std::vector<size_t> list;
    for (const std::vector<Instance>& group : in_groups({&outer, &inner}))
      list.push_back(group.size());
    return list;
  };
  CHECK(sizes(6, 1) == std::vector<size_t>{4, 2});
  CHECK(sizes(5, 2) == std::vector<size_t>{4, 4, 2});
  CHECK(sizes(2, 3) == std::vector<size_t>{3, 3});
  CHECK(sizes(2, 4) == std::vector<size_t>{4, 4});
  CHECK(sizes(2, 5) == std::vector<size_t>{4, 1, 4, 1});
  CHECK(sizes(1, 9) == std::vector<size_t>{3, 3, 3});
}

TEST_CASE("machine code that ends sum by sum computes what the loops say")
{
  for (const char* march : {"x86-64", "x86-64-v3", "x86-64-v4"}) {
    const Target target = make_target(march);
    if (target.vector_bytes > host_target().vector_bytes)
      continue;
    CAPTURE(march);
    CHECK(worst_difference(window, target) <= 1e-6);
    // Sums of each other's neighbours; many sums and steps, so that only the last ones run by themselves.
    CHECK(worst_difference(replaced(window, "max(%a[p2,b2,l2] +", "max(%a[p2,b2,l2] + %a[-p2 + 3,b2,l2] +"), target) <=
          1e-6);
    CHECK(worst_difference(R"(nest @k(in %x: f32[n,6,17], in @w: f32[17,16], out %y: f32[n,6,16], out %z: f32[n,6,16]) {
  registers %a: f32[6,2,8]
  parallel n in 0..N {
    unroll p in 0..6, b in 0..2 { lanes l in 0..8 { %a[p,b,l] = %x[n,p,0] } }
    unroll c in 0..17, p1 in 0..6, b1 in 0..2 { lanes l1 in 0..8 {
      %a[p1,b1,l1] += %x[n,p1,c] * @w[c,8*b1 + l1]
    } }
    unroll p2 in 0..6, b2 in 0..2 { lanes l2 in 0..8 { %y[n,p2,8*b2 + l2] = %a[p2,b2,l2] } }
    unroll p3 in 0..6, b3 in 0..2 { lanes l3 in 0..8 { %z[n,p3,8*b3 + l3] = max(%a[p3,b3,l3], 0) } }
  }
})",
                           target) <= 1e-5);
  }
}

TEST_CASE("sums without a step are stored, and too many steps are refused before they are listed")
{
  const std::string text = R"(nest @k(in %x: f32[n,4], out %y: f32[n,4]) {
  registers %a: f32[4]
  parallel n in 0..N {
    unroll p in 0..4 { %a[p] = 2 }
    unroll i in 0..STEPS, p1 in 0..4 { %a[p1] += %x[n,p1] * 3 }
    unroll p2 in 0..4 { %y[n,p2] = %a[p2] }
  }
})";
  CHECK(worst_difference(replaced(text, "STEPS", "0"), host_target()) == 0);
  CHECK(worst_difference(replaced(text, "STEPS", "5"), host_target()) <= 1e-6);
  CHECK_THROWS_AS(compile_nest(parse(replaced(text, "STEPS", "4000000000")), host_target()), InternalError);
}

TEST_CASE("what is stored beside a maximum may be the tap of another one")
{
  const std::string text = R"(nest @k(in %x: f32[n,10,16], out %y: f32[n,8,16], out %t: i64[n,8,16]) {
  registers %a: f32[8,8]
  registers %b: i64[8,8]
  parallel n in 0..N {
    for c in 0..16 step 8 {
      unroll p in 0..8 { lanes l in 0..8 { %a[p,l] = -inf } }
      unroll p3 in 0..8 { lanes l3 in 0..8 { %b[p3,l3] = 0 } }
      unroll i in 0..3, p1 in 0..8 { lanes l1 in 0..8 { %a[p1,l1], %b max= %x[n,p1 + i,c + l1] tap i } }
      unroll p2 in 0..8 { lanes l2 in 0..8 {
        %y[n,p2,c + l2] = %a[p2,l2]
        %t[n,p2,c + l2] = %b[-p2 + 7,l2]
      } }
    }
  }
})";
  CHECK(worst_difference(text, host_target()) == 0);
}
