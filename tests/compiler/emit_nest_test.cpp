// Nests as machine code against the interpreter: lanes on every dimension, tails, strides, gathers, checked reads,
// taps, registers, parallel ranges, borders, every type; for AVX-512 (where the host has it), AVX2 and SSE.
#include "tests/compiler/run_nest.h"

#include "compiler/caches.h"
#include "compiler/compile_nest.h"
#include "compiler/machine.h"
#include "ir/location.h"
#include "ir/random.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <sstream>

using namespace cnnc;
using namespace cnnc::test;

namespace {

const std::vector<Target>& targets()
{
  static const std::vector<Target> all = [] {
    std::vector<Target> list{host_target(), make_target("x86-64")};
    if (list[0].fma && list[0].vector_bytes >= 32)
      list.push_back(make_target("x86-64-v3"));
    return list;
  }();
  return all;
}

void agrees(const std::string& text, double tolerance = 0, int64_t batch = 2)
{
  CAPTURE(text);
  for (const Target& target : targets()) {
    CAPTURE(target.march);
    for (uint64_t seed : {1, 2})
      CHECK(worst_difference(text, target, batch, seed) <= tolerance);
  }
}

} // namespace

TEST_CASE("lanes in a row, with tails")
{
  for (int count : {1, 2, 3, 4, 5, 7, 8, 11, 16, 23, 32, 40})
    agrees(fmt::format(R"(nest @k(in %x: f32[n,{0}], out %y: f32[n,{0}]) {{
  parallel n in 0..N {{ lanes l in 0..{0} {{ %y[n,l] = %x[n,l] * 2 + 1 }} }}
}})",
                       count),
           1e-6);
}

TEST_CASE("neighbours of channels in blocks: rows of two blocks")
{
  for (int by : {1, 2, 5, 15, 16, 19}) {
    // Read from far away, in lanes that are known and in lanes that are not, and written there.
    for (int width : {16, 8}) // one vector a block, or two
      agrees(
          fmt::format(
              R"(nest @k(in %x: f32[n,48,40] as {{0, 1/16, 2, 1%16}}, out %y: f32[n,48,40] as {{0, 1/16, 2, 1%16}}) {{
  parallel n in 0..N, c in 0..48 step 16 {{
    for h in 0..40 {{
      unroll b in 0..{1} {{ lanes l in 0..{2} {{
        %y[n,c + {2}*b + l,h] = %x[n,c + {2}*b + l + {0},h]? - 2 * %x[n,c + {2}*b + l - {0},h]? }} }}
    }}
  }}
}})",
              by, 16 / width, width),
          1e-6);
    agrees(fmt::format(
               R"(nest @k(in %x: f32[n,32,40] as {{0, 1/16, 2, 1%16}}, out %y: f32[n,64,40] as {{0, 1/16, 2, 1%16}}) {{
  parallel n in 0..N, c in 0..32 step 16 {{
    for h in 0..40 {{ lanes l in 0..16 {{ %y[n,c + l + {0},h] = %x[n,c + l,h] + 1 }} }}
    for h in 0..40 {{ lanes l in 0..11 {{ %y[n,c + l + {0},h] = %x[n,c + l,h] * 3 }} }}
  }}
}})",
               by),
           1e-6);
  }
}

TEST_CASE("what is asked for ahead changes no value, at the end of memory either")
{
  agrees(R"(nest @k(in %x: f32[n,256] ahead 4096, in %w: f32[256] ahead 64, out %y: f32[n,256] ahead 8192) {
  parallel n in 0..N {
    prefetch %y[n,255]
    prefetch %x[n,0]
    for c in 0..256 step 16 { lanes l in 0..16 { %y[n,c + l] = %x[n,c + l] * %w[c + l] } }
  }
})",
         1e-6);
}

