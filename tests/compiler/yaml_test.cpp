// Network files, good ones and bad ones: what the reader makes of them, and where it says that something is wrong.
#include "compiler/analysis.h"
#include "compiler/yaml_reader.h"
#include "ir/random.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fstream>
#include <iterator>

using namespace cnnc;

namespace {

Network read(const std::string& text)
{
  return read_yaml(std::make_shared<Source>(Source{"net.yaml", text}));
}

const std::string gray = "input: {image: [1, 28, 28]}\n";

// One layer a line, over a picture of 28 x 28: the first one stands in line 3, column 5.
std::string net(const std::vector<std::string>& layers, const std::string& rest = "")
{
  std::string text = gray + "layers:\n";
  for (const std::string& layer : layers)
    text += "  - " + layer + "\n";
  return text + rest;
}

const std::string sgd = "train:\n  loss: cross_entropy\n  optimizer: {sgd: {learning_rate: 0.1}}\n";

const Value& value(const Graph& graph, const std::string& name)
{
  const int number = graph.find(name);
  REQUIRE_MESSAGE(number >= 0, "no value ", name);
  return graph.values[static_cast<size_t>(number)];
}

std::string names_of(const Graph& graph)
{
  std::string names;
  for (const Op& op : graph.ops)
    names += (names.empty() ? "" : " ") + op.name;
  return names;
}

int64_t parameters(const Network& network)
{
  int64_t sum = 0;
  for (const OpCost& cost : costs_of(network.forward))
    sum += cost.parameters;
  return sum;
}

struct Bad {
  const char* what;
  std::string text;
  int line, column;
  std::string message; // a part of it
};

const std::vector<Bad>& bad_files()
{
  static const std::vector<Bad> table{
      {"empty", "", 1, 1, "the file is empty"},
      {"only a comment", "# nothing\n", 1, 1, "the file is empty"},
      {"a list", "- a\n", 1, 1, "a network is a map"},
      {"a word", "hello\n", 1, 1, "not 'hello'"},
      {"no layers", gray, 1, 1, "needs the key 'layers'"},
      {"no input", "layers: [relu]\n", 1, 1, "needs the key 'input'"},
      {"not UTF-8", "name: \xff\n", 1, 7, "not UTF-8: byte 0xff"},
      {"overlong UTF-8", "name: \xc0\xaf\n", 1, 7, "not UTF-8"},
      {"cut UTF-8", "name: \xe2\x82", 1, 7, "not UTF-8"},
      {"a control character", std::string("name: a\x01\n"), 1, 8, "control character (0x01)"},
      {"a zero", std::string("name: \0\n", 8), 1, 7, "control character (0x00)"},
      {"a tab", "input:\n\timage: [1, 2]\n", 2, 1, "a tab in the indentation"},
      {"unclosed", "input: {image: [1, 2\n", 2, 1, "this is not YAML"},
      {"two documents", "a: 1\n---\nb: 2\n", 3, 1, "a second document"},
      {"a tag", "name: !!binary x\n", 1, 7, "tags are not used"},
      {"a key twice", net({"conv2d: {filters: 6, filters: 7, kernel: 5}"}), 3, 26, "'filters' stands here twice"},
      {"a key that is a list", "[a, b]: 1\n", 1, 1, "a key must be a word"},
      {"deep flow", gray + "layers: " + std::string(100000, '['), 2, 0, "nested deeper than 64 levels"},
      {"deep maps",
       gray + "layers: " +
           [] {
             std::string text;
             for (int i = 0; i < 10000; ++i)
               text += "{a: ";
             return text;
           }(),
       2, 0, "nested deeper than 64 levels"},
      {"deep blocks",
       [] {
         std::string text;
         for (int i = 0; i < 100000; ++i)
           text += "- ";
         return text;
       }(),
       1, 129, "nested deeper than 64 levels"},
      {"an alias bomb",
       [] {
         std::string text = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n";
         for (int i = 1; i < 12; ++i) {
           text += fmt::format("a{}: &a{} [", i, i);
           for (int k = 0; k < 10; ++k)
             text += fmt::format("{}*a{}", k ? ", " : "", i - 1);
           text += "]\n";
         }
         return text;
       }(),
       6, 0, "aliases expanded"},
      {"an alias of itself", "a: &a [1, *a]\n", 1, 11, "an alias inside of what it stands for"},
      {"too large", std::string((1 << 20) + 1, ' '), 1, 1, "a network file has at most 1048576"},

      {"an unknown key", gray + "layer: [relu]\n", 2, 1, "unknown key 'layer' of a network; did you mean 'layers'?"},
      {"a bad name", "name: 5x\n" + net({"relu"}), 1, 7, "name must be a name"},
      {"a name with an accent", "name: é\n" + net({"relu"}), 1, 7, "name must be a name"},
      {"a word of C", "name: int\n" + net({"relu"}), 1, 7, "'int' cannot be the name"},
      {"an input that is no list", "input: {image: 28}\nlayers: [relu]\n", 1, 16, "must be a list of extents"},
      {"a negative extent", "input: {image: [1, -28]}\nlayers: [relu]\n", 1, 20, "must be at least 1, not -28"},
      {"an extent of zero", "input: {image: [1, 0]}\nlayers: [relu]\n", 1, 20, "must be at least 1, not 0"},
      {"a huge input", "input: {image: [2147483648, 2147483648, 2]}\nlayers: [relu]\n", 1, 16,
       "more than 2^40 elements"},
      {"eight extents", "input: {image: [1, 1, 1, 1, 1, 1, 1, 1]}\nlayers: [relu]\n", 1, 16, "more than 7 extents"},
      {"no input at all", "input: {}\nlayers: [relu]\n", 1, 1, "input is empty"},
      {"layers as a map", gray + "layers: {relu: {}}\n", 2, 9, "layers must be a list, not a map"},
      {"no layer", gray + "layers: []\n", 2, 9, "layers is empty"},

      {"an unknown op", net({"conv2", "relu"}), 3, 5, "unknown op 'conv2'; did you mean 'conv2d'?"},
      {"an unknown attribute", net({"conv2d: {fliters: 6, kernel: 5}"}), 3, 14,
       "unknown key 'fliters' of conv2d; did you mean 'filters'?"},
      {"a missing attribute", net({"conv2d: {kernel: 5}"}), 3, 5, "conv2d wants 'filters'"},
      {"a word for a number", net({"conv2d: {filters: six, kernel: 5}"}), 3, 23, "must be a whole number, not 'six'"},
      {"a quoted number", net({"conv2d: {filters: \"6\", kernel: 5}"}), 3, 23, "not the text \"6\""},
      {"a fraction", net({"conv2d: {filters: 6.5, kernel: 5}"}), 3, 23, "must be a whole number, not 6.5"},
      {"beyond 64 bits", net({"dense: {units: 99999999999999999999}"}), 3, 20, "out of range"},
      {"a negative stride", net({"conv2d: {filters: 6, kernel: 5, stride: -1}"}), 3, 45, "not -1"},
      {"a stride of zero", net({"max_pool2d: {kernel: 2, stride: 0}"}), 3, 37, "not 0"},
      {"too many strides", net({"max_pool2d: {kernel: 2, stride: [1, 2, 3]}"}), 3, 37,
       "wants one number or 2, found 3"},
      {"padding by name", net({"conv2d: {filters: 6, kernel: 5, padding: some}"}), 3, 46, "same or valid, not 'some'"},
      {"padding of three", net({"conv2d: {filters: 6, kernel: 5, padding: [1, 2, 3]}"}), 3, 46, "found 3"},
      {"yes for true", net({"conv2d: {filters: 6, kernel: 5, bias: yes}"}), 3, 43, "must be true or false, not 'yes'"},
      {"a dropout of everything", net({"dropout: {rate: 1.5}", "relu"}), 3, 21, "between 0 and 0.999999, not 1.5"},
      {"attributes that are no map", net({"dense: 10"}), 3, 12, "must be a map"},
      {"two keys", net({"relu: {}\n    name: x"}), 4, 5, "'name' belongs inside"},
      {"a kernel larger than the input", net({"conv2d: {filters: 6, kernel: 50}"}), 3, 5,
       "does not fit into height 28"},
      {"channels that do not divide", net({"conv2d: {filters: 6, kernel: 5, groups: 4}"}), 3, 5,
       "do not divide into 4 groups"},
      {"huge weights", net({"flatten", "dense: {units: 1000000000}", "dense: {units: 1000000000}"}), 5, 5,
       "more than 2^40 elements"},
      {"dense on a picture", net({"dense: {units: 10}"}), 3, 5, "put a flatten before it"},
      {"a loss as a layer", net({"flatten", "cross_entropy"}), 4, 5, "it belongs into `train: {loss: cross_entropy}`"},
      {"an optimizer as a layer", net({"flatten", "sgd"}), 4, 5, "it belongs into `train: {optimizer: sgd}`"},
      {"nothing computed", net({"dropout"}), 3, 5, "its output is its input"},

      {"two of a name", net({"relu: {name: a}", "relu: {name: a}"}), 4, 18, "there are two 'a'"},
      {"a layer named like the input", net({"relu: {name: image}"}), 3, 18, "there are two 'image'"},
      {"from nowhere", net({"relu: {name: first}", "relu: {from: frist}"}), 4, 18, "did you mean 'first'?"},
      {"an empty from", net({"relu: {from: []}"}), 3, 18, "from is empty"},
      {"no from", net({"relu", "add"}), 4, 5, "name them with `from: [a, b]`"},
      {"one too few", net({"relu: {name: a}", "add: {from: [a]}"}), 4, 18, "`from:` names 1"},
      {"one too many", net({"relu: {from: [image, image]}"}), 3, 26, "reads 1 tensor, `from:` names 2"},
      {"itself", net({"relu: {name: a, from: a}"}), 3, 27, "a cycle: 'a' reads 'a'"},
      {"a cycle", net({"relu: {name: a, from: c}", "relu: {name: b}", "relu: {name: c}"}), 3, 27,
       "a cycle: 'a' reads 'c' reads 'b' reads 'a'"},
      {"from below", net({"relu: {name: a, from: c}", "relu: {name: c, from: image}"}), 3, 27, "stands below it"},
      {"two inputs", "input: {a: [1], b: [1]}\nlayers: [relu]\n", 2, 10, "the network has 2 inputs"},

      {"weights of another shape", net({"conv2d: {filters: 1, kernel: 2, weights: {weight: [[[[1, 2], [3]]]]}}"}), 3,
       55, "4 numbers; found 3"},
      {"weights in another order", net({"conv2d: {filters: 1, kernel: 2, weights: {weight: [[[[1, 2, 3], [4]]]]}}"}), 3,
       58, "a list of 2 here"},
      {"a word among weights", net({"conv2d: {filters: 1, kernel: 2, weights: {weight: [[[[1, 2], [3, x]]]]}}"}), 3, 70,
       "must be a number, not 'x'"},
      {"a weight beyond f32", net({"conv2d: {filters: 1, kernel: 1, weights: {weight: [[[[1e39]]]]}}"}), 3, 59, "1e39"},
      {"weights by a wrong name", net({"conv2d: {filters: 1, kernel: 2, weights: {wieght: [1]}}"}), 3, 47,
       "did you mean 'weight'?"},
      {"weights of what has none", net({"relu: {weights: {weight: [1]}}"}), 3, 22, "relu has no parameters"},
      {"a bias that is off", net({"conv2d: {filters: 1, kernel: 2, bias: false, weights: {bias: [1]}}"}), 3, 60,
       "no parameter 'bias'"},
      {"a negative rate", net({"conv2d: {filters: 1, kernel: 2, learning_rate: -1}"}), 3, 52, "not -1"},

      {"an op without a formula", gray + "ops:\n  f: {inputs: [x]}\nlayers: [f]\n", 3, 6, "needs the key 'formula'"},
      {"an op with a bad operand", gray + "ops:\n  f: {inputs: [\"x[\"], formula: \"y[...] = x[...]\"}\nlayers: [f]\n",
       3, 16, "inputs of op 'f'"},
      {"an unknown function", gray + "ops:\n  f: {inputs: [x], formula: \"y[...] = expp(x[...])\"}\nlayers: [f]\n", 3,
       39, "did you mean 'exp'?"},
      {"an unfinished formula", gray + "ops:\n  f: {inputs: [x], formula: \"y[...] = x[...\"}\nlayers: [f]\n", 3, 44,
       "']' was expected"},
      {"a formula in a block",
       gray + "ops:\n  f:\n    inputs: [x]\n    formula: |\n      a[n,c,h,w] = x[n,c,h,w]\n      y[n,c,h,w] = "
              "b[n,c,h,w]\nlayers: [f]\n",
       7, 20, "unknown tensor 'b'"},

      {"no loss", net({"flatten", "dense: {units: 10}"}, "train: {optimizer: sgd}\n"), 5, 8, "needs the key 'loss'"},
      {"an unknown loss", net({"flatten", "dense: {units: 10}"}, "train: {loss: crossentropy, optimizer: sgd}\n"), 5,
       15, "did you mean 'cross_entropy'?"},
      {"no optimizer", net({"flatten", "dense: {units: 10}"}, "train:\n  loss: cross_entropy\n"), 6, 3,
       "needs the key 'optimizer'"},
      {"an unknown optimizer",
       net({"flatten", "dense: {units: 10}"}, "train: {loss: cross_entropy, optimizer: adagrad}\n"), 5, 41,
       "unknown optimizer 'adagrad'"},
      {"a learning rate outside", net({"flatten", "dense: {units: 10}"}, sgd + "  learning_rate: 0.1\n"), 8, 3,
       "belongs to the optimizer"},
      {"an unknown optimizer key",
       net({"flatten", "dense: {units: 10}"}, "train: {loss: cross_entropy, optimizer: {sgd: {rate: 1}}}\n"), 5, 48,
       "unknown key 'rate' of sgd"},
      {"the compiler's own key",
       net({"flatten", "dense: {units: 10}"}, "train: {loss: cross_entropy, optimizer: {sgd: {rate_factor: 1}}}\n"), 5,
       48, "unknown key 'rate_factor' of sgd"},
      {"a batch of none", net({"flatten", "dense: {units: 10}"}, sgd + "  batch: 0\n"), 8, 10, "not 0"},
      {"an unknown schedule", net({"flatten", "dense: {units: 10}"}, sgd + "  schedule: cosin\n"), 8, 13,
       "did you mean 'cosine'?"},
      {"nothing to train", net({"relu"}, sgd), 4, 1, "no layer has parameters"},
      {"all frozen", net({"flatten", "dense: {units: 10, freeze: true}"}, sgd), 5, 1, "every layer is frozen"},
      {"nothing is left of a picture", net({"slice: {axes: [2], starts: [5], ends: [5]}"}), 3, 5, "no elements"},
      {"the batch goes elsewhere", net({"transpose: {perm: [1, 0, 2, 3]}"}), 3, 5, "must stay the first dimension"},
      {"an unknown layer to be taken out", net({"relu", "tanh"}, "without: [relu, tan]\n"), 5, 17, "no layer 'tan'"},
      {"an integer beyond the bound", net({"flatten", "dense: {units: 1000000000000}"}), 4, 20, "between 1 and"},
  };
  return table;
}

} // namespace

