// Nests: text in, text out; what the verifier refuses; what the interpreter does.
#include "ir/interpret.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace cnnc;

namespace {

Nest parse(const std::string& text)
{
  return parse_nest(std::make_shared<Source>(Source{"test.ir", text}));
}

// The message, at its place: "3:7: ...".
std::string error_of(const std::string& text)
{
  try {
    parse(text);
  } catch (const Error& error) {
    return std::to_string(error.where.line) + ":" + std::to_string(error.where.column) + ": " + error.what();
  }
  return "";
}

std::string refusal_of(const std::string& text)
{
  Nest nest = parse(text);
  try {
    verify(nest);
  } catch (const InternalError& error) {
    return error.what();
  }
  return "";
}

Tensor filled(DType dtype, std::vector<int64_t> dims, double (*value)(int64_t))
{
  Tensor tensor(dtype, std::move(dims));
  for (int64_t i = 0; i < tensor.size(); ++i)
    tensor.set(i, value(i));
  return tensor;
}

const std::string convolution =
    R"(nest @k0(in %x: f32[n,6,14,14], in @w: f32[16,6,5,5] as {0/16, 1, 2, 3, 0%16}, out %y: f32[n,16,10,10] as {0, 1/16, 2, 3, 1%16}) at "lenet5.yaml":4-6
  schedule "lanes = o:16, registers = w:10" {
  registers %acc: f32[10,16]
  parallel n in 0..N {
    for h in 0..10 {
      unroll w in 0..10 { lanes o in 0..16 { %acc[w,o] = 0 } }
      for c in 0..6, i in 0..5, j in 0..5 {
        unroll w in 0..10 { lanes o in 0..16 { %acc[w,o] += %x[n,c,h + i,w + j] * @w[o,c,i,j] } }
      }
      unroll w in 0..10 { lanes o in 0..16 { %y[n,o,h,w] = %acc[w,o] } }
    }
  }
}
)";

const std::string everything =
    R"(nest @all(in %x: f32[n,4,9] as {0, 1, 2+1+1}, in %k: i64[], inout @m: f32[4], out %y: f32[n,4,3], out %tap: u8[n,4,3], out %s: f32[n,4]) {
  local %t: f32[20] as {0+2+2} in thread 128
  registers %a: f32[16]
  parallel n in 0..N, c in 0..4 {
    zero_border %t[]
    for q in 0..20 { %t[q] = %x[n,c,q - 2]? }
    for h in 0..3, i in max(0, 1 - h)..min(3, 5 - h, N + 4) step 2 {
      %y[n, c, h] = -inf
      %tap[n, c, h] = 0
      %y[n, c, h], %tap max= %x[n,c,3*h + i] * 2 + -0.125 tap i
    }
    lanes l in 0..16 {
      if 8 - l >= 0 {
        %a[l] = exp(%x[n,c,l])
      } else {
        %a[l] = select(inside(l - 1,12) and not l == 3, 0, random(%k[], 4*n + l))
      }
    }
    lanes l in 0..16 { %s[n, c] = lane_sum(%a[l]) / cast(f32, N) }
    @m[c] += max(@m[c], 1e-07) - %x[n,c,-1]
  }
}
)";

} // namespace

TEST_CASE("a printed nest reads back to the same text")
{
  for (const std::string& text : {convolution, everything}) {
    Nest nest = parse(text);
    verify(nest);
    std::string printed = to_string(nest);
    Nest again = parse(printed);
    verify(again);
    CHECK(to_string(again) == printed);
    CHECK(again.buffers.size() == nest.buffers.size());
    CHECK(again.schedule == nest.schedule);
  }
  Nest nest = parse(convolution);
  CHECK(nest.location.source->name == "lenet5.yaml");
  CHECK(nest.location.line == 4);
  CHECK(nest.last_line == 6);
  CHECK(parse(everything).buffers[6].offset == 128);
}