TEST_CASE("iterations take turns: each asks for one line of four, those of a loop in tasks or of a rolled one")
{
  for (std::string loop : {"parallel n in 0..N, w in 0..24 step 3 {", "parallel n in 0..N { for w in 0..24 step 3 {"}) {
    const std::string text = fmt::format(
        R"(nest @k(in %x: f32[n,64,24] as {{0, 1/16, 2, 1%16}}, in @w: f32[16,64] as {{0/16, 1, 0%16}} ahead 4096 turns w/4, out %y: f32[n,16,24] as {{0, 1/16, 2, 1%16}}) {{
  registers %acc: f32[3,16]
  {}
    unroll a in 0..3 {{ lanes l in 0..16 {{ %acc[a,l] = 0 }} }}
    for c in 0..64 step 16 {{
      unroll k in 0..16, a in 0..3 {{ lanes l in 0..16 {{ %acc[a,l] += %x[n,c + k,w + a] * @w[l,c + k] }} }}
    }}
    unroll a in 0..3 {{ lanes l in 0..16 {{ %y[n,l,w + a] = %acc[a,l] }} }}
  }}
}}{})",
        loop, loop.find("for") == loop.npos ? "" : "\n}");
    CAPTURE(text);
    agrees(text, 1e-5);
    for (const char* march : {"x86-64-v3", "skylake-avx512"}) {
      const std::string code = compile_nest(parse(text), make_target(march), NestForm::assembly).bytes;
      int prefetches = 0;
      for (size_t at = 0; (at = code.find("prefetcht", at)) != code.npos; ++at)
        ++prefetches;
      CHECK(prefetches == 16 / 4); // of 16 lines in a step
    }
  }
}

TEST_CASE("a batch that is large enough asks for lines ahead")
{
  const std::string text =
      R"(nest @k(in %x: f32[n,64], in @w: f32[16,64] as {0/16, 1, 0%16} ahead 4096 from 4 images, out %y: f32[n,16]) {
  registers %acc: f32[16]
  parallel n in 0..N {
    lanes l in 0..16 { %acc[l] = 0 }
    for c in 0..64 { lanes l in 0..16 { %acc[l] += %x[n,c] * @w[l,c] } }
    lanes l in 0..16 { %y[n,l] = %acc[l] }
  }
})";
  agrees(text, 1e-5);
  const std::string code = compile_nest(parse(text), make_target("x86-64-v3"), NestForm::ir).bytes;
  CHECK(code.find("prefetcht") != code.npos);
  CHECK(code.find("i64 4096, i64 0") != code.npos); // of a select
}

TEST_CASE("lanes that stride, turn back, spread out and repeat")
{
  for (int stride : {1, 2, 3, 4, 5, -1, -2, -3, -7})
    for (int count : {2, 3, 8, 13, 16}) {
      int first = stride < 0 ? -stride * (count - 1) : 0;
      int extent = std::abs(stride) * (count - 1) + 3;
      agrees(
          fmt::format(
              R"(nest @k(in %x: f32[n,{0}], in %i: u8[n,{0}], inout %y: f32[n,{0}], out %z: f32[n,{3}], inout %j: u8[n,{0}]) {{
  parallel n in 0..N {{ lanes l in 0..{3} {{
    %z[n,l] = %x[n,{1}*l + {2}]
    %y[n,{1}*l + {2}] += %x[n,{1}*l + {4}] * 3
    %j[n,{1}*l + {2}] max= %i[n,{1}*l + {4}]
  }} }}
}})",
              extent, stride, first, count, first + 1),
          1e-6);
    }
}

