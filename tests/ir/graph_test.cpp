// Graphs: made, printed, read back, verified, compacted.
#include "ir/graph.h"
#include "ir/program.h"

#include <doctest/doctest.h>

#include <random>

using namespace cnnc;

namespace {

std::shared_ptr<const Source> source(std::string text)
{
  return std::make_shared<const Source>(Source{"net.ir", std::move(text)});
}

const std::string lenet = R"(net @lenet(%image: f32[n,1,28,28] at "lenet.yaml":2:8) at "lenet.yaml":1:1 {
  workspace fixed 64 image 128 thread 192
  parameter @conv1.weight: f32[6,1,5,5] as {0, 1, 2, 3} in parameter 64 = he(25) at "lenet.yaml":4:5
  parameter @conv1.bias: f32[6] = zero rate 2 at "lenet.yaml":4:5
  parameter @fc.weight: f32[10,1176] = he(1176) rate 0.5
  state @step: i64[] = zero
  constant @mean: f32[3] = [0.5, -1, 1e-07]
  constant @labels: i64[2] = [9007199254740993, -1]
  constant @table: f32[100] = data "table"
  kernel k0 -> @7(%image, @conv1.weight, %pool1) schedule {lanes = "w:16", tile = [4, 2]} {
    %conv1 = conv2d %image, @conv1.weight, @conv1.bias {padding = [2, 2, 2, 2]} : f32[n,6,28,28] as {0, 1/16, 2+1+1, 3+1+1, 1%16} in image 8192 at "lenet.yaml":4:5
    %relu1 = relu %conv1 : f32[n,6,28,28] at "lenet.yaml":5:5
    %pool1, %pool1.tap = max_pool2d %relu1 {kernel = [2, 2]} : f32[n,6,14,14], u8[n,6,14,14] at "lenet.yaml":6:5
  }
  %flat = flatten %pool1 : f32[n,1176] named "flatten"
  %fc = dense %flat, @fc.weight, _ : f32[n,10]
  %"a b/c" = leaky_relu %fc {slope = 0.25} : f32[n,10]
  %out = formula %"a b/c" {inputs = ["x[...]"], outputs = ["y"], text = "t[...] = x[...]*2\ny[...] = t[...] + 1"} : f32[n,10]
  output %out, %"a b/c"
  update @conv1.bias = @conv1.bias
}
)";

std::string read_message(const std::string& text)
{
  try {
    parse_graph(source(text));
  } catch (const Error& error) {
    return to_string(error.where) + ": " + error.what();
  }
  return "(no error)";
}

// The text with one place changed.
std::string changed(const std::string& from, const std::string& to)
{
  std::string text = lenet;
  size_t at = text.find(from);
  REQUIRE(at != text.npos);
  return text.replace(at, from.size(), to);
}

bool has(const std::string& text, const std::string& part)
{
  return text.find(part) != text.npos;
}

int value_of(Graph& graph, const std::string& name)
{
  int number = graph.find(name);
  REQUIRE(number >= 0);
  return number;
}

Graph small()
{
  Graph graph;
  graph.name = "small";
  int x = graph.add_value({.name = "x", .kind = ValueKind::input, .type = {DType::f32, {{1, true}, {3}, {8}, {8}}}});
  graph.add_op(*find_op("relu"), "r", {x}, {}, {});
  graph.add_op(*find_op("max_pool2d"), "p", {graph.find("r")}, {{"kernel", int64_t{2}}}, {});
  graph.add_op(*find_op("tanh"), "dead", {graph.find("r")}, {}, {});
  graph.outputs = {graph.find("p")};
  return graph;
}

} // namespace

TEST_CASE("a graph's text reads back to the same text")
{
  Graph graph = parse_graph(source(lenet));
  verify(graph);
  CHECK(to_string(graph) == lenet);
  Graph again = parse_graph(source(to_string(graph)));
  CHECK(to_string(again) == lenet);

  const Value& conv = graph.values[static_cast<size_t>(value_of(graph, "conv1"))];
  CHECK(to_string(conv.location) == "lenet.yaml:4:5");
  CHECK(conv.region == Region::image);
  CHECK(conv.offset == 8192);
  const Value& bias = graph.values[static_cast<size_t>(value_of(graph, "conv1.bias"))];
  CHECK(bias.rate == 2);
  CHECK(bias.initial == "zero");
  const Value& labels = graph.values[static_cast<size_t>(value_of(graph, "labels"))];
  CHECK(labels.data->data<int64_t>()[0] == 9007199254740993);
  CHECK(graph.kernels.at(0).nest == 7);
  CHECK(graph.ops.at(3).name == "flatten");
}

