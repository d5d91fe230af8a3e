// The program as a user meets it: each call is a process of its own, in an empty folder, and what it prints, returns
// and leaves behind is looked at.
#include "compiler/analysis.h"
#include "compiler/network.h"
#include "compiler/program/commands.h"
#include "ir/op.h"
#include "ir/random.h"
#include "runtime/idx.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "tests/folder.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <set>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

using namespace cnnc;
namespace fs = std::filesystem;

namespace {

std::string contents(const fs::path& path)
{
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const fs::path& path, const std::string& text)
{
  std::ofstream(path, std::ios::binary) << text;
}

struct Result {
  int code = -1;   // 128 + signal, where one ended it
  std::string out; // standard output
  std::string err;
};

// A folder of its own, removed at the end.
class Folder : public test::Folder {
public:
  void add(const std::string& name, const std::string& text) const { write(path / name, text); }
  void add_example(const std::string& name) const
  {
    add(name, contents(fs::path(CNNC_SOURCE_DIR) / "examples" / name));
  }
  std::string read(const std::string& name) const { return contents(path / name); }

  // Started with `prepare` done in the child: environment, other descriptors.
  pid_t start(const std::vector<std::string>& arguments, const std::function<void()>& prepare = {}) const
  {
    const std::string out = out_path(), err = err_path();
    std::cout.flush(); // or the child says it again
    std::fflush(nullptr);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child > 0)
      return child;
    for (const auto& [descriptor, file] : {std::pair{STDOUT_FILENO, out}, {STDERR_FILENO, err}}) {
      const int opened = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(opened, descriptor);
    }
    if (chdir(path.c_str()) != 0)
      _exit(99);
    unsetenv("COLUMNS");
    if (prepare)
      prepare();
    std::vector<char*> argv;
    std::vector<std::string> words = arguments;
    words.insert(words.begin(), "cnnc");
    for (std::string& word : words)
      argv.push_back(word.data());
    const int code = run_program(static_cast<int>(argv.size()), argv.data());
    std::fflush(nullptr);
    _exit(code);
  }

  Result finish(pid_t child) const
  {
    int status = 0;
    waitpid(child, &status, 0);
    Result result;
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result.out = contents(out_path());
    result.err = contents(err_path());
    fs::remove(out_path());
    fs::remove(err_path());
    return result;
  }

  Result run(const std::vector<std::string>& arguments, const std::function<void()>& prepare = {}) const
  {
    return finish(start(arguments, prepare));
  }

private:
  // Beside the folder, so that it holds only what the program writes.
  std::string out_path() const { return path.string() + ".out"; }
  std::string err_path() const { return path.string() + ".err"; }
};

// Labelled pictures of 8 x 8 that a small network learns at once: class k is bright in its corner.
void add_data(const Folder& folder, const std::string& name, int64_t train, int64_t test)
{
  fs::create_directory(folder.path / name);
  for (const auto& [prefix, count, seed] : {std::tuple{"train", train, 1}, {"t10k", test, 2}}) {
    Tensor images(DType::u8, {count, 8, 8}), labels(DType::u8, {count});
    const uint64_t key = seed_key(static_cast<uint64_t>(seed));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t label = random_bits(key, static_cast<uint64_t>(i)) % 4;
      labels.set(i, static_cast<double>(label));
      for (int64_t p = 0; p < 64; ++p) {
        const bool bright = p / 32 == label / 2 && p % 8 / 4 == label % 2;
        images.set(i * 64 + p, (bright ? 150 : 0) + random_bits(key + 2, static_cast<uint64_t>(i * 64 + p)) % 100);
      }
    }
    write(folder.path / name / fmt::format("{}-images-idx3-ubyte", prefix), to_idx(images));
    write(folder.path / name / fmt::format("{}-labels-idx1-ubyte", prefix), to_idx(labels));
  }
}

const std::string small = "name: small\n"
                          "input: {image: [1, 8, 8]}\n"
                          "layers:\n"
                          "  - conv2d: {filters: 4, kernel: 3, padding: same}\n"
                          "  - relu\n"
                          "  - max_pool2d: {kernel: 2}\n"
                          "  - flatten\n"
                          "  - dropout: {rate: 0.1}\n"
                          "  - dense: {units: 4}\n"
                          "  - softmax\n"
                          "train:\n"
                          "  data: data\n"
                          "  loss: cross_entropy\n"
                          "  optimizer: {sgd: {learning_rate: 0.1, momentum: 0.9}}\n"
                          "  batch: 16\n"
                          "  epochs: 2\n";

bool contains(const std::string& text, const std::string& part)
{
  return text.find(part) != text.npos;
}

} // namespace