TEST_CASE("planar to blocked and back, every dimension in the lanes")
{
  std::array<std::string, 6> layouts{"{0, 1, 2, 3}",       "{0, 1/4, 2+1+2, 3+2+1, 1%4}",
                                     "{0, 2, 3, 1}",       "{0, 1/8, 2, 3, 1%8}",
                                     "{0, 1, 3+1+0|3, 2}", "{0, 2/2, 1/4, 3, 1%4, 2%2}"};
  std::array<int, 3> extents{11, 6, 9};
  const char* names[] = {"c", "h", "w"};
  for (const std::string& from : layouts)
    for (const std::string& to : layouts)
      for (size_t lane = 0; lane < 3; ++lane) {
        std::string loops;
        for (size_t d = 0; d < 3; ++d)
          if (d != lane)
            loops += fmt::format("for {} in 0..{} {{ ", names[d], extents[d]);
        agrees(
            fmt::format("nest @k(in %x: f32[n,11,6,9] as {}, out %y: f32[n,11,6,9] as {}) {{ parallel n in 0..N {{ {} "
                        "lanes {} in 0..{} {{ %y[n,c,h,w] = %x[n,c,h,w] - 1 }} }} }} }} }}",
                        from, to, loops, names[lane], extents[lane]),
            1e-6);
      }
}

TEST_CASE("a convolution: accumulators carried through loops, parallel ranges")
{
  for (int lanes : {16, 8, 4})
    agrees(
        fmt::format(
            R"(nest @conv(in %x: f32[n,8,9,10] as {{0, 1/8, 2+1+1, 3+1+1, 1%8}}, in @w: f32[32,8,3,3] as {{0/{0}, 1, 2, 3, 0%{0}}}, in @b: f32[32], out %y: f32[n,32,9,10] as {{0, 1/16, 2, 3, 1%16}}) {{
  registers %acc: f32[2,5,{0}]
  parallel n in 0..N, o in 0..32 step {1}, h in 0..9 {{
    for w in 0..10 step 5 {{
      unroll b in 0..2, a in 0..5 {{ lanes l in 0..{0} {{ %acc[b,a,l] = @b[o + {0}*b + l] }} }}
      for i in max(0, 1 - h)..min(3, 10 - h), j in 0..3, c in 0..8 step 4 {{
        unroll k in 0..4, a in 0..5, b in 0..2 {{ lanes l in 0..{0} {{
          %acc[b,a,l] += %x[n,c + k,h + i - 1,w + a + j - 1] * @w[o + {0}*b + l,c + k,i,j] }} }}
      }}
      unroll b in 0..2, a in 0..5 {{ lanes l in 0..{0} {{ %y[n,o + {0}*b + l,h,w + a] = max(%acc[b,a,l], 0) }} }}
    }}
  }}
}})",
            lanes, 2 * lanes),
        1e-5, 3);
}

TEST_CASE("checked reads: the window may lie outside, nothing outside is touched")
{
  for (int stride : {1, 2, 3}) {
    // lanes along w, then along channels, then scalar
    agrees(fmt::format(R"(nest @k(in %x: f32[n,5,7,9], in @w: f32[5,3,3], out %y: f32[n,7,9]) {{
  registers %acc: f32[9]
  parallel n in 0..N, h in 0..7 {{
    lanes w in 0..9 {{ %acc[w] = 0 }}
    for c in 0..5, i in 0..3, j in 0..3 {{
      lanes w in 0..9 {{ %acc[w] += %x[n,c,{0}*h + i - 1,{0}*w + j - 1]? * @w[c,i,j] }}
    }}
    lanes w in 0..9 {{ %y[n,h,w] = %acc[w] }}
  }}
}})",
                       stride),
           1e-5);
    agrees(fmt::format(R"(nest @k(in %x: f32[n,7,8] as {{0, 2/4, 1, 2%4}}, out %y: f32[n,7,8], out %z: f32[n,7]) {{
  parallel n in 0..N, h in 0..7 {{
    unroll j in 0..3 {{ lanes c in 0..8 {{ %y[n,h,c] = %x[n,{0}*h + j - 3,c]? }} }}
    %z[n,h] = %x[n,{0}*h - 2,3]? * 2
  }}
}})",
                       stride));
  }
  agrees(R"(nest @k(in %x: f32[n,3], out %y: f32[n,3,8]) {
  parallel n in 0..N, c in 0..3 { lanes l in 0..8 { %y[n,c,l] = %x[n + l - 4,c]? } }
})",
         0, 5);
  // lanes that are known to lie outside, some or all
  agrees(R"(nest @k(in %x: f32[5], out %y: f32[8], out %z: f32[8], out %u: f32[8]) {
  lanes l in 0..8 { %y[l] = %x[l - 2]?  %z[l] = %x[2*l - 1]?  %u[l] = %x[l + 5]? }
})");
}

