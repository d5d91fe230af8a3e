// Which pairs of loops become one, and what keeps a pair apart.
#include "passes/collapse.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace cnnc;

namespace {

Nest parse(const std::string& text)
{
  return parse_nest(std::make_shared<Source>(Source{"test.ir", text}));
}

std::string collapsed(const std::string& text)
{
  Nest nest = parse(text);
  Remarks remarks;
  collapse(nest, Target(), remarks);
  verify(nest);
  return to_string(nest);
}

// Pixels of blocked pictures, 6 x 6 with this layout of the result, from `value`.
std::string pixels(const std::string& value, const std::string& layout = "{0, 1/16, 2, 3, 1%16}")
{
  return fmt::format(
      R"(nest @k(in %x: f32[n,16,6,6] as {{0, 1/16, 2, 3, 1%16}}, in %r: f32[n,6], out %y: f32[n,16,6,6] as {}) {{
  for n in 0..N, c in 0..16, h in 0..6, w in 0..6 {{
    %y[n,c,h,w] = {}
  }}
}})",
      layout, value);
}

bool stays(const std::string& text)
{
  return collapsed(text) == to_string(parse(text));
}

} // namespace

TEST_CASE("pixels are one dimension, also in the local picture of two stages")
{
  const std::string before =
      R"(nest @k(in %x: f32[n,32,7,7] as {0, 1/16, 2, 3, 1%16}, in @w: f32[64,32,1,1] as {0/16, 1/16, 2, 3, 1%16, 0%16}, out %p: f32[n,64] as {0, 1/16, 1%16}) {
  local %c: f32[64,7,7] as {0/16, 1, 2, 0%16}
  registers %s: f32[]
  registers %t: f32[]
  for n in 0..N {
    for o in 0..64, h in 0..7, w in 0..7 {
      %s[] = 0
      for c in 0..32 {
        %s[] += %x[n,c,h,w] * @w[o,c,0,0]
      }
      %c[o,h,w] = %s[]
    }
    for c1 in 0..64 {
      %t[] = 0
      for i in 0..7, j in 0..7 {
        %t[] += %c[c1,i,j]
      }
      %p[n,c1] = %t[] * 0.5
    }
  }
})";
  const std::string after =
      R"(nest @k(in %x: f32[n,32,49] as {0, 1/16, 2, 1%16}, in @w: f32[64,32,1,1] as {0/16, 1/16, 2, 3, 1%16, 0%16}, out %p: f32[n,64] as {0, 1/16, 1%16}) {
  local %c: f32[64,49] as {0/16, 1, 0%16}
  registers %s: f32[]
  registers %t: f32[]
  for n in 0..N {
    for o in 0..64, hw in 0..49 {
      %s[] = 0
      for c in 0..32 {
        %s[] += %x[n,c,hw] * @w[o,c,0,0]
      }
      %c[o,hw] = %s[]
    }
    for c1 in 0..64 {
      %t[] = 0
      for ij in 0..49 {
        %t[] += %c[c1,ij]
      }
      %p[n,c1] = %t[] * 0.5
    }
  }
})";
  CHECK(collapsed(before) == to_string(parse(after)));
}

TEST_CASE("a planar picture is one row, and a subscript of the weights behind a flatten goes with it")
{
  CHECK(collapsed(R"(nest @k(in %x: f32[n,3,5,7], out %y: f32[n,3,5,7]) {
  for n in 0..N, c in 0..3, h in 0..5, w in 0..7 { %y[n,c,h,w] = %x[n,c,h,w] * 2 }
})") == to_string(parse(R"(nest @k(in %x: f32[n,105], out %y: f32[n,105]) {
  for n in 0..N, chw in 0..105 { %y[n,chw] = %x[n,chw] * 2 }
})")));
  CHECK(collapsed(R"(nest @k(in %x: f32[n,32,6,6] as {0, 1/16, 2, 3, 1%16}, in @w: f32[10,1152], out %y: f32[n,10]) {
  registers %s: f32[]
  for n in 0..N, o in 0..10 {
    %s[] = 0
    for c in 0..32, h in 0..6, w in 0..6 { %s[] += %x[n,c,h,w] * @w[o,36*c + 6*h + w] }
    %y[n,o] = %s[]
  }
})") == to_string(parse(R"(nest @k(in %x: f32[n,32,36] as {0, 1/16, 2, 1%16}, in @w: f32[10,1152], out %y: f32[n,10]) {
  registers %s: f32[]
  for n in 0..N, o in 0..10 {
    %s[] = 0
    for c in 0..32, hw in 0..36 { %s[] += %x[n,c,hw] * @w[o,36*c + hw] }
    %y[n,o] = %s[]
  }
})")));
}

TEST_CASE("what keeps two loops apart")
{
  CHECK_FALSE(stays(pixels("%x[n,c,h,w]")));
  CHECK(stays(pixels("%x[n,c,h,w]", "{0, 1/16, 2+1+1, 3+1+1, 1%16}")));     // a border between the rows
  CHECK(stays(pixels("%x[n,c,h,w]", "{0, 1/16, 2, 3|2, 1%16}")));           // unused elements
  CHECK(stays(pixels("%x[n,c,h,w]", "{0, 2, 1/16, 3, 1%16}")));             // something else
  CHECK(stays(pixels("%x[n,c,h,w - 1]?")));                                 // a row's end
  CHECK(stays(pixels("%x[n,c,w,h]")));                                      // the other way round
  CHECK(stays(pixels("%x[n,c,h,w] * %r[n,h]")));                            // the row alone
  CHECK(stays(pixels("select(inside(w,3), %x[n,c,h,w], 0)")));              // likewise, in a condition
  CHECK_FALSE(stays(pixels("select(inside(6*h + w,20), %x[n,c,h,w], 0)"))); // both as one
  CHECK(stays(R"(nest @k(in %x: f32[n,16,6,6], out %y: f32[n,16,3,3]) {
  for n in 0..N, h in 0..3, w in 0..3, c in 0..16 { %y[n,c,h,w] = %x[n,c,2*h,2*w] }
})"));
  // One of two stages goes another way through what lies between them.
  CHECK(stays(R"(nest @k(in %x: f32[n,6,6], out %y: f32[n,5,5]) {
  local %t: f32[6,6]
  for n in 0..N {
    for h in 0..6, w in 0..6 { %t[h,w] = %x[n,h,w] }
    for a in 0..5, b in 0..5 { %y[n,a,b] = %t[a + 1,b + 1] }
  }
})"));
  // Parameters are stored for other kernels as well.
  CHECK(stays(R"(nest @k(in @w: f32[16,16,3,3], out @v: f32[16,16,3,3]) {
  for o in 0..16, c in 0..16, h in 0..3, w in 0..3 { @v[o,c,h,w] = @w[o,c,h,w] * 2 }
})"));
}