TEST_CASE("the order in which indices are numbered does not show in the text")
{
  Nest nest =
      parse("nest @k(in %x: f32[9], out %y: f32[4]) {\n  for h in 0..4, i in 0..4 {\n    %y[h] = %x[h + i]\n  }\n}");
  Nest other = nest;
  std::swap(other.indices[0], other.indices[1]);
  auto swapped = [](const Affine& a) { return renumber(a, [](int i) { return 1 - i; }); };
  for_each_node(other.body, [&](Node& node) {
    if (auto* loop = std::get_if<Loop>(&node.is))
      loop->index = 1 - loop->index;
    if (auto* store = std::get_if<Store>(&node.is)) {
      store->at[0] = swapped(store->at[0]);
      store->value = map_affine(store->value, swapped);
    }
  });
  CHECK(to_string(other) == to_string(nest));
}

TEST_CASE("names of other characters stand in quotes")
{
  std::string text = "nest @\"a b\"(in %\"x-1\\x09\": f32[4], out @y.1: f32[4]) {\n  for h in 0..4 {\n    @y.1[h] = "
                     "%\"x-1\\x09\"[h]\n  }\n}\n";
  CHECK(parse(text).buffers[0].name == "%x-1\t");
  CHECK(to_string(parse(text)) == text);
}

TEST_CASE("names of indices may have points")
{
  std::string text = "nest @k(out %y: f32[16]) {\n  for w in 0..12 step 4, w.in in w..min(16, w + 4) {\n"
                     "    for w.in.0 in w.in..w.in + 1 {\n      %y[w.in.0] = 0\n    }\n  }\n}\n";
  CHECK(parse(text).indices[2].name == "w.in.0");
  CHECK(to_string(parse(to_string(parse(text)))) == to_string(parse(text)));
}

TEST_CASE("operands and results are asked for ahead, locals are not")
{
  std::string text = "nest @k(in %x: f32[64] as {0/16, 0%16} ahead 4096, out %y: f32[64] ahead 64) {\n  for h in 0..64 "
                     "{\n    %y[h] = %x[h]\n  "
                     "}\n}\n";
  Nest nest = parse(text);
  CHECK(nest.buffers[0].ahead.bytes == 4096);
  CHECK(to_string(nest) == text);
  verify(nest);
  nest.buffers[0].ahead.bytes = -64;
  CHECK_THROWS_AS(verify(nest), InternalError);
  nest.buffers[0].ahead.bytes = 0;
  nest.buffers[1].role = BufferRole::local;
  CHECK_THROWS_AS(verify(nest), InternalError);
  CHECK_THROWS_AS(parse("nest @k(out %y: f32[4]) {\n  local %t: f32[4] ahead 64\n  %y[0] = 0\n}"), Error);
  // In turns of a loop.
  text = "nest @k(in %x: f32[64] ahead 4096 turns h/4, out %y: f32[64]) {\n  for h in 0..64 {\n    %y[h] = %x[h]\n  "
         "}\n}\n";
  nest = parse(text);
  CHECK(nest.buffers[0].ahead == Ahead{4096, "h", 4});
  CHECK(to_string(nest) == text);
  verify(nest);
  nest.buffers[0].ahead.turns = 3;
  CHECK_THROWS_AS(verify(nest), InternalError);
  nest.buffers[0].ahead = {4096, "", 4};
  CHECK_THROWS_AS(verify(nest), InternalError);
  // Of large batches.
  for (const std::string ahead : {"ahead 64 from 4 images", "ahead 64 turns h/4 from 2 images"}) {
    text = "nest @k(in %x: f32[64] " + ahead + ", out %y: f32[64]) {\n  for h in 0..64 {\n    %y[h] = %x[h]\n  }\n}\n";
    nest = parse(text);
    CHECK(nest.buffers[0].ahead.images == (ahead.size() > 23 ? 2 : 4));
    CHECK(to_string(nest) == text);
    verify(nest);
  }
  nest.buffers[0].ahead.images = -1;
  CHECK_THROWS_AS(verify(nest), InternalError);
  nest.buffers[0].ahead = {0, "", 1, 4};
  CHECK_THROWS_AS(verify(nest), InternalError);
  CHECK_THROWS_AS(parse("nest @k(in %x: f32[4] ahead 64 from 0 images, out %y: f32[4]) { %y[0] = %x[0] }"), Error);
  CHECK_THROWS_AS(parse("nest @k(in %x: f32[4] ahead 64 from 4, out %y: f32[4]) { %y[0] = %x[0] }"), Error);
  CHECK_THROWS_AS(parse("nest @k(in %x: f32[4] ahead 64 turns h, out %y: f32[4]) { %y[0] = %x[0] }"), Error);
  CHECK_THROWS_AS(parse("nest @k(in %x: f32[4] ahead 64 turns h/1, out %y: f32[4]) { %y[0] = %x[0] }"), Error);
  CHECK_THROWS_AS(parse("nest @k(in %x: f32[4], out %y: f32[4] ahead 64 turns h/4) { %y[0] = %x[0] }"), Error);
  CHECK_THROWS_AS(parse("nest @k(in %x: f32[4] ahead 0, out %y: f32[4]) { %y[0] = %x[0] }"), Error);
}