TEST_CASE("maxima keep their taps, and NaN never wins")
{
  for (std::string type : {"u8", "i32"})
    agrees(fmt::format(
        R"(nest @pool(in %x: f32[n,6,8,8] as {{0, 1/2, 2, 3, 1%2}}, out %y: f32[n,6,4,4], out %tap: {}[n,6,4,4], out %least: f32[n,6,4]) {{
  registers %m: f32[4]
  registers %t: {}[4]
  parallel n in 0..N, c in 0..6, h in 0..4 {{
    lanes w in 0..4 {{ %m[w] = -inf  %t[w] = 0 }}
    for i in 0..2, j in 0..2 {{ lanes w in 0..4 {{ %m[w], %t max= %x[n,c,2*h + i,2*w + j] tap 2*i + j }} }}
    lanes w in 0..4 {{ %y[n,c,h,w] = %m[w]  %tap[n,c,h,w] = %t[w] }}
    %least[n,c,h] = inf
    for i in 0..8 {{ %least[n,c,h] min= %x[n,c,2*h,i] }}
  }}
}})",
        type, type));
  agrees(R"(nest @k(in %x: f32[8], out %y: f32[8], out %t: u8[8], out %z: f32[]) {
  lanes l in 0..8 {
    %y[l] = -1  %t[l] = 9
    %y[l], %t max= %x[l] / (%x[l] - %x[l]) tap l + 1
    %y[l], %t max= %x[l] tap l + 2
  }
  %z[] = 0 / %x[0] * 0 / 0
  %z[] max= 3
})");
}

TEST_CASE("sums over lanes")
{
  for (int count : {2, 3, 7, 16, 19})
    agrees(
        fmt::format(
            R"(nest @k(in %x: f32[n,{0}], in %i: i32[n,{0}], out %s: f32[n], out %m: f32[n], out %is: i32[n], out %im: i32[n]) {{
  registers %acc: f32[{0}]
  parallel n in 0..N {{
    lanes l in 0..{0} {{ %acc[l] = 0 }}
    for j in 0..3 {{ lanes l in 0..{0} {{ %acc[l] += %x[n,l] * %x[n,l] }} }}
    lanes l in 0..{0} {{
      %s[n] = lane_sum(%acc[l])
      %m[n] = lane_max(%x[n,l])
      %is[n] = lane_sum(%i[n,l])
      %im[n] = lane_max(%i[n,l] - 9)
    }}
  }}
}})",
            count),
        1e-5);
}

TEST_CASE("functions in lanes and alone")
{
  agrees(R"(nest @k(in %x: f32[n,24], out %y: f32[n,22,24], out %z: f32[n,22]) {
  parallel n in 0..N {
    lanes l in 0..24 {
      %y[n,0,l] = exp(%x[n,l])            %y[n,1,l] = log(abs(%x[n,l]))      %y[n,2,l] = tanh(%x[n,l])
      %y[n,3,l] = erf(%x[n,l])            %y[n,4,l] = sqrt(%x[n,l])          %y[n,5,l] = rsqrt(abs(%x[n,l]))
      %y[n,6,l] = floor(3*%x[n,l])        %y[n,7,l] = pow(abs(%x[n,l]), 1.7) %y[n,8,l] = -%x[n,l]
      %y[n,9,l] = min(%x[n,l], 0.5)       %y[n,10,l] = max(%x[n,l], -%x[n,l])
      %y[n,11,l] = select(%x[n,l] <= 0.25 and not (%x[n,l] < -1 or l == 3), %x[n,l], 7)
      %y[n,12,l] = random(n + 3, 24*n + l)
      %y[n,13,l] = select(inside(l - 1,22,n + l,N + 5), 1, 0)
      %y[n,14,l] = select(n == 1, %x[n,l], 2)
      %y[n,15,l] = %x[n,l] / 3 - %x[n,l]*2
      %y[n,16,l] = 1 - %x[n,l]*%x[n,l]
      %y[n,17,l] = cast(f32, l*n + 2)
      %y[n,18,l] = cast(f32, cast(u8, %x[n,l]*200))
      %y[n,19,l] = cast(f32, cast(i8, %x[n,l]*200))
      %y[n,20,l] = cast(f32, cast(i32, %x[n,l]*1e10))
      %y[n,21,l] = exp(%x[n,0])
    }
    for i in 0..22 { %z[n,i] = exp(%x[n,i]) + log(abs(%x[n,i])) + tanh(%x[n,i]) + erf(%x[n,i]) + pow(abs(%x[n,i]), -0.3) + random(i, n) }
  }
})",
         2e-6);
}