TEST_CASE("comments and blanks do not matter")
{
  std::string text = "# a net\nnet @a(\n  %x: f32[n,2] # two\n) { # begin\n%y=relu %x:f32[n,2]\noutput %y\n}\n# end\n";
  CHECK(to_string(parse_graph(source(text))) == "net @a(%x: f32[n,2]) {\n  %y = relu %x : f32[n,2]\n  output %y\n}\n");
}

TEST_CASE("a part names its whole, which may stand behind it")
{
  const std::string text = "net @a(%x: f32[n,3,2,2]) {\n"
                           "  %a = relu %x : f32[n,3,2,2] as {0, 1|4, 2, 3} in %y at 0\n"
                           "  %b = slice %a {starts = [0], ends = [1], axes = [1]} : f32[n,1,2,2] as {0, 1|12, 2, 3} "
                           "in %y at 3\n"
                           "  %y = concat %a, %b : f32[n,4,2,2]\n"
                           "  %z = tanh %y : f32[n,4,2,2]\n"
                           "  output %z\n"
                           "}\n";
  auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    return changed.replace(changed.find(from), from.size(), to);
  };
  auto fails = [&](const std::string& changed) {
    try {
      parse_graph(source(changed));
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  Graph graph = parse_graph(source(text));
  verify(graph);
  CHECK(to_string(graph) == with("starts = [0], ends = [1], axes = [1]", "axes = [1], ends = [1], starts = [0]"));
  const Value& part = graph.values[static_cast<size_t>(value_of(graph, "b"))];
  CHECK(part.whole == value_of(graph, "y"));
  CHECK(elements_before(graph, part) == 12);
  compact(graph);
  CHECK(graph.values[static_cast<size_t>(value_of(graph, "b"))].whole == value_of(graph, "y"));

  CHECK(has(fails(with("%y at 3", "%y at 4")), "does not lie at 4"));
  CHECK(has(fails(with("1|12", "1|8")), "does not lie at 3 of it as {0, 1|12, 2, 3}"));
  CHECK(has(fails(with("in %y at 0", "in %b at 0")), "'b' is a part itself"));
  CHECK(has(fails(with("in %y at 0", "in %x at 0")), "results of ops"));
  CHECK(has(fails(with("in %y at 0", "in %u at 0")), "there is no value 'u'"));
  CHECK(has(fails(with("in %y at 0", "in %y")), "'at' wanted"));
  CHECK(has(fails(with("f32[n,3,2,2]) {", "f32[n,3,2,2] in %y at 0) {")), "results of ops"));
}

TEST_CASE("what a training run asks for is part of the text")
{
  std::string text =
      "net @a(%x: f32[n,2], %label: i32[n] below 2) {\n"
      "  parameter @w: f32[3,2] = he(2)\n"
      "  %y = dense %x, @w : f32[n,3]\n"
      "  %loss = cross_entropy %y, %label : f32[]\n"
      "  output %loss\n"
      "  train %loss {gradients = [\"w\", \"x\"], learning_rate = 0.1, momentum = 0.9, nesterov = false, "
      "optimizer = \"sgd\", rate_factor = 1.0, weight_decay = 0.0}\n"
      "}\n";
  Graph graph = parse_graph(source(text));
  verify(graph);
  CHECK(to_string(graph) == text);
  REQUIRE(graph.training);
  CHECK(graph.training->optimizer == find_op("sgd"));
  CHECK(graph.training->gradients == std::vector<std::string>{"w", "x"});
  CHECK(graph.values[1].limit == 2);
}

TEST_CASE("ranges of integers are part of the text, of a value or of each channel")
{
  const std::string before = "net @a(%x: f32[n,3,2,2]) {\n"
                             "  %y = relu %x : f32[n,3,2,2]\n"
                             "  output %y\n"
                             "  precision i8\n";
  const auto with = [&](const std::string& range) { return before + "  range " + range + "\n}\n"; };
  for (const char* range : {"%x = -1, 2.5", "%x = [-1, 2.5], [0, 0.0625], [0, 0]", "%y.later = [0, 1], [0, 2]",
                            "%x = -1, 2.5, 0.25", "%x = [-1, 2.5, -0.5], [0, 0.0625], [0, 0]", "%x = bf16"}) {
    const Graph graph = parse_graph(source(with(range)));
    CHECK_EQ(to_string(graph), with(range));
  }
  CHECK_EQ(parse_graph(source(with("%x = [-1, 2], [0, 3], [0, 4]"))).precision->ranges.at("x")[1].high, 3);
  CHECK_EQ(parse_graph(source(with("%x = [-1, 2], [0, 3, 1.5], [0, 4]"))).precision->ranges.at("x")[1].mean, 1.5);
  CHECK(parse_graph(source(with("%x = bf16"))).precision->wide.contains("x"));
  CHECK(has(read_message(with("%x = 0, 1\n  range %x = bf16")), "the range of 'x' stands twice"));
  CHECK(has(read_message(with("%x = bf16\n  range %x = 0, 1")), "the range of 'x' stands twice"));
  CHECK(has(read_message(with("%x = 0, 1, inf")), "the mean of 'x' is not finite"));
  CHECK(has(read_message(with("%x = [0, 1], [0, 2]")), "net.ir:5:"));
  CHECK(has(read_message(with("%x = [0, 1], [0, 2]")), "2 ranges are given for 'x', which has 3 channels"));
  CHECK(has(read_message(with("%x = [0, 1], [0, 2], [0, 3], [0, 4]")), "4 ranges are given"));
  CHECK(has(read_message(with("%x = [0, 1], [2, 1], [0, 3]")), "net.ir:5:23: the range of 'x' is empty"));
  CHECK(has(read_message(with("%x = [0, 1], [0, inf], [0, 3]")), "the range of 'x' is empty"));
  CHECK(has(read_message(with("%x = [0, nan], [0, 1], [0, 3]")), "the range of 'x' is empty"));
  CHECK(has(read_message(with("%x = [0, 1")), "']' wanted"));
  CHECK(has(read_message(with("%x = [0, 1],")), "'[' wanted"));
  CHECK(has(read_message(with("%x = [0]")), "',' wanted"));
  CHECK(has(read_message(with("%x = []")), "a number wanted"));
}

TEST_CASE("data is inline up to 64 elements, beyond that in a side file")
{
  Graph graph;
  graph.name = "data";
  auto filled = [](DType type, int64_t count) {
    Tensor tensor(type, {count});
    for (int64_t i = 0; i < count; ++i)
      tensor.set(i, static_cast<double>(i) / 3 - 1);
    return std::make_shared<const Tensor>(tensor);
  };
  graph.add_value(
      {.name = "c", .kind = ValueKind::constant, .type = {DType::f32, {{64}}}, .data = filled(DType::f32, 64)});
  graph.add_value(
      {.name = "d", .kind = ValueKind::constant, .type = {DType::f64, {{5}}}, .data = filled(DType::f64, 5)});
  graph.add_value({.name = "w",
                   .kind = ValueKind::parameter,
                   .type = {DType::f32, {{65}}},
                   .initial = "zero",
                   .data = filled(DType::f32, 65)});
  graph.add_value(
      {.name = "nothing", .kind = ValueKind::constant, .type = {DType::f32, {{0}}}, .data = filled(DType::f32, 0)});
  verify(graph);
  std::string text = to_string(graph);
  CHECK(has(text, "@w: f32[65] = zero = data \"w\""));
  std::vector<std::pair<std::string, const Tensor*>> elided = elided_data(graph);
  REQUIRE(elided.size() == 1);
  CHECK(elided[0].first == "w");
  CHECK(elided[0].second->size() == 65);

  Graph again = parse_graph(source(text));
  CHECK(to_string(again) == text);
  CHECK(again.values[0].data->bytes == graph.values[0].data->bytes);
  CHECK(again.values[1].data->bytes == graph.values[1].data->bytes);
  CHECK(again.values[2].data == nullptr);
  CHECK(again.values[2].data_name == "w");
}

TEST_CASE("numbers that are no numbers survive")
{
  std::string text = "net @a() {\n  constant @c: f32[4] = [inf, -inf, nan, 3.4028235e+38]\n}\n";
  CHECK(to_string(parse_graph(source(text))) == text);
}

TEST_CASE("errors in the text have a line and a column")
{
  CHECK(read_message("") == "net.ir:1:1: 'net' wanted, found the end");
  CHECK(has(read_message("net @a() {\n  %y = rellu %x : f32[n]\n}\n"),
            "net.ir:2:8: there is no op 'rellu'; did you mean "
            "'relu'?"));
  CHECK(has(read_message(changed("relu %conv1", "relu %conv2")),
            "net.ir:12:19: there is no value 'conv2' above; did you "
            "mean 'conv1'?"));
  CHECK(has(read_message(changed("relu %conv1", "relu @conv1")), "'conv1' is written with %"));
  CHECK(has(read_message(changed("%conv1 : f32[n,6,28,28]", "%conv1 : f32[n,6,28,27]")),
            "'relu1' is f32[n,6,28,28], not f32[n,6,28,27]"));
  CHECK(has(read_message(changed("f32[6,1,5,5]", "f32[6,2,5,5]")), "weight wants 2 input channels, the input has 1"));
  CHECK(has(read_message(changed("%relu1 = ", "%conv1 = ")), "'conv1' is declared twice"));
  CHECK(has(read_message(changed("f32[10,1176]", "f32[1099511627776,1176]")), "2^40"));
  CHECK(has(read_message(changed("f32[10,1176]", "f32[99999999999999999999,1176]")), "out of range"));
  CHECK(has(read_message(changed("f32[10,1176]", "f33[10,1176]")), "there is no element type 'f33'"));
  CHECK(has(read_message(changed("f32[10,1176]", "f32[10,-1176]")), "is not between"));
  CHECK(has(read_message(changed("{0, 1, 2, 3}", "{0, 1, 2}")), "place of their own"));
  CHECK(has(read_message(changed("in parameter 64", "in cellar 64")), "no region 'cellar'"));
  CHECK(has(read_message(changed("kernel = [2, 2]", "kernel = [2, 2], kernel = 2")), "given twice"));
  CHECK(has(read_message(changed("kernel = [2, 2]", "kernel = [2, 0]")), "kernel is at least 1, found 0"));
  CHECK(has(read_message(changed("kernel = [2, 2]", "kernel = [2, \"2\"]")), "texts or of numbers"));
  CHECK(has(read_message(changed("[0.5, -1, 1e-07]", "[0.5, -1]")), "',' wanted"));
  CHECK(has(read_message(changed("[0.5, -1, 1e-07]", "[0.5, -1, 2, 3]")), "f32[3] has 3 elements"));
  CHECK(has(read_message(changed("= data \"table\"", "")), "a constant wants its data"));
  CHECK(has(read_message(changed(", u8[n,6,14,14]", "")), "2 results and 1 types"));
  CHECK(has(read_message(changed("update @conv1.bias = @conv1.bias", "update %out = %out")),
            "no parameter, no state and no prepared value"));
  CHECK(has(read_message(changed("update @conv1.bias = @conv1.bias", "update @conv1.bias = %out")),
            "'out' is f32[n,10]"));
  CHECK(has(read_message(changed("\"flatten\"", "\"flatten")), "no closing quote"));
  CHECK(has(read_message(changed("\"lenet.yaml\":5:5", "\"lenet.yaml\":0:5")), "is not between"));
  CHECK(has(read_message(lenet + "x"), "the end wanted, found 'x'"));
  CHECK(has(read_message("net @a() {\n  kernel k {\n  }\n}"), "a kernel without an op"));
  CHECK(has(read_message("net @a(%x: f32[3,n]) {}"), "the batch is the first dimension"));
  CHECK(has(read_message("net @a(%x: f32[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]) {}"), "more than 16 dimensions"));
}

TEST_CASE("prepared values are made by ops of the function that updates them")
{
  const std::string prepare = "net @a.prepare() {\n"
                              "  parameter @w: f32[3] = zero\n"
                              "  prepared @u: f32[3]\n"
                              "  %u.new = exp @w : f32[3]\n"
                              "  update @u = %u.new\n"
                              "}\n";
  Graph graph = parse_graph(source(prepare));
  CHECK(to_string(graph) == prepare);
  CHECK(graph.values[static_cast<size_t>(value_of(graph, "u"))].kind == ValueKind::prepared);
  verify(graph);
  const auto with = [&](const std::string& old, const std::string& now) {
    std::string text = prepare;
    return read_message(text.replace(text.find(old), old.size(), now));
  };
  CHECK(has(with("= %u.new", "= @w"), "'u' is prepared by an op, not by 'w'"));
  CHECK(has(with("  update", "  prepared @v: f32[3]\n  update @v = %u.new\n  update"), "'u.new' becomes another"));
  CHECK(has(with("@u: f32[3]", "@u: f32[3] = zero"), "found '='"));
  const Graph reads = parse_graph(source("net @a() {\n  prepared @u: f32[3]\n  prepared @v: f32[3]\n"
                                         "  %v.new = exp @u : f32[3]\n  update @v = %v.new\n}\n"));
  verify(reads);
  const Graph itself =
      parse_graph(source("net @a() {\n  prepared @u: f32[3]\n  %u.new = exp @u : f32[3]\n  update @u = %u.new\n}\n"));
  CHECK_THROWS_AS(verify(itself), InternalError);
}

TEST_CASE("no damaged text does anything but read or fail cleanly")
{
  std::mt19937 random(7);
  const std::string letters = "{}[]()%@=:,.\"#_n0129-+*xe \n";
  int failed = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = lenet;
    for (unsigned edits = 1 + random() % 3; edits > 0; --edits) {
      size_t at = random() % text.size();
      switch (random() % 3) {
      case 0: text[at] = letters[random() % letters.size()]; break;
      case 1: text.erase(at, random() % 8); break;
      default: text.insert(at, 1, letters[random() % letters.size()]);
      }
    }
    try {
      Graph graph = parse_graph(source(text));
      std::string printed = to_string(graph);
      CHECK(to_string(parse_graph(source(printed))) == printed);
    } catch (const Error& error) {
      ++failed;
      CHECK(error.where.is_known());
    }
  }
  CHECK(failed > 1000);
}