TEST_CASE("wrong usage: exit code, message, nothing written")
{
  const Folder folder;
  folder.add_example("lenet5.yaml");
  folder.add("bad.yaml", "input: {image: [1, 8, 8]}\nlayers:\n  - reluu\n");
  folder.add("fake.so", "no library");
  folder.add("fake.ir", "net @x(");
  folder.add("short.safetensors", "abc");
  folder.add("wide.yaml", "input: {image: [3, 8, 8]}\nlayers:\n  - conv2d: {filters: 16, kernel: 3}\n  - relu\n"
                          "  - conv2d: {filters: 16, kernel: 3}\n");
  fs::create_directory(folder.path / "empty");
  folder.add("lying.safetensors", std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10));
  fs::create_directory(folder.path / "folder.so");
  const std::set<std::string> before = folder.files();
  struct Case {
    std::vector<std::string> arguments;
    int code;
    std::string message;
  };
  const std::vector<Case> table{
      {{}, 2, "which network?"},
      {{"trian", "lenet5.yaml"}, 2, "unknown command 'trian'; did you mean 'train'?"},
      {{"--explian", "lenet5.yaml"}, 2, "unknown option '--explian'; did you mean '--explain'?"},
      {{"lenet5.yaml", "-O4"}, 2, "not in range"},
      {{"lenet5.yaml", "-Ox"}, 2, "-O"},
      {{"lenet5.yaml", "--emit=exe"}, 2, "--emit"},
      {{"lenet5.yaml", "--threads", "2"}, 2, "threads are an argument of each call"},
      {{"lenet5.yaml", "other"}, 2, "one argument too many: 'other'"},
      {{"lenet5.yaml", "-o"}, 2, "-o"},
      {{"lenet5.yaml", "-march=pentium9"}, 2, "pentium9"},
      {{"lenet5.yaml", "--targets", "x86-64-v3,x86-64-v9"}, 2, "unknown --targets 'x86-64-v9', did you mean 'x86-64-v"},
      {{"lenet5.yaml", "--targets", "x86-64-v3,pentium3"}, 2, "--targets 'pentium3' has no 64-bit mode"},
      {{"lenet5.yaml", "--targets", "x86-64-v3,cortex-a72"}, 2, "unknown --targets 'cortex-a72'"},
      {{"lenet5.yaml", "--targets", "x86-64-v3,x86-64-v3"}, 2, "'x86-64-v3' stands there twice"},
      {{"lenet5.yaml", "--targets", "haswell,core-avx2"}, 2, "need the same instructions"},
      {{"lenet5.yaml", "--targets", "x86-64-v3,"}, 2, "a name is empty"},
      {{"lenet5.yaml", "--targets", ""}, 2, "a name is empty"},
      {{"lenet5.yaml", "--targets", "a,b,c,d,e,f,g,h,i"}, 2, "9 machines are too many"},
      {{"lenet5.yaml", "--targets", "x86-64-v3", "-march=native"}, 2, "say different things"},
      {{"lenet5.yaml", "--targets", "x86-64-v2,x86-64-v3", "--emit=loops"}, 2, "for one machine"},
      {{"lenet5.yaml", "--targets", "x86-64-v2,x86-64-v3", "--passes=lower"}, 2, "for one machine"},
      {{"lenet5.yaml", "--print-ir-after=fuse_epilog"}, 2, "did you mean 'fuse_epilogue'?"},
      {{"lenet5.yaml", "--passes=nothing"}, 2, "unknown pass 'nothing'"},
      {{"lenet5.txt"}, 2, "a network is a .yaml, .onnx or .ir file"},
      {{"missing.yaml"}, 3, "cannot open missing.yaml"},
      {{"."}, 2, "a network is a .yaml, .onnx or .ir file"},
      {{"lenet5.yaml", "-o", "lenet5.yaml"}, 2, "is the input"},
      {{"lenet5.yaml", "-o", "./lenet5.yaml", "--emit=graph"}, 2, "is the input"},
      {{"lenet5.yaml", "-o", "missing/net.so"}, 3, "cannot write"},
      {{"lenet5.yaml", "-o", "folder.so"}, 3, "cannot write"},
      {{"lenet5.yaml", "-o", "missing/net.ir", "--emit=graph"}, 3, "cannot"},
      {{"lenet5.yaml", "-o", "-"}, 2, "-o - is for texts"},
      {{"lenet5.yaml", "--weights", "missing.safetensors"}, 3, "missing.safetensors"},
      {{"lenet5.yaml", "--weights", "short.safetensors"}, 1, "short.safetensors"},
      {{"lenet5.yaml", "--weights", "lying.safetensors"}, 1, "lying.safetensors"},
      {{"bad.yaml"}, 1, "bad.yaml:3:5: error: unknown op 'reluu'"},
      {{"check", "bad.yaml"}, 1, "    3 |   - reluu\n      |     ^"},
      {{"fake.ir"}, 1, "fake.ir:1:"},
      {{"check"}, 2, "network is required"},
      {{"run", "lenet5.yaml"}, 2, "--input FILE or --image FILE"},
      {{"run", "lenet5.yaml", "--input", "x.npy", "--mean", "1,,2"}, 2, "--mean 1,,2"},
      {{"run", "lenet5.yaml", "--input", "x.npy", "--std", "0"}, 2, "--std 0"},
      {{"run", "lenet5.yaml", "--input", "x.npy", "--output", "a.npy", "--output", "b.npy"}, 2, "two files"},
      {{"run", "lenet5.yaml", "--input", "image=x.npy", "--image", "x.png"}, 2, "is given twice"},
      {{"wide.yaml", "--precision", "int4"}, 2, "--precision"},
      {{"wide.yaml", "--precision", "int8"}, 2, "which pictures? --calibrate"},
      {{"wide.yaml", "--precision", "int8", "--calibrate", "empty"}, 1, "no picture and no .npy file in empty"},
      {{"wide.yaml", "--precision", "int8", "--calibrate", "missing.png"}, 3, "missing.png"},
      {{"wide.yaml", "--precision", "int8", "--calibrate", "fake.so"}, 1, "is not a picture"},
      {{"wide.yaml", "--calibrate", "empty"}, 2, "--calibrate is for --precision int8"},
      {{"run", "fake.so", "--precision", "bf16", "--input", "x.npy"}, 2, "is compiled"},
      {{"bench"}, 2, "network is required"},
      {{"tune", "lenet5.yaml", "--budget", "60"}, 2, "'60' is no time"},
      {{"tune", "lenet5.yaml", "--budget", "-1s"}, 2, "'-1s' is no time"},
      {{"tune", "lenet5.yaml", "--budget", "1e9h"}, 2, "'1e9h' is no time"},
      {{"tune", "lenet5.yaml", "--budget", "1ms"}, 2, "too short"},
      {{"tune", "lenet5.yaml", "-O1"}, 2, "-O2"},
      {{"tune", "lenet5.yaml", "-o", "lenet5.yaml"}, 2, "is the input"},
      {{"tune", "fake.so"}, 2, "tune its .yaml"},
      {{"lenet5.yaml", "--tune", "none.tune"}, 3, "none.tune"},
      {{"lenet5.yaml", "--tune", "bad.yaml"}, 1, "bad.yaml:1:1: error: this is no tuning file"},
      {{"lenet5.yaml", "--tune", "bad.yaml", "--no-tune"}, 2, "--no-tune"},
      {{"bench", "lenet5.yaml", "--batch", "0"}, 2, "not in range"},
      {{"run", "lenet5.yaml", "--input", "missing.npy"}, 3, "missing.npy"},
      {{"run", "lenet5.yaml", "--input", "lenet5.yaml"}, 1, "is not a picture"},
      {{"run", "lenet5.yaml", "--input", "picture=a.npy"}, 2, "no input 'picture' (inputs: image)"},
      {{"run", "fake.so", "--input", "x.npy"}, 1, "not a network that cnnc has compiled"},
      {{"run", "missing.so", "--input", "x.npy"}, 3, "missing.so"},
      {{"info", "fake.so"}, 1, "not a network that cnnc has compiled"},
      {{"train", "lenet5.yaml", "--data", "fashion_mnist"}, 1, "'fashion-mnist'"},
      {{"train", "lenet5.yaml", "--epochs", "0"}, 2, "not in range"},
      {{"train", "lenet5.yaml", "-o", "lenet5.yaml"}, 2, "is the input"},
      {{"gradcheck", "lenet5.yaml", "--samples", "-3"}, 2, "--samples"},
  };
  for (const Case& c : table) {
    CAPTURE(fmt::format("{}", fmt::join(c.arguments, " ")));
    const Result result = folder.run(c.arguments);
    CHECK(result.code == c.code);
    CHECK_MESSAGE(contains(result.err, c.message), result.err);
    CHECK(result.out == "");
    CHECK(folder.files() == before);
  }
}