TEST_CASE("every type")
{
  for (std::string type : {"f64", "bf16", "i8", "u8", "i32", "i64"}) {
    agrees(
        fmt::format(
            R"(nest @k(in %x: {0}[n,3,13], in %w: {0}[13], inout %y: {0}[n,3,13], out %s: {0}[n,3], out %b: bool[n,13]) {{
  parallel n in 0..N {{
    for c in 0..3 {{
      lanes l in 0..13 {{ %y[n,c,l] += %x[n,c,l] * %w[l] }}
      %s[n,c] = 0
      for l in 0..13 {{ %s[n,c] += %x[n,c,l] }}
    }}
    lanes l in 0..13 {{ %b[n,l] = %x[n,0,l] < %w[l] }}
  }}
}})",
            type),
        type == "bf16" ? 0.02 : 1e-12);
    if (type != "f64" && type != "bf16")
      agrees(fmt::format(R"(nest @k(in %x: {0}[n,13], in %w: {0}[13], out %y: {0}[n,5,13]) {{
  parallel n in 0..N {{ lanes l in 0..13 {{
    %y[n,0,l] = %x[n,l] / %w[l]
    %y[n,1,l] = (%x[n,l] - 5) / (%w[l] - 4)
    %y[n,2,l] = abs(%x[n,l] - 4) + min(%x[n,l], %w[l]) - max(%x[n,l], -%w[l])
    %y[n,3,l] = cast({0}, cast(f32, %x[n,l]) * 1.5)
    %y[n,4,l] = %x[n,3] / %w[l]
  }} }}
}})",
                         type));
    else
      agrees(fmt::format(R"(nest @k(in %x: {0}[n,5], out %y: {0}[n,6,5]) {{
  parallel n in 0..N {{ lanes l in 0..5 {{
    %y[n,0,l] = exp(%x[n,l])   %y[n,1,l] = log(abs(%x[n,l]))  %y[n,2,l] = tanh(%x[n,l])
    %y[n,3,l] = erf(%x[n,l])   %y[n,4,l] = pow(abs(%x[n,l]), 1.7)  %y[n,5,l] = floor(%x[n,l])
  }} }}
}})",
                         type),
             type == "bf16" ? 0.02 : 1e-13);
  }
  agrees(R"(nest @k(in %x: bool[n,9], in %i: i64[n], out %y: bool[n,9], out %z: f32[n,9]) {
  parallel n in 0..N { lanes l in 0..9 {
    %y[n,l] = not %x[n,l] or l == 4
    %z[n,l] = select(l == %i[n], cast(f32, %x[n,l]), -1)
  } }
})");
}