TEST_CASE("bad network files: each error at its place")
{
  for (const Bad& bad : bad_files()) {
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
      CHECK(e.exit_code == 1);
    }
  }
}

TEST_CASE("shapes that do not meet: both ends are shown")
{
  try {
    read(net({"conv2d: {filters: 2, kernel: 3, name: c1}", "relu: {from: image, name: r}", "add: {from: [c1, r]}"}));
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(e.where.line == 5);
    REQUIRE(e.notes.size() == 2);
    CHECK(e.notes[0].text == "'c1' produces f32[n,2,26,26]");
    CHECK(e.notes[0].where.line == 3);
    CHECK(e.notes[1].text == "'r' produces f32[n,1,28,28]");
    CHECK(e.notes[1].where.line == 4);
  }
}

TEST_CASE("LeNet: names, shapes, parameters, places")
{
  std::ifstream file(CNNC_SOURCE_DIR "/examples/lenet5.yaml");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const Network network = read(text);
  CHECK(network.name == "lenet5");
  CHECK(names_of(network.forward) ==
        "conv1 relu1 pool1 conv2 relu2 pool2 flatten dense1 relu3 dense2 relu4 logits softmax");
  CHECK(parameters(network) == 61706);
  CHECK(network.warnings.empty());
  CHECK(to_string(value(network.forward, "conv2").type) == "f32[n,16,10,10]");
  CHECK(to_string(value(network.forward, "conv2.weight").type) == "f32[16,6,5,5]");
  CHECK(value(network.forward, "conv2.weight").initial == "he(150)");
  CHECK(to_string(value(network.forward, "conv2").location) == "net.yaml:8:5");
  // The loss takes the softmax in; the label is below the number of classes.
  REQUIRE(network.train);
  CHECK(network.train->name == "lenet5.train");
  CHECK(network.train->find("softmax") < 0);
  CHECK(value(*network.train, "label").limit == 10);
  CHECK(to_string(value(*network.train, "label").type) == "i32[n]");
  CHECK(network.train->training->optimizer->name == "sgd");
  CHECK(network.config.data == "fashion-mnist");
  CHECK(network.config.batch == 64);

  const std::vector<OpCost> costs = costs_of(network.forward);
  CHECK(costs[0].multiply_adds == 6 * 28 * 28 * 25);
  CHECK(costs[3].multiply_adds == 16 * 10 * 10 * 6 * 25);
  CHECK(costs[7].multiply_adds == 400 * 120);
  CHECK(field_text(network.forward, costs[0]) == "5 x 5");
  CHECK(field_text(network.forward, costs[2]) == "6 x 6");
  CHECK(field_text(network.forward, costs[3]) == "14 x 14");
  CHECK(field_text(network.forward, costs[5]) == "16 x 16");
  CHECK(field_text(network.forward, costs[6]) == "16 x 16"); // a view sees what it views
  CHECK(field_text(network.forward, costs[7]) == "all");
}