TEST_CASE("one element names a cache line")
{
  std::string text = "nest @k(in %x: f32[n,64], out %y: f32[n,64]) {\n  for n in 0..N, h in 0..64 step 16 {\n"
                     "    prefetch %y[n,h + 15]\n    lanes l in 0..16 { %y[n,h + l] = %x[n,h + l] }\n  }\n}\n";
  CHECK(to_string(parse(text)) == text);
  verify(parse(text));
  auto refusal = [](const std::string& body) {
    return refusal_of("nest @k(in %x: f32[n,8], out %y: f32[n,8]) {\n  registers %a: f32[8]\n" + body + "\n}");
  };
  CHECK(refusal("prefetch %x[0,7] %y[0,0] = 0") == "");
  CHECK(refusal("prefetch %x[0,8] %y[0,0] = 0").find("reaches 8..8") != std::string::npos);
  CHECK(refusal("prefetch %x[0] %y[0,0] = 0").find("1 subscripts for 2") != std::string::npos);
  CHECK(refusal("prefetch %a[0] %y[0,0] = 0").find("no cache line") != std::string::npos);
  CHECK(refusal("lanes h in 0..8 { prefetch %x[0,h] %y[0,h] = 0 }").find("one element") != std::string::npos);
}

TEST_CASE("names are made unique")
{
  Nest nest = parse("nest @k(out %y: f32[4]) { for h in 0..4 { %y[h] = 1 } }");
  CHECK(nest.indices[static_cast<size_t>(nest.add_index("h"))].name == "h1");
  CHECK(nest.indices[static_cast<size_t>(nest.add_index("N"))].name == "N1");
  CHECK(nest.buffers[static_cast<size_t>(nest.add_buffer({.name = "%y", .type = {}, .layout = {}}))].name == "%y.1");
}