TEST_CASE("what is asked for is said: help and version")
{
  const Folder folder;
  CHECK(folder.run({"--version"}).out.starts_with("cnnc "));
  const Result all = folder.run({"--help"});
  CHECK(all.code == 0);
  for (const Command& command : commands()) {
    CHECK(contains(all.out, command.name));
    const Result help = folder.run({command.name, "--help"});
    CHECK(help.code == 0);
    CHECK(contains(help.out, fmt::format("Usage: cnnc {}", command.name)));
    CHECK(contains(help.out, fmt::format("Examples:\n  cnnc {}", command.name)));
  }
}

TEST_CASE("compile: a library and its header, without any other program")
{
  const Folder folder;
  folder.add_example("lenet5.yaml");
  const Result result = folder.run({"lenet5.yaml", "-o", "lenet5.so"}, [] {
    clearenv();
    setenv("PATH", "/nonexistent", 1);
  });
  CHECK(result.code == 0);
  CHECK(result.out == "");
  CHECK(result.err == "");
  CHECK(folder.files() == std::set<std::string>{"lenet5.yaml", "lenet5.so", "lenet5.h"});
  CHECK(contains(folder.read("lenet5.h"), "lenet5_forward"));
  const Result info = folder.run({"info", "lenet5.so"});
  CHECK(info.code == 0);
  CHECK(contains(info.out, "image f32[n,1,28,28]"));
  CHECK(contains(info.out, "conv1"));
  // Without -o: the file's name, here.
  folder.run({"lenet5.yaml", "-march=x86-64-v2", "-O1"});
  CHECK(contains(folder.run({"info", "lenet5.so"}).out, "-O1 for x86-64-v2"));
  // A pipe or a full disk is no reason to leave half a file.
  const std::string good = folder.read("lenet5.so");
  folder.add("bad.yaml", "input: {image: [1]}\nlayers: [conv2d]\n");
  CHECK(folder.run({"bad.yaml", "-o", "lenet5.so"}).code == 1);
  CHECK(folder.read("lenet5.so") == good);
}

TEST_CASE("the header must not replace the input")
{
  const Folder folder;
  folder.add("net.yaml", small);
  fs::create_hard_link(folder.path / "net.yaml", folder.path / "out.h");
  CHECK(folder.run({"net.yaml", "-o", "out.so"}).code == 2);
  CHECK(folder.read("net.yaml") == small);
}