TEST_CASE("counts of the lecture")
{
  // Unshared 7 x 7 filters of depth 5 over 30 x 30 x 3; a dense layer of 1000 units on 256 x 256 x 3.
  CHECK(parameters(read("input: {x: [3, 30, 30]}\nlayers:\n  - local2d: {filters: 5, kernel: 7, bias: false}\n")) ==
        423360);
  CHECK(parameters(read("input: {x: [3, 256, 256]}\nlayers:\n  - flatten\n  - dense: {units: 1000, bias: false}\n")) ==
        196608000);
  // Padding (k-1)/2 keeps the size at stride 1.
  for (const int k : {1, 3, 5, 7, 9}) {
    const Network same = read(net({fmt::format("conv2d: {{filters: 2, kernel: {}, padding: same}}", k)}));
    const Network number = read(net({fmt::format("conv2d: {{filters: 2, kernel: {}, padding: {}}}", k, (k - 1) / 2)}));
    CHECK(to_string(same.forward.values[static_cast<size_t>(same.forward.outputs[0])].type) == "f32[n,2,28,28]");
    CHECK(to_string(same.forward) == to_string(number.forward));
  }
  const Network ignored = read("input: {x: [1, 6, 6]}\nlayers:\n  - conv2d: {filters: 1, kernel: 3, stride: 2}\n");
  REQUIRE(ignored.warnings.size() == 2);
  CHECK(ignored.warnings[0].text.find("gives size 2.5") != std::string::npos);
  CHECK(ignored.warnings[0].text.find("heights 5 or 7 fit") != std::string::npos);
  CHECK(to_string(ignored.warnings[0].where) == "net.yaml:3:5");
}