TEST_CASE("names are unique and results carry their types")
{
  Graph graph = small();
  int again = graph.add_op(*find_op("relu"), "r", {0}, {}, {});
  CHECK(graph.values[static_cast<size_t>(graph.ops[static_cast<size_t>(again)].outputs[0])].name == "r.1");
  CHECK(to_string(graph.values[static_cast<size_t>(value_of(graph, "p"))].type) == "f32[n,3,4,4]");
  verify(graph);
}

TEST_CASE("what is only kept for the way back comes when it is asked for, and goes when nobody reads it")
{
  Graph graph = small();
  CHECK(graph.find("p.tap") == -1);
  CHECK(formula_of(graph, graph.ops[1]).statements.at(0).tap == -1);
  CHECK(formula_of(graph, graph.ops[1]).find("tap") == -1);
  verify(formula_of(graph, graph.ops[1]));

  add_kept(graph, 1);
  int tap = value_of(graph, "p.tap");
  CHECK(to_string(graph.values[static_cast<size_t>(tap)].type) == "u8[n,3,4,4]");
  CHECK(formula_of(graph, graph.ops[1]).statements.at(0).tap >= 0);
  verify(graph);
  CHECK(to_string(parse_graph(source(to_string(graph)))) == to_string(graph));

  compact(graph);
  CHECK(graph.find("p.tap") == -1);
  verify(graph);
}