TEST_CASE("text out, text in: the same results from every level")
{
  const Folder folder;
  folder.add("small.yaml", small);
  Tensor x(DType::f32, {5, 1, 8, 8});
  for (int64_t i = 0; i < x.size(); ++i)
    x.set(i, random_unit(seed_key(5), static_cast<uint64_t>(i)));
  write_npy((folder.path / "x.npy").string(), x);
  REQUIRE(folder.run({"run", "small.yaml", "--input", "x.npy", "--output", "wanted.npy"}).code == 0);
  const std::string wanted = folder.read("wanted.npy");
  REQUIRE(wanted.size() > 128);
  const std::vector<std::vector<std::string>> ways{{"--emit=graph"},
                                                   {"--emit=loops"},
                                                   {"--print-ir-after=fuse_epilogue"},
                                                   {"--print-ir-after=lower"},
                                                   {"--print-ir-after=unroll"},
                                                   {"--passes=remove_dead,fold_views", "--emit=graph"}};
  for (const auto& way : ways) {
    CAPTURE(way[0]);
    std::vector<std::string> arguments{"small.yaml"};
    arguments.insert(arguments.end(), way.begin(), way.end());
    const Result text = folder.run(arguments);
    CHECK(text.code == 0);
    folder.add("again.ir", text.out);
    const Result run = folder.run({"run", "again.ir", "--input", "x.npy", "--output", "got.npy"});
    CHECK_MESSAGE(run.code == 0, run.err);
    const Tensor got = read_npy((folder.path / "got.npy").string()),
                 want = read_npy((folder.path / "wanted.npy").string());
    REQUIRE(got.dims == want.dims);
    for (int64_t i = 0; i < got.size(); ++i)
      CHECK(got.get(i) == doctest::Approx(want.get(i)).epsilon(1e-5));
  }
  // Places that do not hold what lies there are not believed.
  const std::string loops = folder.run({"small.yaml", "--emit=loops"}).out;
  std::string wrong = loops;
  const size_t workspace = wrong.find("workspace fixed");
  REQUIRE(workspace != std::string::npos);
  wrong.replace(workspace, wrong.find('\n', workspace) - workspace, "workspace fixed 0 image 64 thread 0");
  folder.add("wrong.ir", wrong);
  CHECK(folder.run({"wrong.ir", "--emit=loops"}).out == loops);
  CHECK(contains(folder.run({"small.yaml", "--emit=llvm"}).out, "define "));
  CHECK(contains(folder.run({"small.yaml", "--emit=asm"}).out, ".text"));
  CHECK(contains(folder.run({"small.yaml", "--emit=asm", "-o", "-"}).out, ".text"));
  CHECK(folder.run({"small.yaml", "--emit=obj"}).code == 0);
  CHECK(folder.read("small.o").starts_with("\x7f"
                                           "ELF"));
  // One dump a pass, and a remark with its line.
  CHECK(contains(folder.run({"small.yaml", "--print-ir-after=all"}).out, "plan_memory"));
  const Result explained = folder.run({"small.yaml", "--explain", "--time-passes", "-v"});
  CHECK(contains(explained.out, "small.yaml:"));
  CHECK(contains(explained.out, "fuse_epilogue"));
  CHECK(contains(explained.out, "wrote small.so and small.h"));
}

// How many lines in a row name the instruction, at the most.
static int longest_run(const std::string& text, const std::string& instruction)
{
  int longest = 0, run = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    run = contains(line, instruction) ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return longest;
}

TEST_CASE("what is done with a sum at its end stands beside its store")
{
  Folder folder;
  folder.add("ends.yaml", "name: ends\ninput:\n  x: {shape: [4, 56, 56]}\nlayers:\n"
                          "  - conv2d: {filters: 24, kernel: 1}\n"
                          "  - conv2d: {filters: 144, kernel: 1}\n  - relu6\n"
                          "  - conv2d: {filters: 144, kernel: 3, padding: 1, groups: 144}\n  - relu6\n"
                          "  - conv2d: {filters: 24, kernel: 1}\n");
  // A processor for which LLVM's own order has them in groups.
  const Result assembly = folder.run({"ends.yaml", "--emit=asm", "-march=znver4"});
  REQUIRE_MESSAGE(assembly.code == 0, assembly.err);
  CHECK(longest_run(assembly.out, "vfmadd") > 8); // many accumulators
  CHECK(longest_run(assembly.out, "vminps") > 0);
  CHECK(longest_run(assembly.out, "vminps") < 4);
  CHECK(longest_run(assembly.out, "vmaxps") < 4);
}

TEST_CASE("large tensors lie beside the text")
{
  const Folder folder;
  std::string weights;
  for (int i = 0; i < 81; ++i)
    weights += fmt::format("{}[[[{}]]]", i ? ", " : "", 0.25 * i);
  folder.add("net.yaml",
             "input: {image: [1, 1, 1]}\nlayers:\n  - conv2d: {filters: 81, kernel: 1, weights: {weight: [" + weights +
                 "]}}\n");
  CHECK(contains(folder.run({"net.yaml", "--emit=graph"}).err, "large tensors are only named"));
  CHECK(folder.run({"net.yaml", "--emit=graph", "-o", "net.ir"}).code == 0);
  CHECK(read_safetensors((folder.path / "net.ir.safetensors").string()).at("conv1.weight").get(80) == 20);
  folder.add("one.pgm", std::string("P5 1 1 255\n\xff"));
  CHECK(contains(folder.run({"run", "net.ir", "--input", "one.pgm"}).out, "20"));
  fs::remove(folder.path / "net.ir.safetensors");
  CHECK(folder.run({"net.ir"}).code == 3);
}

