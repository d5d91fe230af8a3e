// Blocks of network files, expressions of their parameters, layers that are not there, several outputs, pictures.
#include "compiler/analysis.h"
#include "compiler/yaml_reader.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace cnnc;

namespace {

Network read(const std::string& text, const std::vector<std::string>& without = {})
{
  return read_yaml(std::make_shared<Source>(Source{"nets/net.yaml", text}), without);
}

const std::string gray = "input: {image: [1, 8, 8]}\n";

std::string names_of(const Graph& graph)
{
  std::string names;
  for (const Op& op : graph.ops)
    names += (names.empty() ? "" : " ") + op.name;
  return names;
}

std::string sources_of(const Network& network, const std::string& layer)
{
  for (const Op& op : network.forward.ops)
    if (op.name == layer) {
      std::string names;
      for (const int input : op.inputs)
        if (input >= 0 && network.forward.values[static_cast<size_t>(input)].kind != ValueKind::parameter)
          names += (names.empty() ? "" : " ") + network.forward.values[static_cast<size_t>(input)].name;
      return names;
    }
  return "no such layer";
}

std::string type_of(const Network& network, const std::string& name)
{
  const int value = network.forward.find(name);
  return value < 0 ? "no such value" : to_string(network.forward.values[static_cast<size_t>(value)].type);
}

const std::string residual = R"(define:
  residual:
    parameters: {channels: , stride: 1}
    layers:
      - conv2d: {filters: channels, kernel: 3, stride: stride, padding: 1}
      - relu
      - conv2d: {filters: channels, kernel: 3, padding: 1}
      - conv2d: {filters: channels, kernel: 2, stride: stride, from: input, name: around, when: stride > 1}
      - add: {from: [conv2, around]}
)";

// The value of an expression, with k = 3 (whole), r = 0.5, f = false: what a filter count or a rate becomes.
std::string value_of(const std::string& expression)
{
  const Network network = read("input: {x: [4]}\ndefine:\n  b:\n    parameters: [k, r, f]\n    layers:\n"
                               "      - leaky_relu: {slope: " +
                               expression + "}\nlayers:\n  - b: {k: 3, r: 0.5, f: false}\n");
  return to_string(network.forward.ops[0].attributes.at("slope"));
}

struct Bad {
  const char* what;
  std::string text;
  int line, column;
  std::string message;
  std::vector<int> note_lines;
};

void check_bad(const Bad& bad)
{
  CAPTURE(std::string(bad.what));
  try {
    read(bad.text);
    FAIL_CHECK("no error");
  } catch (const Error& e) {
    const std::string message = e.what();
    CHECK_MESSAGE(message.find(bad.message) != message.npos, message);
    CHECK(e.where.line == bad.line);
    if (bad.column > 0)
      CHECK(e.where.column == bad.column);
    std::vector<int> lines;
    for (const Error::Note& note : e.notes)
      lines.push_back(note.where.line);
    CHECK(lines == bad.note_lines);
    CHECK(e.exit_code == 1);
  }
}

} // namespace

TEST_CASE("a block is its layers, with names of its own")
{
  const Network network =
      read(gray + residual +
           "layers:\n  - residual: {channels: 2, stride: 2}\n  - residual: {channels: 2, repeat: 2}\n"
           "  - residual: {channels: 4, stride: 2, name: last, from: residual1}\n  - relu\n");
  CHECK(names_of(network.forward) ==
        "residual1.conv1 residual1.relu residual1.conv2 residual1.around residual1.add last.conv1 last.relu last.conv2 "
        "last.around last.add relu");
  CHECK(sources_of(network, "residual1.around") == "image");
  CHECK(sources_of(network, "last.conv1") == "residual1.add");
  CHECK(sources_of(network, "last.add") == "last.conv2 last.around");
  CHECK(sources_of(network, "relu") == "last.add");
  CHECK(type_of(network, "last.conv1.weight") == "f32[4,2,3,3]");
  CHECK(type_of(network, "relu") == "f32[n,4,2,2]");
  // The two copies that nothing reads, said once.
  REQUIRE(network.warnings.size() == 1);
  CHECK(network.warnings[0].text.find("nothing reads add 'residual2.2.add'") == 0);
}