TEST_CASE("locals, branches, tails, steps, several parts")
{
  agrees(R"(nest @k(in %x: f32[n,10,12], out %y: f32[n,10,12], out %s: f32[n], out %t: f32[]) {
  local %a: f32[12,4] as {1+0+1, 0+1+1} in thread 64
  local %b: f32[12] in thread 512
  registers %acc: f32[2,8]
  parallel n in 0..N, h0 in 0..10 step 4 {
    zero_border %a[]
    for h in h0..min(h0 + 4, 10) {
      for w in 0..12 { %a[w,h - h0] = %x[n,h,w] * 2 }
    }
    for h in h0..min(h0 + 4, 10) { for w in 0..12 { %b[w] = %a[w,h - h0] + 1 }
      if h - 3 >= 0 { for w in 0..12 { %y[n,h,w] = %b[w] } } else { lanes w in 0..12 { %y[n,h,w] = -%b[w] } } }
  }
  %t[] = 4
  for i in 0..N { %t[] += 0.5 }
  parallel n in 0..N {
    unroll a in 0..2 { lanes l in 0..8 { %acc[a,l] = 0 } }
    for h in 0..10 step 3 {
      if 5 - h >= 0 { unroll a in 0..2 { lanes l in 0..6 { %acc[a,l] += %x[n,h,6*a + l] } } }
      else { unroll a in 0..2 { lanes l in 0..3 { %acc[a,l] += %x[n,h,3*a + l] } } }
    }
    lanes l in 0..6 { %s[n] = lane_sum(%acc[0,l] + %acc[1,l]) + %acc[1,2] }
    lanes l in 0..8 { if l - 3 >= 0 { %acc[0,l] += 1  %y[n,0,l + 2] = %x[n,1,l] } else { %acc[0,l] = %acc[1,l] * 2 } }
    lanes l in 0..8 { %s[n] += lane_sum(%acc[0,l] * cast(f32, l + 1)) }
    lanes l in 0..1 { %s[n] += lane_sum(%x[n,1,l]) }
  }
})",
         1e-5, 3);
}

TEST_CASE("borders and pad lanes become zero")
{
  for (std::string layout :
       {"{0, 1/4, 2+1+2, 3+2+1, 1%4}", "{0, 2+1+1, 3+0+3, 1/8, 1%8}", "{0, 1/4, 2, 3, 1%4}", "{0, 1, 2+2+0, 3+1+1}"})
    for (bool by_block : {false, true}) {
      CAPTURE(layout);
      // Some layouts have their channel block first, the others are swept whole.
      bool block_first = layout[4] == '1' && by_block;
      Nest nest = parse(fmt::format(
          R"(nest @k(in %x: f32[n,10,5,6], out %y: f32[n,10,5,6] as {}) {{
  parallel n in 0..N {{
    {}
    for c in 0..10, h in 0..5, w in 0..6 {{ %y[n,c,h,w] = %x[n,c,h,w] }}
  }}
}})",
          layout,
          block_first ? (layout[5] == '/' ? "for c in 0..10 step 4 { zero_border %y[n,c] }"
                                          : "for c in 0..10 { zero_border %y[n,c] }")
                      : "zero_border %y[n]"));
      for (const Target& target : targets()) {
        std::vector<Tensor> arguments = random_arguments(nest, 3, 1);
        RunResult result = run_compiled(nest, target, arguments, 3, true, 2);
        CHECK(result.borders_are_zero[1]);
        CHECK(result.tensors[1].bytes == arguments[0].bytes);
      }
    }
  // Without it they are not: the fixture would see it.
  Nest nest = parse(R"(nest @k(in %x: f32[4], out %y: f32[4] as {0+1+1}) { lanes l in 0..4 { %y[l] = %x[l] } })");
  CHECK_FALSE(run_compiled(nest, host_target(), random_arguments(nest, 1, 1), 1, true, 1).borders_are_zero[1]);
}