TEST_CASE("run: the lecture's filter, Sobel on a picture")
{
  const Folder folder;
  folder.add_example("lecture_filter.yaml");
  folder.add_example("sobel.yaml");
  Tensor picture(DType::f32, {1, 5, 5});
  const std::vector<int> pixels{1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0};
  for (size_t i = 0; i < pixels.size(); ++i)
    picture.set(static_cast<int64_t>(i), pixels[i]);
  write_npy((folder.path / "picture.npy").string(), picture);
  const Result filtered = folder.run({"run", "lecture_filter.yaml", "--input", "picture.npy"});
  CHECK(filtered.code == 0);
  CHECK(contains(filtered.out, "  4 3 4\n  2 4 3\n  2 3 4\n"));

  // A bright square on black: strong at its sides, nothing inside.
  std::string pgm = "P5 256 256 255\n";
  for (int y = 0; y < 256; ++y)
    for (int x = 0; x < 256; ++x)
      pgm += x >= 64 && x < 192 && y >= 64 && y < 192 ? '\xff' : '\0';
  folder.add("square.pgm", pgm);
  CHECK(folder.run({"run", "sobel.yaml", "--input", "square.pgm", "--output", "edges.npy"}).code == 0);
  const Tensor edges = read_npy((folder.path / "edges.npy").string());
  CHECK(edges.dims == std::vector<int64_t>{1, 1, 256, 256});
  CHECK(edges.get(128 * 256 + 64) == 4);
  CHECK(edges.get(128 * 256 + 128) == 0);
  CHECK(edges.get(64 * 256 + 64) == doctest::Approx(std::sqrt(18.0)));
  CHECK(folder.run({"run", "sobel.yaml", "--input", "square.pgm", "--output", "edges.png"}).code == 0);
  CHECK(folder.read("edges.png").starts_with("\x89PNG"));
}

TEST_CASE("run: several inputs and outputs by name, as text, files and JSON")
{
  const Folder folder;
  folder.add("two.ir", "net @two(%a: f32[n,2], %b: f32[n,2]) {\n  %sum = add %a, %b : f32[n,2]\n"
                       "  %product = mul %a, %b : f32[n,2]\n  output %sum, %product\n}\n");
  Tensor a(DType::f32, {3, 2}), b(DType::f32, {3, 2});
  for (int64_t i = 0; i < a.size(); ++i) {
    a.set(i, static_cast<double>(i));
    b.set(i, 2);
  }
  write_npy((folder.path / "a.npy").string(), a);
  write_npy((folder.path / "b=1.npy").string(), b); // a file's name may have an equals sign
  write_npy((folder.path / "one.npy").string(), Tensor(DType::f32, {1, 2}));
  for (const std::vector<std::string>& inputs :
       std::vector<std::vector<std::string>>{{"a.npy", "b=1.npy"}, {"b=b=1.npy", "a=a.npy"}, {"b=b=1.npy", "a.npy"}}) {
    std::vector<std::string> arguments{"run",      "two.ir",    "--output", "product=p.npy",
                                       "--output", "sum=s.npy", "--batch",  "2"};
    for (const std::string& input : inputs)
      arguments.insert(arguments.end(), {"--input", input});
    const Result result = folder.run(arguments);
    CHECK_MESSAGE(result.code == 0, result.err);
    CHECK(result.out == "");
    CHECK(read_npy((folder.path / "p.npy").string()).get(5) == 10);
    CHECK(read_npy((folder.path / "s.npy").string()).get(5) == 7);
    fs::remove(folder.path / "p.npy");
    fs::remove(folder.path / "s.npy");
  }
  const std::vector<std::string> run{"run", "two.ir", "--input", "a.npy", "--input", "b=1.npy"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), run.begin(), run.end());
    return folder.run(more);
  };
  const auto json = nlohmann::json::parse(with({"--json", "--top", "1"}).out);
  CHECK(json["outputs"][1]["name"] == "product");
  CHECK(json["outputs"][1]["shape"] == nlohmann::json{3, 2});
  CHECK(json["outputs"][1]["values"] == nlohmann::json{0, 2, 4, 6, 8, 10});
  CHECK(json["outputs"][1]["top"][2][0]["class"] == 1);
  CHECK(with({"--output", "y.npy"}).code == 2);
  CHECK(contains(with({"--output", "x=y.npy"}).err, "no output 'x' (outputs: sum, product)"));
  CHECK(contains(with({"--output", "sum=a.npy"}).err, "is the input"));
  CHECK(contains(folder.run({"run", "two.ir", "--input", "a.npy"}).err, "the input 'b' is missing"));
  CHECK(contains(folder.run({"run", "two.ir", "--input", "a.npy", "--input", "one.npy"}).err,
                 "a.npy has 3 images, one.npy has 1"));
}

