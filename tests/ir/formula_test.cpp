#include "ir/formula.h"

#include <doctest/doctest.h>

#include <fmt/format.h>

using namespace cnnc;

namespace {

TensorType f32(Shape shape)
{
  return {DType::f32, std::move(shape)};
}

const Dim n{1, true};

struct Operands {
  std::vector<BoundInput> inputs;
  std::vector<OperandSpec> outputs;
  Symbols symbols;

  Operands& in(std::string_view spec, TensorType type)
  {
    inputs.push_back({parse_operand_spec(spec), std::move(type)});
    return *this;
  }
  Operands& absent(std::string_view spec)
  {
    inputs.push_back({parse_operand_spec(spec), {}});
    return *this;
  }
  Operands& out(std::string_view spec)
  {
    outputs.push_back(parse_operand_spec(spec));
    return *this;
  }
  Operands& with(const char* name, Symbol value)
  {
    symbols[name] = value;
    return *this;
  }
  Formula bind(std::string_view text, const Location& where = {}) const
  {
    Formula f = bind_formula(text, inputs, outputs, symbols, where);
    verify(f);
    check_round_trip(f);
    return f;
  }
  std::string error(std::string_view text) const
  {
    try {
      bind_formula(text, inputs, outputs, symbols, {});
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }

  static void check_round_trip(const Formula& f)
  {
    std::vector<BoundInput> again;
    std::vector<OperandSpec> specs = operand_specs(f, Role::input);
    for (size_t k = 0; k < specs.size(); ++k)
      again.push_back({parse_operand_spec(to_string(specs[k])), f.tensors[k].type});
    std::vector<OperandSpec> out;
    for (const OperandSpec& spec : operand_specs(f, Role::output))
      out.push_back(parse_operand_spec(to_string(spec)));
    Formula g = bind_formula(to_string(f), again, out, {}, {});
    INFO(to_string(f));
    CHECK(to_string(g) == to_string(f));
    REQUIRE(g.tensors.size() == f.tensors.size());
    for (size_t t = 0; t < f.tensors.size(); ++t) {
      CHECK(g.tensors[t].name == f.tensors[t].name);
      CHECK(g.tensors[t].role == f.tensors[t].role);
      CHECK(g.tensors[t].type == f.tensors[t].type);
    }
    REQUIRE(g.statements.size() == f.statements.size());
    for (size_t k = 0; k < f.statements.size(); ++k) {
      const Statement &a = f.statements[k], &b = g.statements[k];
      CHECK(a.target == b.target);
      CHECK(a.tap == b.tap);
      CHECK(a.at == b.at);
      CHECK(a.update == b.update);
      CHECK(equal(*a.value, *b.value));
      REQUIRE(a.indices.size() == b.indices.size());
      for (size_t i = 0; i < a.indices.size(); ++i) {
        CHECK(a.indices[i].name == b.indices[i].name);
        CHECK(a.indices[i].extent == b.indices[i].extent);
      }
    }
  }
};

std::string shape_of(const Formula& f, std::string_view name)
{
  return to_string(f.tensors.at(static_cast<size_t>(f.find(name))).type);
}

Operands conv2d()
{
  Operands o;
  o.in("x[N,C,H,W]", f32({n, {3}, {28}, {28}})).in("weight[O,I,KH,KW]", f32({{6}, {3}, {5}, {5}}));
  for (const char* name : {"stride_h", "stride_w"})
    o.with(name, int64_t{1});
  for (const char* name : {"pad_top", "pad_left", "pad_bottom", "pad_right"})
    o.with(name, int64_t{2});
  return o.out("y");
}

constexpr const char* conv2d_text =
    "y[n,o,h,w] = bias[o]\n"
    "y[n,o,h,w] += x[n, c, h*stride_h + i - pad_top, w*stride_w + j - pad_left] * weight[o,c,i,j]\n"
    "    where h < (H + pad_top + pad_bottom - KH)/stride_h + 1, w < (W + pad_left + pad_right - KW)/stride_w + 1";

} // namespace

TEST_CASE("a convolution binds, with ranges from inputs, where and other statements")
{
  Formula f = conv2d().in("bias[O]?", f32({{6}})).bind(conv2d_text);
  CHECK(shape_of(f, "y") == "f32[n,6,28,28]");
  CHECK(to_string(f) == "y[n,o,h,w] = bias[o] where n < N, o < 6, h < 28, w < 28\n"
                        "y[n,o,h,w] += x[n,c,h + i - 2,w + j - 2] * weight[o,c,i,j] "
                        "where n < N, o < 6, h < 28, w < 28, c < 3, i < 5, j < 5");
  CHECK(f.input_numbers == std::vector<int>{0, 1, 2});

  f = conv2d().absent("bias[O]?").bind(conv2d_text);
  CHECK(f.statements.size() == 1);
  CHECK(shape_of(f, "y") == "f32[n,6,28,28]");
}

TEST_CASE("`...` is every dimension, and broadcasts")
{
  Formula f = Operands().in("x[...]", f32({n, {6}, {4}, {5}})).out("y").bind("y[...] = select(x[...] < 0, 0, x[...])");
  CHECK(to_string(f) == "y[n,c,h,w] = select(x[n,c,h,w] < 0, 0, x[n,c,h,w]) where n < N, c < 6, h < 4, w < 5");
  f = Operands().in("a", f32({n, {6}, {4}})).in("b", f32({{6}, {1}})).out("y").bind("y[...] = a[...] + b[...]");
  CHECK(to_string(f) == "y[n,c,h] = a[n,c,h] + b[c,0] where n < N, c < 6, h < 4");
  f = Operands().in("a", f32({{2}, {3}})).out("y").bind("y[n,...] = a[n,...]");
  CHECK(to_string(f) == "y[n,c] = a[n,c] where n < 2, c < 3");
  f = Operands().in("a", f32({{2}, {3}, {4}})).out("y").bind("y[] += a[...]");
  CHECK(to_string(f) == "y[] += a[d0,d1,d2] where d0 < 2, d1 < 3, d2 < 4");
  f = Operands().in("a", f32({{2}, {3}})).out("y").bind("y[...] = 1; y[...] += a[...]");
  CHECK(shape_of(f, "y") == "f32[2,3]");
  CHECK(Operands()
            .in("a", f32({{2}}))
            .in("b", f32({{3}}))
            .out("y")
            .error("y[...] = a[...] + b[...]")
            .find("[3] of 'b' does not broadcast to [2]") == 0);
}

TEST_CASE("an index that takes one value is none")
{
  Formula f =
      Operands().in("x[N,C]", f32({n, {1}})).in("w[O,C]", f32({{4}, {1}})).out("y").bind("y[n,o] += x[n,c]*w[o,c]");
  CHECK(to_string(f) == "y[n,o] += x[n,0] * w[o,0] where n < N, o < 4");
}

TEST_CASE("numbers take the type of what they meet")
{
  Operands o;
  o.in("x[N,C]", f32({n, {8}}))
      .in("label[N]:i32", {DType::i32, {n}})
      .out("y")
      .with("alpha", 0.25)
      .with("H", int64_t{3});
  auto value = [&](std::string text) {
    std::string line = to_string(o.bind("y[n,c] = " + text + " where n < N, c < 8"));
    return line.substr(9, line.find(" where") - 9);
  };
  CHECK(value("x[n,c]*alpha + H/2") == "x[n,c] * 0.25 + 1.5");
  CHECK(value("select(c == label[n], 1, 0) - x[n,c]") == "select(c == cast(i64, label[n]), 1, 0) - x[n,c]");
  CHECK(value("x[n,c]/N") == "x[n,c] / cast(f32, N)");
  CHECK(value("x[n,c] * (2*c + 1)") == "x[n,c] * cast(f32, 2*c + 1)");
  CHECK(value("x[n,c] * (c < 3)") == "x[n,c] * cast(f32, c < 3)");
  CHECK(value("label[n] + 1") == "cast(f32, label[n] + 1)");
  CHECK(value("select(x[n,c] != 0 and not (c >= 2 or n > 1), x[n,c], -x[n,c])") ==
        "select(x[n,c] != 0 and not (2 <= c or 1 < n), x[n,c], -x[n,c])");
  CHECK(value("exp(select(c < 2, 0, 1))") == "exp(select(c < 2, cast(f32, 0), cast(f32, 1)))");
  CHECK(value("(x[n,c] - 1) - (x[n,c] - 2.5) / -(x[n,c] * 3)") == "x[n,c] - 1 - (x[n,c] - 2.5) / -(x[n,c] * 3)");
  CHECK(value("max(x[n,c], -inf) + pow(x[n,c], 2)") == "max(x[n,c], -inf) + pow(x[n,c], 2)");
  CHECK(value("random(label[n], n*8 + c)") == "random(cast(i64, label[n]), 8*n + c)");
  CHECK(value("cast(f32, cast(i32, x[n,c] * 3))") == "cast(f32, cast(i32, x[n,c] * 3))");
  CHECK(value("x[n,c] * 0.1") == "x[n,c] * 0.1");
  CHECK(value("2*3 + 4*(1 - 5)") == "-10");
  CHECK(o.error("z[n] = label[n] + 1; y[n,c] = select(x[n,c], 0, 1)").find("a condition was expected") == 0);
  CHECK(Operands().in("l", {DType::i32, {n}}).out("y").error("y[n] = l[n] + 0.5").find("this is f32, where i32") == 0);
}

TEST_CASE("inside names only the subscripts that can fall outside")
{
  Operands o;
  o.in("x[N,C,H,W]", f32({n, {2}, {6}, {6}})).out("y");
  Formula f = o.bind("s[n,c,h,w] += x[n,c,h + i - 1,2*w + j] where h < 6, w < 3, i < 3, j < 2\n"
                     "d[h,w] += inside(x[n,c,h + i - 1,2*w + j]) where n < 1, c < 1, h < 6, w < 3, i < 3, j < 2\n"
                     "y[n,c,h,w] = s[n,c,h,w]/d[h,w]");
  CHECK(to_string(f) == "s: f32[N,2,6,3]\nd: f32[6,3]\n"
                        "s[n,c,h,w] += x[n,c,h + i - 1,2*w + j] where n < N, c < 2, h < 6, w < 3, i < 3, j < 2\n"
                        "d[h,w] += cast(f32, inside(h + i - 1,6)) where h < 6, w < 3, i < 3, j < 2\n"
                        "y[n,c,h,w] = s[n,c,h,w] / d[h,w] where n < N, c < 2, h < 6, w < 3");
}

TEST_CASE("a tap numbers the winning term")
{
  Operands o;
  o.in("x[N,H]", f32({n, {9}})).out("y").out("tap").with("k", int64_t{3});
  Formula f = o.bind("y[n,h], tap max= x[n,3*h + i] where h < 3, i < k");
  CHECK(shape_of(f, "tap") == "u8[n,3]");
  CHECK(f.statements[0].tap == 2);
  f = Operands().in("x[N,H]", f32({n, {900}})).out("y").out("tap").bind("y[n], tap min= x[n,i]");
  CHECK(shape_of(f, "tap") == "i32[n]");
}

TEST_CASE("left sides: flattening, several images in one, and shapes that follow")
{
  Formula f = Operands().in("x[N,C,H]", f32({n, {3}, {4}})).out("y").bind("y[n, c*H + h] = x[n,c,h]");
  CHECK(shape_of(f, "y") == "f32[n,12]");
  f = Operands().in("x[N,K]", f32({n, {4}})).out("y").bind("y[4*n + k] = x[n,k]");
  CHECK(shape_of(f, "y") == "f32[4*n]");
  f = Operands().in("y[M]", f32({{4, true}})).out("x").bind("x[m] = y[m]");
  CHECK(to_string(f) == "x[m] = y[m] where m < 4*N");
  f = Operands()
          .in("y[N]", f32({n}))
          .in("w[KH]", f32({{5}}))
          .out("dx[N,7]")
          .bind("dx[n,2*q + r] += y[n] * w[(KH-1-2*q)*1 + 0] where q < 3, r < 2");
  CHECK(to_string(f) == "dx[n,2*q + r] += y[n] * w[-2*q + 4] where n < N, q < 3, r < 2");
}

TEST_CASE("the order of a `where` that names every index is the order of the reduction")
{
  Operands o;
  o.in("a[I,J]", f32({{2}, {3}})).out("y");
  CHECK(to_string(o.bind("y[] += a[i,j] where j < 3, i < 2")) == "y[] += a[i,j] where j < 3, i < 2");
  CHECK(to_string(o.bind("y[] += a[i,j] where j < 3")) == "y[] += a[i,j] where i < 2, j < 3");
}

TEST_CASE("what is wrong is said, with the nearest name")
{
  Operands o;
  o.in("x[N,C,H,W]", f32({n, {3}, {8}, {8}})).in("b[C]", f32({{4}})).out("y");
  CHECK(o.error("").find("C is 4, but 3 elsewhere") != std::string::npos);
  Operands p;
  p.in("x[N,C,H,W]", f32({n, {3}, {8}, {8}})).in("v[K]", f32({{4}})).out("y");
  auto starts = [&](const char* text, const char* message) {
    std::string found = p.error(text);
    CHECK_MESSAGE(found.find(message) == 0, text, " => ", found);
  };
  starts("y[n,c,h,w] = x[n,c,h,w] + hh", "unknown index or symbol 'hh'; did you mean 'h'?");
  starts("y[n,c,h,w] = x[n,c,hh,w] where h < 3", "index 'hh' does not occur on the left of '='; did you mean 'h'?");
  starts("y[n,c,h,w] = xx[n,c,h,w]", "unknown tensor 'xx'; did you mean 'x'?");
  starts("y[n,c,h] = x[n,c,h]", "'x' has 4 dimensions, found 3 subscripts");
  starts("y[n,c,h*w] = x[n,c,h,w]", "a product of two indices is not affine");
  starts("y[n,c,h/2,w] = x[n,c,h,w]", "an index divided by 2 is not affine");
  starts("y[n,c,h + w] = x[n,c,h,w]", "'=' may set one element of 'y' twice");
  starts("y[c] = sqr(v[c])", "unknown function 'sqr'; did you mean 'sqrt'?");
  starts("y[n,c] = v[c] where n < K - 5", "the range of 'n' is negative: -1");
  starts("y[c] = v[c] where c < KK", "unknown symbol 'KK'; did you mean 'K'?");
  starts("y[c] = v[c] * x[n,c,0,0]", "'c' runs over 4 elsewhere, but 'x' has 3 there");
  starts("v[c] = 1 where c < 2", "'v' is an input and cannot be written");
  starts("y[c] = y[c] + v[c]", "'y' reads itself");
  starts("y[c] = t[c] + v[c]; t[c] = v[c]", "unknown tensor 't'");
  starts("t[c] = v[c]", "nothing writes the output 'y'");
  starts("y[c], t += v[c]", "only max= and min= have a tap");
  starts("y[c] = v[c] +", "the statement ends where a term was expected");
  starts("y[c] = v[c]]", "']' closes nothing");
  starts("y[c] v[c]", "unexpected 'v'");
  starts("y[c] = 99999999999999999999", "'99999999999999999999' is not a number, or too large");
  starts("y[c*4611686018427387904*4] = v[c]", "the numbers here are too large");
  starts("y[c*4611686018427387904] = v[c]", "the numbers here are too large");
  starts("y[c] = v[c + 4611686018427387904] where c < 2", "this subscript reaches too far");
  starts("y[a,b,c] = 1 where a < 1000000, b < 1000000, c < 1000000",
         "'y': a tensor [1000000,1000000,1000000] has more");
  starts("y[c] = v[c] where N < 3", "N is the batch");
  starts("y[c] = v[c - N] where c < 2", "the batch cannot stand in a subscript");
}

TEST_CASE("hostile texts are refused before they cost anything")
{
  Operands o;
  o.in("v[K]", f32({{4}})).out("y");
  auto refused = [&](const std::string& text, const char* message) {
    std::string found = o.error(text);
    CHECK_MESSAGE(found.find(message) != std::string::npos, found.substr(0, 200));
  };
  refused(std::string(70000, ' '), "is too long");
  refused("y[k] = " + std::string(5000, '(') + "v[k]" + std::string(5000, ')'), "nested more than");
  refused("y[k] = " + std::string(5000, '-') + "v[k]", "too many signs");
  std::string sum = "y[k] = v[k]", not_ = "y[k] = select(";
  for (int i = 0; i < 2000; ++i)
    sum += "+v[k]";
  refused(sum, "levels");
  std::string many;
  for (int i = 0; i < 300; ++i)
    many += "y[k] = v[k];";
  refused(many, "more than 256 statements");
  std::string wide = "y[] += v[k] where k < 4";
  for (int i = 0; i < 20; ++i)
    wide += fmt::format(", i{} < 2", i);
  refused(wide, "more than 16 indices");
}

TEST_CASE("an error points into the source where the text stands there")
{
  auto source = std::make_shared<Source>(Source{"net.yaml", "ops:\n  f: {inputs: [x], formula: \"y[n] = x[m]\"}\n"});
  Operands o;
  o.in("x", f32({n})).out("y");
  try {
    o.bind("y[n] = x[m]", {source, 2, 29});
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(to_string(e.where) == "net.yaml:2:32");
    CHECK(render(e) == "net.yaml:2:32: error: the range of 'n' is not known; write `where n < ...`\n"
                       "    2 |   f: {inputs: [x], formula: \"y[n] = x[m]\"}\n"
                       "      |                                ^");
  }
  try {
    o.bind("y[n] = xx[m]", {source, 2, 3});
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(to_string(e.where) == "net.yaml:2:3");
    CHECK(std::string(e.what()).find("at column 8 of the formula's line 'y[n] = xx[m]'") != std::string::npos);
  }
}

TEST_CASE("expressions over symbols")
{
  Symbols s{{"H", int64_t{28}}, {"K", int64_t{5}}, {"alpha", 0.5}};
  auto integer = [&](const char* text) { return std::get<int64_t>(evaluate(text, s, {})); };
  CHECK(integer("(H + 2*2 - K)/1 + 1") == 28);
  CHECK(integer("-7/2") == -4);
  CHECK(integer("-7 % 3") == 2);
  CHECK(integer("H >= K") == 1);
  CHECK(integer("min(H, K) + max(H, K)") == 33);
  CHECK(integer("select(H < K, 1, 2)") == 2);
  CHECK(std::get<double>(evaluate("alpha * K", s, {})) == 2.5);
  CHECK_THROWS_AS(evaluate("H / (K - 5)", s, {}), Error);
  CHECK_THROWS_AS(evaluate("H H", s, {}), Error);
  CHECK_THROWS_AS(evaluate("9223372036854775807 + H", s, {}), Error);
}

TEST_CASE("operands as rows write them")
{
  for (const char* text :
       {"x[N,C,H,W]", "bias[O]?", "x[N,...]", "label[N]:i32", "loss[]", "a*", "x", "y[N,max(C, 1)]:f64"})
    CHECK(to_string(parse_operand_spec(text)) == text);
  OperandSpec spec = parse_operand_spec(" x[N, (H - K)/2 + 1 , ...] ? : bf16");
  CHECK(spec.dims == std::vector<std::string>{"N", "(H - K)/2 + 1"});
  CHECK(spec.any_rank);
  CHECK(spec.optional);
  CHECK(spec.dtype == DType::bf16);
  CHECK_FALSE(parse_operand_spec("loss[]").any_rank);
  for (const char* text : {"", "[N]", "x[N", "x[N,,C]", "x[...,N]", "x:f31", "x[N]!"})
    CHECK_THROWS_AS(parse_operand_spec(text), InternalError);
}