TEST_CASE("copies read one another; without the way around, a sum reads the input")
{
  const Network network = read(gray + residual +
                               "layers:\n  - residual: {channels: 1, repeat: 3, name: r}\n"
                               "  - add: {from: [r.1, r.2.conv1]}\n  - add: {from: [r, add1]}\n");
  CHECK(sources_of(network, "r.1.add") == "r.1.conv2 image");
  CHECK(sources_of(network, "r.3.add") == "r.3.conv2 r.2.add");
  CHECK(sources_of(network, "add1") == "r.1.add r.2.conv1");
  CHECK(sources_of(network, "add2") == "r.3.add add1");
  const Network plain = read(gray + "layers:\n  - conv2d: {filters: 2, kernel: 3, name: c, repeat: 2}\n  - relu\n"
                                    "  - sigmoid: {repeat: 0}\n  - tanh\n");
  CHECK(names_of(plain.forward) == "c.1 c.2 relu tanh");
  CHECK(sources_of(plain, "relu") == "c.2");
  CHECK(sources_of(plain, "tanh") == "relu");
}

TEST_CASE("blocks in blocks, several inputs, an op as a parameter, another output")
{
  const Network network = read(gray + R"(define:
  act: {parameters: {op: relu}, layers: [op]}
  two:
    parameters: {filters: [], kernel: 3, op: sigmoid}
    inputs: [a, b]
    layers:
      - conv2d: {filters: filters, kernel: kernel, padding: same, from: a}
      - act: {op: op}
      - mul: {from: [act1, b], name: result}
      - tanh
    output: result
layers:
  - conv2d: {filters: 5, kernel: 1, name: c}
  - two: {filters: 5, kernel: [1, 3], from: [image, c]}
  - act
)");
  CHECK(names_of(network.forward) == "c two1.conv1 two1.act1.sigmoid two1.result act1.relu");
  CHECK(type_of(network, "two1.conv1.weight") == "f32[5,1,1,3]");
  CHECK(sources_of(network, "two1.result") == "two1.act1.sigmoid c");
  CHECK(sources_of(network, "act1.relu") == "two1.result");
}

TEST_CASE("freeze and learning_rate of a block hold for what is in it")
{
  const Network network = read(gray + "define:\n  c: [conv2d: {filters: 1, kernel: 1, learning_rate: 0.5}]\nlayers:\n"
                                      "  - c: {learning_rate: 0.1}\n  - c: {freeze: true}\n  - c\n");
  const auto rate = [&](const std::string& name) {
    return network.forward.values[static_cast<size_t>(network.forward.find(name))].rate;
  };
  CHECK(rate("c1.conv1.weight") == doctest::Approx(0.05));
  CHECK(rate("c2.conv1.weight") == 0);
  CHECK(rate("c3.conv1.weight") == 0.5);
}

TEST_CASE("expressions")
{
  CHECK(value_of("k*r") == "1.5");
  CHECK(value_of("r*(k + 1) - 1") == "1.0");
  CHECK(value_of("k//2") == "1.0");
  CHECK(value_of("-(-k//2)") == "2.0");
  CHECK(value_of("k%2") == "1.0");
  CHECK(value_of("1/2") == "0.5");
  CHECK(value_of("2*k/4") == "1.5");
  CHECK(value_of("k") == "3.0");
  const auto present = [&](const std::string& condition) {
    return names_of(read("input: {x: [4]}\ndefine:\n  b:\n    parameters: [k, r, f]\n    layers:\n"
                         "      - tanh: {when: " +
                         condition + "}\n      - relu\nlayers:\n  - b: {k: 3, r: 0.5, f: false}\n")
                        .forward) == "b1.tanh b1.relu";
  };
  CHECK(present("k > 2 and not f"));
  CHECK(present("f or r <= 0.5"));
  CHECK(present("f == false"));
  CHECK(present("true"));
  CHECK_FALSE(present("k != 3"));
  CHECK_FALSE(present("f"));
  CHECK_FALSE(present("(k < r or f) and true"));
}