TEST_CASE("run: pictures as the network wants them, classes by name, weights of every form")
{
  const Folder folder;
  const std::string net =
      "input:\n  image: {shape: [3, 2, 2], order: bgr, scale: 1, mean: [1, 2, 3], std: 2, resize: 2}\n"
      "layers:\n  - conv2d: {filters: 3, kernel: 2, bias: false}\n";
  folder.add("net.yaml", net);
  folder.add("red.ppm", std::string("P6 4 2 255\n") + std::string(24, '\x0b')); // wider: its middle is taken
  folder.add("labels.txt", "first\r\nsecond\x1b[1m\nthird, with a comma\n\n");
  Tensor weight(DType::f32, {3, 3, 2, 2});
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t o = 0; o < 3; ++o)
      weight.set(o * 12 + o * 4 + i, 0.25); // the mean of a channel
  write_npy((folder.path / "weight.npy").string(), weight);
  fs::create_directories(folder.path / "w" / "conv1");
  fs::copy(folder.path / "weight.npy", folder.path / "w" / "conv1" / "weight.npy");
  const std::vector<std::string> ways{"w", "weight.npy"};
  for (const std::string& weights : ways) {
    const Result result =
        folder.run({"run", "net.yaml", "--image", "red.ppm", "--weights", weights, "--labels", "labels.txt"});
    CHECK_MESSAGE(result.code == 0, result.err);
    // (11 - 1) / 2, (11 - 2) / 2, (11 - 3) / 2
    CHECK(result.out == "conv1:\n           5  first\n         4.5  second?[1m\n           4  third, with a comma\n");
  }
  // The same out of a library, which carries the text; options replace it.
  CHECK(folder.run({"net.yaml", "--weights", "w", "-o", "net.so"}).code == 0);
  CHECK(folder.run({"run", "net.so", "--image", "red.ppm"}).out == "conv1:  0 (5)  1 (4.5)  2 (4)\n");
  CHECK(folder.run({"run", "net.so", "--image", "red.ppm", "--mean", "0", "--std", "1", "--top", "1"}).out ==
        "conv1:  0 (11)\n");
  CHECK(folder.run({"run", "net.so", "--image", "red.ppm", "--image", "red.ppm", "--top", "1"}).out ==
        "conv1 0:  0 (5)\nconv1 1:  0 (5)\n");
  folder.add("two.txt", "a\nb\n");
  CHECK(contains(folder.run({"run", "net.so", "--image", "red.ppm", "--labels", "two.txt"}).err,
                 "two.txt: has 2 labels, the output 'conv1' has 3 classes"));
  write_npy((folder.path / "w" / "conv1" / "weight.npy").string(), Tensor(DType::f32, {3, 3}));
  const Result wrong = folder.run({"run", "net.yaml", "--image", "red.ppm", "--weights", "w"});
  CHECK(wrong.code == 1);
  CHECK(contains(wrong.err, "'conv1.weight' has the shape [3,3], the network wants [3,3,2,2]"));
}

TEST_CASE("bench: forward and the training step")
{
  const Folder folder;
  folder.add("small.yaml", small);
  const Result text = folder.run({"bench", "small.yaml", "--seconds", "0.01", "--threads", "1"});
  CHECK(text.code == 0);
  CHECK(text.err == "");
  CHECK(contains(text.out, "small forward, batch 1, 1 thread: median "));
  for (const bool train : {false, true}) {
    std::vector<std::string> arguments{"bench", "small.yaml", "--seconds", "0", "--batch", "3", "--json"};
    if (train)
      arguments.push_back("--train");
    const auto json = nlohmann::json::parse(folder.run(arguments).out);
    CHECK(json["function"] == (train ? "train_step" : "forward"));
    CHECK(json["batch"] == 3);
    CHECK(json["calls"] == 3);
    CHECK(json["minimum_ms"] <= json["median_ms"]);
    CHECK(json["spread_ms"] >= 0);
    CHECK(json["peak_gflops"] > 0);
    CHECK(json["dram_gb_per_second"] > 0);
    CHECK(json["l2_gb_per_second"] > 0);
    double operations = 0;
    for (const auto& kernel : json["kernels"]) {
      CHECK(kernel["ms"] >= 0);
      CHECK(kernel["bytes"] > 0);
      CHECK(kernel["line"] >= 0); // 0: the step counter stands in no file
      CHECK(kernel["layers"] != "");
      CHECK((kernel["bound_by"] == "compute" || kernel["bound_by"] == "L2" || kernel["bound_by"] == "DRAM"));
      operations += kernel["operations"].get<double>();
    }
    CHECK(operations > 0);
    if (!train) { // two for each multiply-add of three images, whatever has been fused
      const Network network = read_network((folder.path / "small.yaml").string());
      double wanted = 0;
      for (const OpCost& cost : costs_of(network.forward))
        wanted += 6 * static_cast<double>(cost.multiply_adds);
      CHECK(operations == wanted);
    }
  }
}