TEST_CASE("28 accumulators stay in registers, in whatever order the loops are unrolled")
{
  for (std::string rolled : {"i in 0..3, j in 0..3", "i in 0..3"})
    for (std::string order : {"a in 0..14, b in 0..2", "b in 0..2, a in 0..14"}) {
      bool window = rolled.size() < 15; // its columns are unrolled, and share what they read
      std::string steps = window ? "j in 0..3, k in 0..4" : "k in 0..16";
      CAPTURE(rolled);
      CAPTURE(order);
      std::string text = fmt::format(
          R"(nest @conv(in %x: f32[n,64,56,56] as {{0, 1/16, 2+1+1, 3+1+1, 1%16}}, in @w: f32[64,64,3,3] as {{0/16, 1/16, 2, 3, 1%16, 0%16}}, out %y: f32[n,64,56,56] as {{0, 1/16, 2, 3, 1%16}}) {{
  registers %acc: f32[2,14,16]
  parallel n in 0..N, o in 0..4 step 2, h in 0..56 {{
    for w in 0..56 step 14 {{
      unroll b in 0..2, a in 0..14 {{ lanes l in 0..16 {{ %acc[b,a,l] = 0 }} }}
      for c in 0..64 step {}, {} {{
        unroll {}, {} {{ lanes l in 0..16 {{
          %acc[b,a,l] += %x[n,c + k,h + i - 1,w + a + j - 1] * @w[16*o + 16*b + l,c + k,i,j] }} }}
      }}
      unroll b in 0..2, a in 0..14 {{ lanes l in 0..16 {{
        %y[n,16*o + 16*b + l,h,w + a] = select(%acc[b,a,l] < 0, 0, %acc[b,a,l]) }} }}
    }}
  }}
}})",
          window ? 4 : 16, rolled, steps, order);
      std::string code = compile_nest(parse(text), make_target("skylake-avx512"), NestForm::assembly).bytes;
      auto count = [&](std::string_view what) {
        size_t found = 0;
        for (size_t at = code.find(what); at != std::string::npos; at = code.find(what, at + 1))
          ++found;
        return found;
      };
      CHECK(count("vfmadd") == (window ? 12 : 16) * 28);
      CHECK(count("vmaxps") == 28); // ReLU is one instruction
      // Addresses are folded, and no vector goes to the stack.
      for (size_t at = 0; (at = code.find("(%rsp)", at)) != std::string::npos; ++at) {
        size_t line = code.rfind('\n', at) + 1;
        std::string_view instruction(code.data() + line, at - line);
        CHECK_MESSAGE(instruction.find("zmm") == std::string_view::npos, instruction);
      }
    }
}

TEST_CASE("a window that is written out reads each element of its overlap once, and every sum keeps its order")
{
  for (const auto& [stride, loads] : {std::pair{1, 4 * 9}, {2, 5 * 15}}) {
    const std::string text = fmt::format(
        R"(nest @window(in %x: f32[n,32,33,33] as {{0, 1/16, 2, 3, 1%16}}, in @w: f32[32,3,3] as {{0/16, 1, 2, 0%16}}, out %y: f32[n,32,14,14] as {{0, 1/16, 2, 3, 1%16}}) {{
  registers %acc: f32[2,7,16]
  parallel n in 0..N, g in 0..32 step 16, h in 0..14 step 2 {{
    for w in 0..14 step 7 {{
      unroll a in 0..2, b in 0..7 {{ lanes l in 0..16 {{ %acc[a,b,l] = 0 }} }}
      unroll i in 0..3, j in 0..3, a in 0..2, b in 0..7 {{ lanes l in 0..16 {{
        %acc[a,b,l] += %x[n,g + l,{0}*h + {0}*a + i,{0}*w + {0}*b + j] * @w[g + l,i,j] }} }}
      unroll a in 0..2, b in 0..7 {{ lanes l in 0..16 {{ %y[n,g + l,h + a,w + b] = %acc[a,b,l] }} }}
    }}
  }}
}})",
        stride);
    agrees(text, 1e-5);
    const std::string code = compile_nest(parse(text), make_target("skylake-avx512"), NestForm::assembly).bytes;
    int read = 0;
    std::istringstream lines(code);
    for (std::string line; std::getline(lines, line);)
      read += line.find("zmm") != line.npos && line.find("(%r") != line.npos && line.find("zmm") > line.find("(%r");
    CAPTURE(code);
    CHECK(read == loads + 9);
  }
}