TEST_CASE("bad blocks: each error at its place, with the uses around it")
{
  const std::string b = gray + "define:\n  b:\n    parameters: {c: , s: 1}\n    layers:\n";
  const std::vector<Bad> table{
      {"an error inside",
       b + "      - conv2d: {filters: c, kernel: 9}\nlayers:\n  - b: {c: 2}\n",
       6,
       9,
       "does not fit into height 8",
       {1, 8}},
      {"an attribute inside",
       b + "      - conv2d: {filters: c, kernel: 3}\nlayers:\n  - b: {c: -2}\n",
       6,
       27,
       "must be at least 1, not -2",
       {8}},
      {"two deep",
       b + "      - conv2d: {filters: c/2, kernel: 3}\n  d: [b: {c: 5}]\nlayers:\n  - relu\n  - d\n",
       6,
       27,
       "must be a whole number, not 2.5",
       {7, 10}},
      {"a missing parameter", b + "      - relu\nlayers:\n  - b\n", 8, 5, "block 'b' wants 'c'", {4}},
      {"an unknown parameter",
       b + "      - relu\nlayers:\n  - b: {c: 1, t: 2}\n",
       8,
       15,
       "unknown key 't' of block 'b'",
       {}},
      {"an unknown name in an expression",
       b + "      - relu: {when: c > d}\nlayers:\n  - b: {c: 1}\n",
       6,
       26,
       "there is no parameter 'd'",
       {8}},
      {"a broken expression",
       b + "      - dense: {units: c*}\nlayers:\n  - b: {c: 1}\n",
       6,
       26,
       "something is missing at the end",
       {8}},
      {"division by zero",
       b + "      - dense: {units: 1/(c - 1)}\nlayers:\n  - b: {c: 1}\n",
       6,
       25,
       "division by zero",
       {8}},
      {"out of range",
       b + "      - dense: {units: c*c}\nlayers:\n  - b: {c: 9000000000000000}\n",
       6,
       25,
       "out of range",
       {8}},
      {"a word is no number",
       b + "      - dense: {units: c + 1}\nlayers:\n  - b: {c: relu}\n",
       6,
       24,
       "'c' is 'relu', no number",
       {8}},
      {"a number is no condition",
       b + "      - relu: {when: c and true}\nlayers:\n  - b: {c: 2}\n",
       6,
       22,
       "true or false is wanted",
       {8}},
      {"from outside",
       gray + "define:\n  b: [relu: {from: image}]\nlayers:\n  - b\n",
       3,
       20,
       "no such layer or input in block 'b'",
       {5}},
      {"itself", gray + "define:\n  b: [b]\nlayers:\n  - b\n", 3, 7, "block 'b' contains itself", {3, 5}},
      {"one another", gray + "define:\n  b: [c]\n  c: [b]\nlayers:\n  - b\n", 4, 7, "contains itself", {3, 3, 6}},
      {"no layers", gray + "define:\n  b: {parameters: [c]}\nlayers: [b]\n", 3, 6, "needs the key 'layers'", {}},
      {"empty", gray + "define:\n  b: []\nlayers: [b]\n", 3, 6, "at least one", {}},
      {"a reserved parameter",
       gray + "define:\n  b: {parameters: [repeat], layers: [relu]}\nlayers: [b]\n",
       3,
       20,
       "'repeat' cannot be a parameter",
       {}},
      {"too few inputs",
       gray + "define:\n  b: {inputs: [x, y], layers: [add: {from: [x, y]}]}\nlayers: [b]\n",
       4,
       10,
       "block 'b' reads 2 tensors",
       {}},
      {"no output",
       gray + "define:\n  b: {layers: [relu], output: rleu}\nlayers: [b]\n",
       3,
       31,
       "did you mean 'relu'?",
       {4}},
      {"layers without end",
       gray + "define:\n  a: [relu: {repeat: 10000}]\n  b: [a: {repeat: 10000}]\nlayers: [b]\n",
       3,
       7,
       "more than 10000 layers",
       {4, 5}},
      {"absent layers without end",
       gray +
           "define:\n  a: [relu: {when: false}]\n  b: [a: {repeat: 10000}]\n  c: [b: {repeat: 10000}]\nlayers: [c]\n",
       0,
       0,
       "layers and blocks, expanded",
       {}},
      {"a negative repeat", gray + "layers:\n  - relu: {repeat: -1}\n", 3, 20, "not -1", {}},
      {"an unknown output", gray + "layers: [relu]\noutput: [rleu]\n", 3, 10, "did you mean 'relu'?", {}},
      {"an output twice", gray + "layers: [relu]\noutput: [relu, relu]\n", 3, 16, "the same tensor", {}},
      {"an input as output", gray + "layers: [relu]\noutput: [relu, image]\n", 3, 16, "is an input of the network", {}},
  };
  for (const Bad& bad : table)
    if (bad.line > 0)
      check_bad(bad);
    else
      CHECK_THROWS_WITH_AS(read(bad.text), doctest::Contains(bad.message.c_str()), Error);
}