TEST_CASE("tune: a file beside the network, which every command that compiles takes")
{
  const Folder folder;
  folder.add("small.yaml", small);
  const Result tuned = folder.run({"tune", "small.yaml", "--budget", "15s", "--threads", "1"});
  CHECK(tuned.code == 0);
  CHECK(contains(tuned.out, "wrote small.tune"));
  CHECK(folder.files() == std::set<std::string>{"small.yaml", "small.tune"});
  const std::string text = folder.read("small.tune");
  CHECK(contains(text, "\ncnnc-tune 1\nnetwork small\nmachine "));
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"small.yaml", "-o", "small.so"}, {"bench", "small.yaml", "--seconds", "0"}}) {
    const Result result = folder.run(command);
    CHECK(result.code == 0);
    CHECK(result.err.empty());
  }
  folder.add("small.tune", "cnnc-tune 1\nmachine pdp11 0\nkernel k tile n\n");
  const Result other = folder.run({"bench", "small.yaml", "--seconds", "0"});
  CHECK(other.code == 0);
  CHECK(contains(other.err, "small.tune: warning: it was measured on a machine 'pdp11'"));
  CHECK(folder.run({"bench", "small.yaml", "--seconds", "0", "--no-tune"}).err.empty());
  folder.add("small.tune", "cnnc-tune 1\nmachine pdp11\n");
  const Result bad = folder.run({"bench", "small.yaml", "--seconds", "0"});
  CHECK(bad.code == 1);
  CHECK(contains(bad.err, "small.tune:2:14: error: the key of its features is missing"));
}

TEST_CASE("inputs must fit")
{
  const Folder folder;
  folder.add("small.yaml", small);
  write_npy((folder.path / "wrong.npy").string(), Tensor(DType::f32, {3, 8, 8}));
  const Result wrong = folder.run({"run", "small.yaml", "--input", "wrong.npy"});
  CHECK(wrong.code == 1);
  CHECK(contains(wrong.err, "wrong.npy has the shape [3,8,8], the input 'image' is [n,1,8,8]"));
  write_npy((folder.path / "none.npy").string(), Tensor(DType::f32, {0, 1, 8, 8}));
  CHECK(folder.run({"run", "small.yaml", "--input", "none.npy"}).code == 1);
  folder.add("cut.npy", folder.read("wrong.npy").substr(0, 200));
  CHECK(folder.run({"run", "small.yaml", "--input", "cut.npy"}).code == 1);
}

TEST_CASE("train, test, run: the same bits from the same seed, whatever the threads")
{
  const Folder folder;
  folder.add("small.yaml", small);
  add_data(folder, "data", 200, 60);
  const Result train = folder.run({"train", "small.yaml", "--threads", "2", "-o", "a.safetensors"});
  CHECK(train.code == 0);
  CHECK_MESSAGE(contains(train.out, "test accuracy 100.00 %; weights in a.safetensors"), train.out);
  CHECK(contains(train.err, "epoch 2"));
  CHECK(std::count(train.err.begin(), train.err.end(), '\n') == 2); // in a pipe a line an epoch
  for (const char c : {'\x1b', '\r', '\b'})                         // not a terminal
    CHECK(!contains(train.out + train.err, std::string(1, c)));
  CHECK(folder.run({"train", "small.yaml", "--threads", "1", "-o", "b.safetensors"}).code == 0);
  CHECK(folder.read("a.safetensors") == folder.read("b.safetensors"));
  CHECK(folder.run({"train", "small.yaml", "--seed", "2", "-o", "c.safetensors"}).code == 0);
  CHECK(folder.read("a.safetensors") != folder.read("c.safetensors"));

  CHECK(contains(folder.run({"test", "small.yaml", "--weights", "a.safetensors"}).out, "60 of 60 right: 100.00 %"));
  const Result random = folder.run({"test", "small.yaml", "--show", "2"});
  CHECK(contains(random.err, "these are random ones"));

  // The same out of a library, with weights inside.
  CHECK(folder.run({"small.yaml", "--train", "--weights", "a.safetensors", "-o", "small.so"}).code == 0);
  const Result inside = folder.run({"test", "small.so", "--threads", "1"});
  CHECK(contains(inside.out, "60 of 60 right"));
  CHECK(inside.err == "");
  CHECK(folder.run({"train", "small.so", "--epochs", "1", "-o", "d.safetensors"}).code == 0);
  CHECK(folder.run({"small.yaml", "-o", "forward.so"}).code == 0);
  const Result forward_only = folder.run({"train", "forward.so", "-o", "e.safetensors"});
  CHECK(forward_only.code == 1);
  CHECK(contains(forward_only.err, "compiled without the training step"));

  const Result told = folder.run({"run", "small.so", "--input", "data/t10k-images-idx3-ubyte", "--top", "1"});
  CHECK(told.code == 0);
  CHECK(std::count(told.out.begin(), told.out.end(), '\n') == 60);
}

TEST_CASE("training does not cost an earlier one by a name that cnnc chose")
{
  const Folder folder;
  folder.add("small.yaml", small);
  add_data(folder, "data", 32, 8);
  const std::vector<std::string> train{"train", "small.yaml", "--epochs", "1"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), train.begin(), train.end());
    return folder.run(more);
  };
  CHECK(contains(with({}).out, "1 epoch, batches of 16"));
  const std::string first = folder.read("small.safetensors");
  const Result again = with({"--seed", "2"});
  CHECK(again.code == 2);
  CHECK(contains(again.err, "small.safetensors is there already"));
  CHECK(folder.read("small.safetensors") == first);
  CHECK(with({"--seed", "2", "--force"}).code == 0);
  const std::string second = folder.read("small.safetensors");
  CHECK(second != first);
  CHECK(with({"-o", "small.safetensors"}).code == 0);
  CHECK(folder.read("small.safetensors") == first);
}