TEST_CASE("errors name their place")
{
  auto nest = [](const std::string& body) { return "nest @k(in %x: f32[4], out %y: f32[4]) {\n" + body + "\n}"; };
  CHECK(error_of("") == "1:1: 'nest' is wanted here, found the end of the text");
  CHECK(error_of("nest @k(%x: f32[4]) {}") == "1:9: 'in', 'out' or 'inout' is wanted here, found '%'");
  CHECK(error_of("nest @k(in %x: f33[4]) {}") == "1:16: an element type is wanted here, found 'f33'");
  CHECK(error_of("nest @k(in %x: f32[4], in %x: f32[4]) {}") == "1:27: there are two buffers called %x");
  CHECK(error_of("nest @k(in %x: f32[1099511627776,1099511627776]) {}").find("1:16: a tensor") == 0);
  CHECK(error_of("nest @k(in %x: f32[99999999999999999999]) {}").find("1:20: ") == 0);
  CHECK(error_of("nest @k(in %x: f32[4] as {1}) {}").find("1:26: ") == 0);
  CHECK(error_of(nest("for N in 0..4 { }")) == "2:5: N is the batch and cannot be a loop's index");
  CHECK(error_of(nest("for h in 0..4, h in 0..4 { }")) == "2:16: a loop around this one already uses the index h");
  CHECK(error_of(nest("for h in 0..4 { %y[h] = %z[h] }")).find("2:25: no buffer is called %z") == 0);
  CHECK(error_of(nest("%y[h] = 1")) == "2:4: no loop around this has the index h");
  CHECK(error_of(nest("for h in 0..4 { %y[h*h] = 1 }")) ==
        "2:20: this must be affine: a constant and multiples of loop indices");
  CHECK(error_of(nest("for h in 0..4 { %y[1099511627776*h*1099511627776] = 1 }")) ==
        "2:20: the subscript's numbers are too large");
  CHECK(error_of(nest("%y[0, 1] = 1")) == "2:1: %y has 1 dimensions and 2 subscripts");
  CHECK(error_of(nest("%y[0] = %x[]")) == "2:9: %x has 1 dimensions and 0 subscripts");
  CHECK(error_of(nest("%y[0] = expp(1)")) == "2:9: no function is called expp; did you mean exp?");
  CHECK(error_of(nest("%y[0] = max(1)")) == "2:9: max takes 2 arguments");
  CHECK(error_of(nest("%y[0] = %x[0] < 1")) == "2:9: %y holds f32, this is bool");
  CHECK(error_of(nest("for h in 0..4 { %y[h] = %x[h] + h }")).find("2:25: ") == 0);
  CHECK(error_of(nest("%y[0] = 1e999")) == "2:9: this number has no value in double precision");
  CHECK(error_of(nest("%y[0] 1")) == "2:7: '=', '+=', 'max=' or 'min=' is wanted here, found '1'");
  CHECK(error_of(nest("") + "x") == "3:2: the text goes on after the nest");
}

TEST_CASE("no text exhausts the stack")
{
  auto times = [](const std::string& part, int count) {
    std::string text;
    for (int i = 0; i < count; ++i)
      text += part;
    return text;
  };
  const std::string head = "nest @k(in %x: f32[4], out %y: f32[4]) {\n";
  CHECK(error_of(head + "%y[0] = " + times("(", 100000)).find("nested deeper") != std::string::npos);
  CHECK(error_of(head + "%y[0] = " + times("-", 100000)).find("nested deeper") != std::string::npos);
  CHECK(error_of(head + "%y[0] = " + times("not ", 100000)).find("nested deeper") != std::string::npos);
  CHECK(error_of(head + times("if 0 >= 0 {", 100000)).find("nested deeper") != std::string::npos);
  CHECK(error_of(head + "%y[0] = %x[0]" + times(" + %x[0]", 100000)).find("nests deeper") != std::string::npos);
  std::string loops = head + "for a0 in 0..1";
  for (int i = 1; i < 100000; ++i)
    loops += ", a" + std::to_string(i) + " in 0..1";
  CHECK(error_of(loops).find("nested deeper") != std::string::npos);
}

TEST_CASE("every prefix of a nest is an error and nothing worse")
{
  for (size_t length = 0; length + 2 < everything.size(); ++length)
    CHECK_MESSAGE(error_of(everything.substr(0, length)) != "", length);
}