TEST_CASE("a block that nobody uses is a warning")
{
  const Network network = read(gray + "define:\n  b: [relu]\nlayers: [relu]\n");
  REQUIRE(network.warnings.size() == 1);
  CHECK(network.warnings[0].text == "no layer uses the block 'b'");
}

TEST_CASE("layers are taken out")
{
  const std::string text = gray + residual +
                           "layers:\n  - conv2d: {filters: 2, kernel: 3, padding: 1, name: a}\n"
                           "  - conv2d: {filters: 3, kernel: 3, padding: 1, name: b}\n"
                           "  - residual: {channels: 3, repeat: 2, name: r}\n  - add: {from: [b, r]}\n";
  CHECK(type_of(read(text), "b.weight") == "f32[3,2,3,3]");
  const Network shorter = read(text, {"a", "r.1"});
  CHECK(names_of(shorter.forward) == "b r.2.conv1 r.2.relu r.2.conv2 r.2.add add");
  CHECK(type_of(shorter, "b.weight") == "f32[3,1,3,3]");
  CHECK(sources_of(shorter, "r.2.conv1") == "b");
  // The text that travels says it, too.
  CHECK(to_string(read(shorter.source->text).forward) == to_string(shorter.forward));
  CHECK(names_of(read("{input: {x: [2]}, layers: [relu, tanh]}", {"relu"}).forward) == "tanh");
  const Network flow = read("{input: {x: [2]}, layers: [relu, tanh]}", {"relu"});
  CHECK(names_of(read(flow.source->text).forward) == "tanh");

  try {
    read(text, {"c"});
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(e.exit_code == 2);
    CHECK(std::string(e.what()).find("there is no layer 'c'") == 0);
  }
  CHECK_THROWS_WITH_AS(read(text, {"add"}), doctest::Contains("reads 2 tensors"), Error);
  // Shapes that no longer meet: b gives 3 channels, without it the input has 1.
  try {
    read(gray + "layers:\n  - conv2d: {filters: 2, kernel: 3, name: a}\n  - relu: {name: b, from: a}\n"
                "  - add: {from: [a, b]}\n  - conv2d: {filters: 2, kernel: 3, padding: 1, name: c}\n"
                "  - add: {from: [c, b]}\n",
         {"a"});
  } catch (const Error& e) {
    FAIL(e.what()); // [1,8,8] and [2,8,8] broadcast
  }
  try {
    read("input: {image: [2, 8, 8]}\nlayers:\n  - conv2d: {filters: 3, kernel: 1, name: a}\n"
         "  - relu: {name: b}\n  - conv2d: {filters: 3, kernel: 1, from: image, name: c}\n  - add: {from: [b, c]}\n",
         {"a"});
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(e.where.line == 6);
    CHECK(std::string(e.what()).find("formula's line") == std::string::npos);
    REQUIRE(e.notes.size() == 2);
    CHECK(e.notes[0].text == "'b' produces f32[n,2,8,8]");
  }
}