TEST_CASE("default names")
{
  CHECK(names_of(read(net({"conv2d: {filters: 1, kernel: 1}", "relu", "leaky_relu", "sigmoid"})).forward) ==
        "conv1 relu1 relu2 sigmoid");
  // A name that the user took for another layer is not given twice.
  CHECK(names_of(read(net({"relu: {name: relu2}", "relu", "relu"})).forward).find("relu2 relu3") == 0);
}

TEST_CASE("from, freeze, learning_rate, weights")
{
  const Network network = read(net({"conv2d: {filters: 1, kernel: 2, name: a, freeze: true}",
                                    "conv2d: {filters: 1, kernel: 2, name: b, from: image, learning_rate: 0.5,"
                                    " weights: {weight: [[[[1, -2.5], [3e1, .5]]]], bias: [4]}}",
                                    "add: {from: [a, b]}"},
                                   ""));
  CHECK(value(network.forward, "a.weight").rate == 0);
  CHECK(value(network.forward, "b.weight").rate == 0.5);
  CHECK(value(network.forward, "a.weight").data == nullptr);
  const auto& data = value(network.forward, "b.weight").data;
  REQUIRE(data);
  CHECK(data->dims == std::vector<int64_t>{1, 1, 2, 2});
  CHECK(data->get(0) == 1);
  CHECK(data->get(1) == -2.5);
  CHECK(data->get(2) == 30);
  CHECK(data->get(3) == 0.5);
  CHECK(value(network.forward, "b.bias").data->get(0) == 4);
  const Op& add = network.forward.ops.back();
  CHECK(network.forward.values[static_cast<size_t>(add.inputs[0])].name == "a");
  CHECK(network.forward.values[static_cast<size_t>(add.inputs[1])].name == "b");
}