TEST_CASE("unrolled sums side by side: a row in two vectors, one of them a tail")
{
  agrees(
      R"(nest @k(in %x: f32[n,4,9,30] as {0, 1, 2+1+1, 3+1+1}, in @w: f32[6,4,3,3], out %y: f32[n,6,9,28], out %t: f32[n,6]) {
  registers %acc: f32[2,3,2,16]
  registers %sum: f32[2]
  parallel n in 0..N, o in 0..6 step 2 {
    unroll b in 0..2 { %sum[b] = 0 }
    for h in 0..9 step 3 {
      unroll b in 0..2, a in 0..3 { lanes l in 0..16 { %acc[b,a,0,l] = 1 } }
      unroll b in 0..2, a in 0..3 { lanes l in 0..12 { %acc[b,a,1,l] = 2 } }
      for c in 0..4, i in 0..3 {
        unroll j in 0..3, b in 0..2, a in 0..3 { lanes l in 0..16 { %acc[b,a,0,l] += %x[n,c,h + a + i - 1,l + j - 1] * @w[o + b,c,i,j] } }
        unroll j in 0..3, b in 0..2, a in 0..3 { lanes l in 0..12 { %acc[b,a,1,l] += %x[n,c,h + a + i - 1,l + j + 15] * @w[o + b,c,i,j] } }
        unroll j in 0..3, b in 0..2 { %sum[b] += %x[n,c,h,j] * %acc[b,1,0,2] }
      }
      unroll b in 0..2, a in 0..3 { lanes l in 0..16 { %y[n,o + b,h + a,l] = %acc[b,a,0,l] } }
      unroll b in 0..2, a in 0..3 { lanes l in 0..12 { %y[n,o + b,h + a,l + 16] = %acc[b,a,1,l] } }
    }
    unroll b in 0..2 { %t[n,o + b] = %sum[b] / 1000 }
  }
})",
      1e-5);
}

TEST_CASE("what a nest must not do is refused")
{
  auto refusal = [](const std::string& text) -> std::string {
    try {
      compile_nest(parse_nest(std::make_shared<Source>(Source{"test.ir", text})), host_target());
    } catch (const InternalError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refusal("nest @k(out %y: f32[9]) { lanes l in 0..9 { %y[0] = cast(f32, l) } }").find("one element") !=
        std::string::npos);
  CHECK(refusal("nest @k(out %y: f32[9]) { unroll i in 0..9, j in 0..1000, k in 0..1000 { %y[i] = 1 } }")
            .find("too much is unrolled") != std::string::npos);
}

TEST_CASE("names of machines")
{
  CHECK(make_target("x86-64").vector_bytes == 16);
  CHECK(make_target("x86-64-v3").vector_bytes == 32);
  CHECK(make_target("x86-64-v3").fma);
  CHECK_FALSE(make_target("x86-64-v2").fma);
  CHECK(make_target("x86-64-v4").vector_registers == 32);
  CHECK(make_target("znver4").masks);
  CHECK(make_target("native").march == "native");
  const std::array<int64_t, 3> caches = host_caches();
  for (const int64_t bytes : caches)
    CHECK((bytes == 0 || (bytes >= 4 << 10 && bytes <= int64_t{4} << 30)));
  if (caches[0] > 0)
    CHECK(host_target().l1_bytes == caches[0]);
  CHECK(make_target("x86-64-v3").l1_bytes == Target().l1_bytes);
  for (std::string name : {"skylake-avx513", "", "i486", "armv8"})
    CHECK_THROWS_AS(make_target(name), Error);
  try {
    make_target("skylake-avx513");
  } catch (const Error& error) {
    CHECK(error.exit_code == 2);
    CHECK(std::string(error.what()).find("'skylake-avx512'") != std::string::npos);
  }
}