TEST_CASE("several outputs")
{
  const Network network =
      read(gray + "layers:\n  - conv2d: {filters: 2, kernel: 3, name: a}\n  - relu\n  - flatten\n"
                  "  - dense: {units: 3, name: d}\n  - softmax\n  - tanh: {from: a}\noutput: [softmax, a]\n"
                  "train: {loss: cross_entropy, optimizer: {sgd: {learning_rate: 0.1}}}\n");
  REQUIRE(network.forward.outputs.size() == 2);
  CHECK(names_of(network.forward) == "a relu flatten d softmax");
  CHECK(network.forward.values[static_cast<size_t>(network.forward.outputs[1])].name == "a");
  CHECK(network.train->find("softmax") < 0);
  CHECK(network.train->find("d") >= 0);
  CHECK(network.warnings.size() == 1); // tanh
}

TEST_CASE("a weights file lies beside the network")
{
  CHECK(read(gray + "layers: [relu]\nweights: w.safetensors\n").weights == "nets/w.safetensors");
  CHECK(read(gray + "layers: [relu]\nweights: /data/w.safetensors\n").weights == "/data/w.safetensors");
  CHECK(read(gray + "layers: [relu]\n").weights == "");
}

TEST_CASE("what happens to a picture")
{
  const auto input = [](const std::string& rest) { return "input: {image: {" + rest + "}}\nlayers: [relu]\n"; };
  const Network network = read(input("shape: [3, 6, 4], resize: 8, crop: [6, 4], order: bgr, scale: 1/127.5, "
                                     "mean: [1, 0.5, -1], std: 2"));
  const Preprocessing& p = network.preprocessing.at("image");
  CHECK(p.resize == 8);
  CHECK(p.crop_rows == 6);
  CHECK(p.crop_columns == 4);
  CHECK(p.order == ChannelOrder::bgr);
  CHECK(p.scale == doctest::Approx(1 / 127.5));
  CHECK(p.mean == std::vector<double>{1, 0.5, -1});
  CHECK(p.std == std::vector<double>{2});
  CHECK(network.warnings.empty());
  CHECK(read(input("shape: [5]")).preprocessing.empty());
  CHECK(read(input("shape: [1, 4, 4], mean: 0.5")).preprocessing.at("image").order == ChannelOrder::gray);
  const Network far = read(input("shape: [3, 4, 4], mean: [104, 117, 123]"));
  REQUIRE(far.warnings.size() == 1);
  CHECK(far.warnings[0].text.find("write `scale: 1`") != std::string::npos);

  const auto bad = [&](const std::string& rest, const std::string& message) {
    CHECK_THROWS_WITH_AS(read(input(rest)), doctest::Contains(message.c_str()), Error);
  };
  bad("mean: 1", "needs the key 'shape'");
  bad("shape: [4], mean: 1", "'mean' is for pictures");
  bad("shape: [3, 4, 4], resize: 3", "too small for an input of 4 x 4");
  bad("shape: [3, 4, 4], crop: 5", "a crop of 5 x 5 does not fit");
  bad("shape: [3, 4, 4], crop: [4, 4, 4]", "found 3");
  bad("shape: [3, 4, 4], order: gray", "does not fit");
  bad("shape: [1, 4, 4], order: rgb", "does not fit");
  bad("shape: [3, 4, 4], order: grb", "unknown order");
  bad("shape: [3, 4, 4], scale: 0", "leaves nothing");
  bad("shape: [3, 4, 4], std: [1, 0, 1]", "above 0");
  bad("shape: [3, 4, 4], mean: [1, 2]", "found 2");
  bad("shape: [3, 4, 4], means: 1", "did you mean 'mean'?");
}