TEST_CASE("the verifier says what is wrong")
{
  auto refusal = [](const std::string& body) {
    return refusal_of("nest @k(in %x: f32[n,8], out %y: f32[n,8], out %tap: i32[n,8]) {\n  registers %a: f32[2,8]\n" +
                      body + "\n}");
  };
  CHECK(refusal("for n in 0..N, h in 0..8 { %y[n,h] = %x[n,h] }") == "");
  CHECK(refusal("for n in 0..N, h in 0..9 { %y[n,h] = 0 }") ==
        "nest @k: subscript 1 of %y reaches 0..8, of 0..7: %y[n,h] = 0");
  CHECK(refusal("for n in 0..N, h in 0..8 { %y[n,h] = %x[n,h + 1] }").find("subscript 1 of %x reaches 1..8") !=
        std::string::npos);
  CHECK(refusal("for n in 0..N, h in 0..8 { %y[n,h] = %x[n,h + 1]? }") == "");
  CHECK(refusal("for n in 0..2*N, h in 0..8 { %y[n,h] = %x[0,h] }").find("subscript 0 of %y") != std::string::npos);
  // Not provable here, and left to the interpreter.
  CHECK(refusal("for n in 0..N, h in 0..8, i in 0..8 - h { %y[n,h] = %x[n,h + i] }") == "");
  CHECK(refusal("for n in 0..N, h in 0..9 { if 7 - h >= 0 { %y[n,h] = 0 } }") == "");
  CHECK(refusal("if N - 5 >= 0 { %y[4,0] = 0 }") == "");
  CHECK(refusal("for h in 8..8 { %y[0,h] = 0 }") == "");
  CHECK(refusal("for n in 0..N { parallel h in 0..8 { %y[n,h] = 0 } }").find("chains at the top") != std::string::npos);
  CHECK(refusal("parallel n in 0..N { %y[n,0] = 0 } parallel m in 0..N { %y[m,1] = 0 }") == "");
  CHECK(refusal("parallel n in 0..N { parallel h in 0..4 { %y[n,h] = 0 } %y[n,7] = 0 }").find("chains at the top") !=
        std::string::npos);
  CHECK(refusal("parallel n in 0..N { parallel h in n..8 { %y[n,h] = 0 } }").find("nothing but N") !=
        std::string::npos);
  CHECK(refusal("for n in 0..N { unroll h in 0..n { %y[n,h] = 0 } }").find("constants") != std::string::npos);
  CHECK(refusal("lanes h in 0..65 { %y[0,0] = 0 }").find("64 lanes") != std::string::npos);
  CHECK(refusal("lanes h in 0..4, g in 0..2 { %y[0,h + 4*g] = 0 }").find("lanes inside lanes") != std::string::npos);
  CHECK(refusal("lanes h in 0..8 { %y[0,0] = %x[0,h] }").find("own value") != std::string::npos);
  CHECK(refusal("lanes h in 0..8 { %y[0,0] = lane_max(%x[0,h]) }") == "");
  CHECK(refusal("lanes h in 0..8 { if h - 2 >= 0 { %y[0,h] = lane_max(%x[0,h]) } }").find("all of them") !=
        std::string::npos);
  CHECK(refusal("for h in 0..8 { %y[0,h] = lane_sum(%x[0,h]) }").find("needs lanes") != std::string::npos);
  CHECK(refusal("for h in 0..2 { %a[h,0] = 0 }").find("registers are numbered") != std::string::npos);
  CHECK(refusal("lanes h in 0..2 { %a[h,0] = 0 }").find("registers are numbered") != std::string::npos);
  CHECK(refusal("unroll u in 0..2 { lanes h in 0..8 { %a[u,h] = 0 } }") == "");
  CHECK(refusal("%x[0,0] = 0").find("into an input") != std::string::npos);
  CHECK(refusal("%y[0,0], %tap = 0 tap 1").find("only max= and min=") != std::string::npos);
  CHECK(refusal("%y[0,0], %y max= 0 tap 1").find("a tap is an integer") != std::string::npos);
  CHECK(refusal("for h in 0..1099511627776 { for g in 0..1099511627776 { %y[0,1099511627776*h + g] = 0 } }")
            .find("overflow") != std::string::npos);
}

TEST_CASE("a convolution in vectors")
{
  Nest nest = parse(convolution);
  Tensor x = filled(DType::f32, {2, 6, 14, 14}, [](int64_t i) { return std::sin(static_cast<double>(i)); });
  Tensor w = filled(DType::f32, {16, 6, 5, 5}, [](int64_t i) { return std::cos(static_cast<double>(i)); });
  Tensor y(DType::f32, {2, 16, 10, 10});
  interpret(nest, {&x, &w, &y}, 2);
  Tensor exact(DType::f64, {2, 16, 10, 10});
  interpret(nest, {&x, &w, &exact}, 2, true);
  double largest = 0;
  for (int64_t n = 0; n < 2; ++n)
    for (int64_t o = 0; o < 16; ++o)
      for (int64_t h = 0; h < 10; ++h)
        for (int64_t v = 0; v < 10; ++v) {
          double sum = 0;
          for (int64_t c = 0; c < 6; ++c)
            for (int64_t i = 0; i < 5; ++i)
              for (int64_t j = 0; j < 5; ++j)
                sum += x.get(((n * 6 + c) * 14 + h + i) * 14 + v + j) * w.get(((o * 6 + c) * 5 + i) * 5 + j);
          int64_t at = ((n * 16 + o) * 10 + h) * 10 + v;
          CHECK(exact.get(at) == doctest::Approx(sum).epsilon(1e-12));
          CHECK(y.get(at) == doctest::Approx(sum).epsilon(1e-4));
          largest = std::max(largest, std::abs(y.get(at) - exact.get(at)));
        }
  CHECK(largest > 0); // f32 is rounded
}