TEST_CASE("dropout is for training")
{
  const Network network =
      read(net({"flatten", "dropout: {rate: 0.25}", "dense: {units: 4}", "dropout", "dense: {units: 3}"}, sgd));
  CHECK(names_of(network.forward) == "flatten dense1 dense2");
  CHECK(names_of(*network.loss) == "flatten dense1 dense2 loss");
  CHECK(names_of(*network.train) == "flatten dropout1 dense1 dropout2 dense2 loss");
  CHECK(value(*network.train, "key").kind == ValueKind::state);
  CHECK(value(*network.train, "step").kind == ValueKind::state);
  // Two masks, not the same one twice.
  CHECK(network.train->ops[1].attributes.at("salt") != network.train->ops[3].attributes.at("salt"));
}

TEST_CASE("an op of the file's own")
{
  const Network network = read(gray + "ops:\n  swish: {inputs: [x], formula: \"y[n,c,h,w] = x[n,c,h,w] / (1 + "
                                      "exp(-x[n,c,h,w]))\"}\nlayers: [swish, relu]\n");
  CHECK(names_of(network.forward) == "swish relu");
  CHECK(to_string(value(network.forward, "swish").type) == "f32[n,1,28,28]");
  CHECK(network.layers[0].op == "swish");
}

TEST_CASE("layers that nothing reads are left out, with a warning")
{
  const Network network = read(net({"relu: {name: a}", "relu: {name: b, from: image}"}));
  CHECK(names_of(network.forward) == "b");
  REQUIRE(network.warnings.size() == 1);
  CHECK(network.warnings[0].text == "nothing reads relu 'a': it is left out");
}