TEST_CASE("compact removes what nobody reads and renumbers the rest")
{
  Graph graph = small();
  graph.add_value({.name = "unused", .kind = ValueKind::parameter, .type = {DType::f32, {{3}}}, .initial = "zero"});
  graph.kernels = {{.name = "dead", .ops = {2}}, {.name = "k", .ops = {0, 1}}};
  graph.ops[0].kernel = graph.ops[1].kernel = 1;
  graph.ops[2].kernel = 0;
  compact(graph);
  verify(graph);
  CHECK(to_string(graph) == "net @small(%x: f32[n,3,8,8]) {\n"
                            "  parameter @unused: f32[3] = zero\n"
                            "  kernel k {\n"
                            "    %r = relu %x : f32[n,3,8,8]\n"
                            "    %p = max_pool2d %r {kernel = [2, 2]} : f32[n,3,4,4]\n"
                            "  }\n"
                            "  output %p\n"
                            "}\n");
  CHECK(users_of(graph)[static_cast<size_t>(value_of(graph, "r"))] == std::vector<int>{1});
  CHECK(values_of(graph, ValueKind::parameter) == std::vector<int>{value_of(graph, "unused")});
}

TEST_CASE("verify finds what is broken")
{
  auto refused = [](const std::function<void(Graph&)>& spoil) {
    Graph graph = small();
    verify(graph);
    spoil(graph);
    CHECK_THROWS_AS(verify(graph), InternalError);
  };
  refused([](Graph& g) { g.values[1].name = g.values[0].name; });
  refused([](Graph& g) { g.values[1].name.clear(); });
  refused([](Graph& g) { g.values[1].type.dtype = DType::f64; });
  refused([](Graph& g) { g.values[1].type.shape[2].size = 7; });
  refused([](Graph& g) { g.values[1].layout = parse_layout("{0, 1}"); });
  refused([](Graph& g) { g.values[1].offset = 4; });
  refused([](Graph& g) { g.values[1].op = 1; });
  refused([](Graph& g) { g.values[0].op = 1; });
  refused([](Graph& g) { g.ops[0].inputs = {17}; });
  refused([](Graph& g) { g.ops[0].inputs = {g.find("p")}; });
  refused([](Graph& g) { g.ops[0].inputs = {}; });
  refused([](Graph& g) { g.ops[1].attributes.erase("stride"); });
  refused([](Graph& g) { g.ops[1].attributes["stride"] = std::vector<int64_t>{3, 3}; });
  refused([](Graph& g) { std::swap(g.ops[0], g.ops[1]); });
  refused([](Graph& g) { g.ops[0].kernel = 0; });
  refused([](Graph& g) { g.kernels = {{.name = "k", .ops = {0, 1}}}; });
  refused([](Graph& g) {
    g.kernels = {{.name = "k", .ops = {0, 2}}};
    g.ops[0].kernel = g.ops[2].kernel = 0;
  });
  refused([](Graph& g) { g.outputs = {99}; });
  refused([](Graph& g) { g.updates = {{g.find("r"), g.find("r")}}; });
  refused([](Graph& g) { g.training = Training{.loss = g.find("p")}; });
  refused([](Graph& g) { g.add_value({.name = "c", .kind = ValueKind::constant, .type = {DType::f32, {{3}}}}); });
  refused([](Graph& g) {
    g.add_value({.name = "c",
                 .kind = ValueKind::constant,
                 .type = {DType::f32, {{3}}},
                 .data = std::make_shared<const Tensor>(DType::f32, std::vector<int64_t>{4})});
  });
}