TEST_CASE("an interrupted training goes on where it stopped")
{
  const Folder folder;
  folder.add("small.yaml", small);
  add_data(folder, "data", 2000, 40);
  const std::vector<std::string> train{"train", "small.yaml", "--threads", "1", "--epochs", "60", "-o"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = train;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  // Nobody trains for hours to hear this at the end.
  const auto nowhere = folder.run(with({"nowhere/w.safetensors"}));
  CHECK(nowhere.code == 3);
  CHECK(nowhere.out.empty());
  REQUIRE(folder.run(with({"whole.safetensors"})).code == 0);
  const pid_t child = folder.start(with({"part.safetensors"}));
  // Training has begun once it speaks of an epoch.
  while (!contains(contents(folder.path.string() + ".err"), "epoch"))
    usleep(1000);
  kill(child, SIGINT);
  const Result interrupted = folder.finish(child);
  if (interrupted.code == 0) {
    MESSAGE("training was faster than the signal");
    return;
  }
  CHECK(interrupted.code == 130);
  CHECK(contains(interrupted.out, "go on with --resume part.safetensors"));
  CHECK(folder.run({"test", "small.yaml", "--weights", "part.safetensors"}).code == 0);
  CHECK(folder.run(with({"rest.safetensors", "--resume", "part.safetensors"})).code == 0);
  CHECK(folder.read("rest.safetensors") == folder.read("whole.safetensors"));
}

TEST_CASE("gradcheck: every gradient of some networks")
{
  const Folder folder;
  const std::string head = "input: {image: [2, 7, 6]}\nlayers:\n";
  const std::vector<std::string> networks{
      small,
      head + "  - conv2d: {filters: 4, kernel: [3, 2], stride: 2, padding: [1, 0, 2, 1], groups: 2}\n  - tanh\n",
      head +
          "  - conv2d: {filters: 3, kernel: 3, dilation: 2, padding: same, flip: true}\n  - avg_pool2d: {kernel: 2}\n",
      head + "  - local2d: {filters: 2, kernel: 3}\n  - sigmoid\n  - global_avg_pool\n",
      head + "  - leaky_relu: {name: a}\n  - sigmoid: {name: b, from: image}\n  - add: {from: [a, b], name: c}\n"
             "  - concat: {from: [a, c]}\n  - flatten\n  - dense: {units: 3}\n  - softmax\n",
      "input: {image: [2, 7, 6]}\nops:\n  swish: {inputs: [x], formula: \"y[...] = x[...] / (1 + exp(-x[...]))\"}\n"
      "layers:\n  - conv2d: {filters: 2, kernel: 3}\n  - swish\n"};
  for (const std::string& network : networks) {
    CAPTURE(network);
    folder.add("net.yaml", network);
    for (const char* level : {"-O0", "-O2"}) {
      const Result result = folder.run({"gradcheck", "net.yaml", level});
      CHECK_MESSAGE(result.code == 0, result.out, result.err);
      CHECK(contains(result.out, "all gradients agree"));
      CHECK(contains(result.out, "image"));
    }
  }
}

TEST_CASE("narrow terminals and pipes")
{
  const Folder folder;
  folder.add_example("lenet5.yaml");
  const Result wide = folder.run({"info", "lenet5.yaml"});
  CHECK(contains(wide.out, "receptive field"));
  CHECK(contains(wide.out, "61,706"));
  CHECK(!contains(wide.out, "\x1b"));
  for (const int columns : {30, 50, 70}) {
    const Result narrow =
        folder.run({"info", "lenet5.yaml"}, [&] { setenv("COLUMNS", std::to_string(columns).c_str(), 1); });
    CHECK(narrow.code == 0);
    CHECK(contains(narrow.out, "too narrow for"));
    std::istringstream lines(narrow.out);
    for (std::string line; std::getline(lines, line) && !line.starts_with("(");)
      CHECK(static_cast<int>(line.size()) <= columns);
  }
  // Nobody reads any more: the program ends without a word.
  const Result closed = folder.run({"lenet5.yaml", "--emit=llvm"}, [] {
    int pipe_ends[2];
    if (pipe(pipe_ends) != 0)
      _exit(99);
    close(pipe_ends[0]);
    dup2(pipe_ends[1], STDOUT_FILENO);
  });
  CHECK(closed.code == 128 + SIGPIPE);
  CHECK(closed.err == "");
  const Result full = folder.run({"info", "lenet5.yaml"}, [] { dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO); });
  CHECK(full.code == 3);
  CHECK(contains(full.err, "cannot write standard output"));
}

TEST_CASE("the schema knows every op and its keys")
{
  const Folder folder;
  const Result result = folder.run({"schema"});
  CHECK(result.code == 0);
  const auto schema = nlohmann::json::parse(result.out);
  const auto& layers = schema["properties"]["layers"]["items"]["anyOf"][2]["properties"];
  for (const OpDef* def : op_table()) {
    CAPTURE(def->name);
    if (def->is_internal)
      CHECK_FALSE(layers.contains(def->name));
    if (def->is_loss || def->is_optimizer || def->is_internal)
      continue;
    const auto& layer = layers.at(def->name);
    const auto& properties = layer.contains("anyOf") ? layer["anyOf"][0]["properties"] : layer["properties"];
    for (const std::vector<AttributeDef>* defs : {&def->attributes, &def->layer})
      for (const AttributeDef& attribute : *defs)
        CHECK(properties.contains(attribute.name));
    CHECK(properties.contains("from"));
  }
  CHECK(schema["properties"]["train"]["properties"]["optimizer"]["anyOf"][1]["properties"].contains("adam"));
}