TEST_CASE("aliases that stay small are fine")
{
  const Network network = read(gray + "layers:\n  - conv2d: &c {filters: 2, kernel: 3}\n  - conv2d: *c\n");
  CHECK(names_of(network.forward) == "conv1 conv2");
}

TEST_CASE("damaged files: an error or a network, nothing else")
{
  std::ifstream file(CNNC_SOURCE_DIR "/examples/lenet5.yaml");
  const std::string good{std::istreambuf_iterator<char>(file), {}};
  REQUIRE(good.size() > 100);
  const std::string pieces = "[]{}:,-&*!|>'\"#%@` \n\t09e.x\xff";
  int errors = 0;
  for (uint64_t i = 0; i < 1500; ++i) {
    const uint64_t key = seed_key(i);
    std::string text = good;
    for (uint64_t k = 0; k < 1 + i % 4; ++k) {
      const size_t at = random_bits(key, 4 * k) % text.size();
      const size_t length = 1 + random_bits(key, 4 * k + 1) % 6;
      switch (random_bits(key, 4 * k + 2) % 4) {
      case 0: text.erase(at, length); break;
      case 1: text.insert(at, 1, pieces[random_bits(key, 4 * k + 3) % pieces.size()]); break;
      case 2: text[at] = pieces[random_bits(key, 4 * k + 3) % pieces.size()]; break;
      default: text.insert(at, text.substr(random_bits(key, 4 * k + 3) % text.size(), 20 * length));
      }
    }
    try {
      read(text);
    } catch (const Error& e) {
      ++errors;
      CHECK(e.where.line >= 1);
      CHECK(e.exit_code == 1);
    }
  }
  CHECK(errors > 500);
}