TEST_CASE("an op that does not fit names the layer and both ends")
{
  Graph graph;
  auto yaml = std::make_shared<const Source>(Source{"net.yaml", ""});
  int x = graph.add_value({.name = "c1",
                           .kind = ValueKind::input,
                           .type = {DType::f32, {{1, true}, {6}, {28}, {28}}},
                           .location = {yaml, 9, 5}});
  int w = graph.add_value({.name = "w", .kind = ValueKind::parameter, .type = {DType::f32, {{16}, {8}, {5}, {5}}}});
  try {
    graph.add_op(*find_op("conv2d"), "c2", {x, w}, {}, {yaml, 12, 5});
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(render(error) == "net.yaml:12:5: error: conv2d 'c2': weight wants 8 input channels, the input has 6\n"
                           "net.yaml:9:5: note: 'c1' is f32[n,6,28,28]");
  }
}

TEST_CASE("a program's text is its graphs and its nests")
{
  std::string nest = "nest @relu_8(in %x: f32[n,8], out %y: f32[n,8]) {\n"
                     "  parallel n in 0..N {\n"
                     "    for i in 0..8 {\n"
                     "      %y[n,i] = %x[n,i]\n"
                     "    }\n"
                     "  }\n"
                     "}\n";
  std::string text = "net @a(%x: f32[n,8]) {\n"
                     "  kernel k0 -> @relu_8(%x, %y) {\n"
                     "    %y = relu %x : f32[n,8]\n"
                     "  }\n"
                     "  output %y\n"
                     "}\n\n"
                     "net @net(%nest: f32[n,8]) {\n"
                     "  output %nest\n"
                     "}\n\n" +
                     nest;
  Program program = parse_program(source(text));
  REQUIRE(program.functions.size() == 2);
  REQUIRE(program.nests.size() == 1);
  CHECK(program.functions[0].kernels[0].nest == 0);
  verify(program);
  std::string printed = to_string(program);
  CHECK(to_string(parse_program(source(printed))) == printed);
  CHECK(has(printed, "kernel k0 -> @relu_8(%x, %y) {"));

  auto message = [](const std::string& text) {
    try {
      parse_program(source(text));
    } catch (const Error& error) {
      return to_string(error.where) + ": " + error.what();
    }
    return std::string("(no error)");
  };
  CHECK(has(message(text + nest), "net.ir:19:1: nest 'relu_8' stands twice"));
  CHECK(has(message("net @a() {\n  kernel k0 -> @gone {\n  }\n}"), "net.ir:2:16: there is no nest 'gone'"));
  CHECK(has(message("\n\nnest @x(oops) {}"), "net.ir:3:"));
  CHECK(has(message("what is this"), "net.ir:1:1"));
  CHECK(has(message("x net @a() {}"), "net.ir:1:1"));
}