TEST_CASE("taps, masks, sums over lanes, borders, checked reads")
{
  Nest nest = parse(everything);
  Tensor x = filled(DType::f32, {1, 4, 9}, [](int64_t i) { return static_cast<double>((i * 7) % 9); });
  Tensor k = filled(DType::i64, {}, [](int64_t) { return 12345.0; });
  Tensor m = filled(DType::f32, {4}, [](int64_t i) { return static_cast<double>(i) - 1; });
  Tensor y(DType::f32, {1, 4, 3}), tap(DType::u8, {1, 4, 3}), s(DType::f32, {1, 4});
  interpret(nest, {&x, &k, &m, &y, &tap, &s}, 1);
  for (int64_t c = 0; c < 4; ++c) {
    for (int64_t h = 0; h < 3; ++h) {
      int64_t last = h == 0 ? 1 : 2; // begins at max(0, 1 - h), steps by 2: the last term is the one that stays
      CHECK(y.get(c * 3 + h) == x.get(c * 9 + 3 * h + last) * 2 - 0.125);
      CHECK(tap.get(c * 3 + h) == static_cast<double>(last));
    }
    double sum = 0;
    for (int64_t l = 0; l <= 8; ++l)
      sum += std::exp(x.get(c * 9 + l));
    CHECK(s.get(c) >= doctest::Approx(sum));
    CHECK(s.get(c) <= sum + 3 + 1e-3); // lanes 13, 14, 15 are random
    CHECK(s.get(c) > sum + 0.01);
    double old = static_cast<double>(c) - 1;
    CHECK(m.get(c) == doctest::Approx(old + std::max(old, 1e-7)));
  }
}

TEST_CASE("the interpreter checks every place")
{
  auto run = [](const std::string& body) {
    Nest nest =
        parse("nest @k(in %x: f32[3], out %y: f32[6] as {0/4, 0%4}) {\n  registers %a: f32[8]\n" + body + "\n}");
    Tensor x = filled(DType::f32, {3}, [](int64_t i) { return static_cast<double>(i + 1); });
    Tensor y(DType::f32, {6});
    try {
      interpret(nest, {&x, &y}, 1);
    } catch (const InternalError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(run("for h in 0..3, i in 0..1 + h { %y[h] = %x[i + h] }").find("a read of %x falls outside") !=
        std::string::npos);
  CHECK(run("for h in 0..3, i in 0..1 + h { %y[h] = %x[i + h]? }") == "");
  CHECK(run("for h in 0..5, i in h..1 + h { %y[2*i] = 0 }").find("a store to %y falls outside") != std::string::npos);
  CHECK(run("lanes l in 0..8 { %y[l] = %x[l]? }") == "");
  CHECK(run("lanes l in 0..8 { %y[l] = 1 }").find("pad lane of %y") != std::string::npos);
  CHECK(run("lanes l in 0..8 { %y[l] = %a[l] }").find("%a is read before") != std::string::npos);
  CHECK(run("lanes l in 0..8 { %a[l] += 1 }").find("%a is updated before") != std::string::npos);
}

TEST_CASE("a vector is computed before it is stored")
{
  Nest nest = parse("nest @k(inout %x: f32[9]) { lanes l in 0..8 { %x[l + 1] = %x[l] } }");
  Tensor x = filled(DType::f32, {9}, [](int64_t i) { return static_cast<double>(i); });
  interpret(nest, {&x}, 1);
  for (int64_t i = 1; i < 9; ++i)
    CHECK(x.get(i) == static_cast<double>(i - 1));
}
