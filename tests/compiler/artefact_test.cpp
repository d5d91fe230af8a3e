// Libraries: what they export and need, what they tell, that they compute the same as the JIT and the interpreter, and
// what is refused.
#include "compiler/artefact.h"
#include "compiler/compile.h"
#include "compiler/header_writer.h"
#include "compiler/interface.h"
#include "compiler/llvm/linked_file.h"
#include "compiler/load.h"
#include "compiler/machine.h"
#include "compiler/note.h"
#include "tests/folder.h"

#include <doctest/doctest.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <filesystem>
#include <fstream>
#include <set>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

using namespace cnnc;
using cnnc::test::Folder;

namespace {

namespace fs = std::filesystem;

const char* const yaml = R"(name: tiny
input: {image: [2, 8, 8]}
layers:
  - conv2d: {filters: 5, kernel: 3, padding: 1}
  - relu
  - max_pool2d: {kernel: 2, stride: 2}
  - flatten
  - dense: {units: 4, name: logits}
  - softmax
train:
  loss: cross_entropy
  optimizer: {sgd: {learning_rate: 0.1, momentum: 0.9}}
)";

void write_file(const std::string& path, const std::string& bytes)
{
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string read_file(const std::string& path)
{
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Network tiny_network()
{
  Folder folder;
  write_file(folder / "tiny.yaml", yaml);
  return read_network(folder / "tiny.yaml");
}

Compiled tiny(bool train)
{
  CompileOptions options;
  options.train = train;
  return compile(tiny_network(), options);
}

template<class Call>
Error refused(Call call)
{
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  FAIL("nothing was refused");
  throw InternalError("unreachable");
}

struct Memory {
  explicit Memory(int64_t bytes)
      : at(std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64))),
        size(static_cast<size_t>(bytes))
  {
  }
  ~Memory() { std::free(at); }
  Memory(const Memory&) = delete;
  operator void*() const { return at; }
  bool operator==(const Memory& other) const { return size == other.size && std::memcmp(at, other.at, size) == 0; }
  void* at;
  size_t size;
};

Tensor drawn(std::vector<int64_t> dims, uint32_t seed)
{
  Tensor tensor(DType::f32, std::move(dims));
  for (int64_t i = 0; i < tensor.size(); ++i) {
    seed = seed * 1664525 + 1013904223;
    tensor.set(i, static_cast<double>(seed >> 8) * 0x1p-23 - 1);
  }
  return tensor;
}

NamedTensors drawn_weights(const cnn_model& model, uint32_t seed)
{
  NamedTensors weights;
  for (int i = 0; i < model.parameter_count; ++i) {
    const cnn_tensor& tensor = model.parameters[i];
    weights[tensor.name] = drawn({tensor.dims, tensor.dims + tensor.rank}, seed + static_cast<uint32_t>(i));
  }
  return weights;
}

void set(const cnn_model& model, void* block, const NamedTensors& weights)
{
  REQUIRE(model.init_parameters(block, 1) == CNN_OK);
  for (const auto& [name, tensor] : weights)
    REQUIRE(model.set_parameter(block, name.c_str(), tensor.bytes.data(), tensor.size()) == CNN_OK);
}

std::vector<float> forward(const cnn_model& model, const void* parameters, const Tensor& image)
{
  const int64_t n = image.dims[0];
  std::vector<float> softmax(static_cast<size_t>(n * 4));
  const Memory workspace(model.workspace_bytes(n, 1, CNN_FORWARD));
  const void* in[] = {image.bytes.data()};
  void* out[] = {softmax.data()};
  REQUIRE(model.forward(parameters, n, in, out, workspace, nullptr) == CNN_OK);
  return softmax;
}

// Names of the dynamic symbols that are defined, and of the libraries that are needed. The file is our own: trusted.
struct Dynamic {
  explicit Dynamic(const std::string& path)
  {
    const std::string file = read_file(path);
    auto at = [&](uint64_t offset) { return file.data() + offset; };
    Elf64_Ehdr header;
    std::memcpy(&header, file.data(), sizeof header);
    std::vector<Elf64_Shdr> sections(header.e_shnum);
    std::memcpy(sections.data(), at(header.e_shoff), sections.size() * sizeof(Elf64_Shdr));
    for (const Elf64_Shdr& section : sections) {
      const Elf64_Shdr& strings = sections[section.sh_link];
      for (uint64_t o = 0; section.sh_type == SHT_DYNSYM && o < section.sh_size; o += sizeof(Elf64_Sym)) {
        Elf64_Sym symbol;
        std::memcpy(&symbol, at(section.sh_offset + o), sizeof symbol);
        if (symbol.st_shndx != SHN_UNDEF)
          exported.insert(at(strings.sh_offset + symbol.st_name));
      }
      for (uint64_t o = 0; section.sh_type == SHT_DYNAMIC && o < section.sh_size; o += sizeof(Elf64_Dyn)) {
        Elf64_Dyn entry;
        std::memcpy(&entry, at(section.sh_offset + o), sizeof entry);
        if (entry.d_tag == DT_NEEDED)
          needed.insert(at(strings.sh_offset + entry.d_un.d_val));
        if (entry.d_tag == DT_INIT_ARRAY || entry.d_tag == DT_INIT)
          has_constructors = true;
      }
    }
  }
  std::set<std::string> exported, needed;
  bool has_constructors = false;
};

} // namespace

TEST_CASE("library: exports its own names, needs libc and libm, runs nothing when it is loaded")
{
  Folder folder;
  const Compiled compiled = tiny(true);
  write_library(compiled.program, compiled.target, compiled.info(), folder / "tiny.so");
  CHECK(folder.files().size() == 2);
  const Dynamic dynamic(folder / "tiny.so");
  CHECK(dynamic.exported ==
        std::set<std::string>{"tiny", "tiny_forward", "tiny_train_step", "tiny_gradients", "tiny_workspace_bytes",
                              "tiny_init_parameters", "tiny_init_state", "tiny_set_parameter", "tiny_get_parameter",
                              "tiny_set_state", "tiny_get_state", "tiny_load_parameters", "tiny_save_parameters",
                              "tiny_threads_create", "tiny_threads_free", "tiny_error", "tiny_target"});
  for (const std::string& library : dynamic.needed)
    CHECK((library == "libc.so.6" || library == "libm.so.6"));
  CHECK_FALSE(dynamic.has_constructors);
}

TEST_CASE("library: computes what the JIT and the interpreter compute")
{
  Folder folder;
  const Compiled compiled = tiny(true);
  write_library(compiled.program, compiled.target, compiled.info(), folder / "tiny.so");
  const LoadedModel library = LoadedModel::from_library(folder / "tiny.so");
  const LoadedModel jit = LoadedModel::from_program(compiled.program, compiled.target, compiled.info());
  const cnn_model &a = *library.model, &b = *jit.model;
  CHECK(a.fingerprint == b.fingerprint);
  CHECK((a.forward != b.forward)); // each has its own copy of the runtime

  const Network network = tiny_network();
  NamedTensors values = drawn_weights(a, 5);
  Memory pa(a.parameter_bytes), pb(b.parameter_bytes), sa(a.state_bytes), sb(b.state_bytes);
  set(a, pa, values);
  set(b, pb, values);
  CHECK(pa == pb);
  for (const int64_t n : {1, 3, 8}) {
    const Tensor image = drawn({n, 2, 8, 8}, 99);
    values["image"] = image;
    const NamedTensors expected = interpret(network.forward, values, n);
    const std::vector<float> ya = forward(a, pa, image), yb = forward(b, pb, image);
    CHECK(ya == yb);
    const Tensor& softmax = expected.at("softmax");
    for (int64_t i = 0; i < softmax.size(); ++i)
      CHECK(ya[static_cast<size_t>(i)] == doctest::Approx(softmax.get(i)).epsilon(1e-5));
  }

  // Gradients and one step against each other: weight - 0.1 * gradient, since velocities start at zero.
  REQUIRE(a.init_state(sa, 1) == CNN_OK);
  REQUIRE(b.init_state(sb, 1) == CNN_OK);
  const Tensor image = drawn({6, 2, 8, 8}, 7);
  const int32_t label[] = {0, 1, 2, 3, 3, 1};
  const void* in[] = {image.bytes.data(), label};
  float loss_a = 0, loss_b = 0, loss = 0;
  const Memory gradients(a.parameter_bytes);
  const Memory workspace(std::max(a.workspace_bytes(6, 1, CNN_TRAIN), a.workspace_bytes(6, 1, CNN_GRADIENTS)));
  REQUIRE(a.gradients(pa, sa, 6, in, &loss, gradients, workspace, nullptr) == CNN_OK);
  REQUIRE(a.train_step(pa, sa, 6, in, &loss_a, workspace, nullptr) == CNN_OK);
  REQUIRE(b.train_step(pb, sb, 6, in, &loss_b, workspace, nullptr) == CNN_OK);
  CHECK(loss_a == loss_b);
  CHECK(loss == doctest::Approx(loss_a));
  CHECK(pa == pb);
  CHECK(sa == sb);
  const Tensor softmax_before = [&] {
    values["image"] = image;
    return interpret(network.forward, values, 6).at("softmax");
  }();
  double cross_entropy = 0;
  for (int64_t i = 0; i < 6; ++i)
    cross_entropy -= std::log(softmax_before.get(i * 4 + label[i])) / 6;
  CHECK(loss_a == doctest::Approx(cross_entropy).epsilon(1e-5));
  for (int i = 0; i < a.parameter_count; ++i) {
    const Tensor& before = values.at(a.parameters[i].name);
    std::vector<float> after(static_cast<size_t>(before.size())), gradient(after.size());
    REQUIRE(a.get_parameter(pa, a.parameters[i].name, after.data(), before.size()) == CNN_OK);
    REQUIRE(a.get_parameter(gradients, a.parameters[i].name, gradient.data(), before.size()) == CNN_OK);
    double largest = 0;
    for (size_t k = 0; k < after.size(); ++k) {
      CHECK(after[k] == doctest::Approx(before.get(static_cast<int64_t>(k)) - 0.1 * gradient[k]).epsilon(1e-5));
      largest = std::max(largest, std::abs(static_cast<double>(gradient[k])));
    }
    CHECK(largest > 0);
  }
}

TEST_CASE("library: without --train there is no train_step")
{
  const Compiled compiled = tiny(false);
  const LoadedModel loaded = LoadedModel::from_program(compiled.program, compiled.target, compiled.info());
  const cnn_model& model = *loaded.model;
  Memory p(model.parameter_bytes), s(model.state_bytes);
  REQUIRE(model.init_parameters(p, 1) == CNN_OK);
  float loss;
  CHECK(model.train_step(p, s, 1, nullptr, &loss, nullptr, nullptr) == CNN_NOT_COMPILED);
  CHECK(model.workspace_bytes(1, 1, CNN_TRAIN) == -CNN_NOT_COMPILED);
  CHECK(header_text(interface_of(compiled.program, compiled.info()), compiled.target, compiled.info())
            .find("train_step(tiny") == std::string::npos);
}

TEST_CASE("library: weights travel in it, page-aligned, and are the first values")
{
  Folder folder;
  Compiled compiled = tiny(false);
  const LoadedModel plain = LoadedModel::from_program(compiled.program, compiled.target, compiled.info());
  CHECK(plain.model->embedded == nullptr);
  compiled.weights = drawn_weights(*plain.model, 21);
  Memory block(plain.model->parameter_bytes);
  set(*plain.model, block, compiled.weights);
  const Tensor image = drawn({2, 2, 8, 8}, 3);
  const std::vector<float> expected = forward(*plain.model, block, image);

  write_library(compiled.program, compiled.target, compiled.info(), folder / "tiny.so");
  CHECK(folder.files().size() == 2);
  const LoadedModel library = LoadedModel::from_library(folder / "tiny.so");
  const LoadedModel jit = LoadedModel::from_program(compiled.program, compiled.target, compiled.info());
  for (const cnn_model* model : {library.model, jit.model}) {
    REQUIRE(model->embedded != nullptr);
    CHECK(reinterpret_cast<uintptr_t>(model->embedded) % 4096 == 0);
    CHECK(std::memcmp(model->embedded, block, block.size) == 0);
    CHECK(forward(*model, model->embedded, image) == expected);
    Memory first(model->parameter_bytes);
    REQUIRE(model->init_parameters(first, 77) == CNN_OK);
    CHECK(first == block);
  }

  NamedTensors fewer = compiled.weights;
  fewer.erase("conv1.bias");
  ArtefactInfo info = compiled.info();
  info.weights = &fewer;
  CHECK(std::string(refused([&] { write_library(compiled.program, compiled.target, info, folder / "x.so"); }).what())
            .find("conv1.bias") != std::string::npos);
  fewer["conv1.bias"] = Tensor(DType::f32, {6});
  CHECK(std::string(refused([&] { write_library(compiled.program, compiled.target, info, folder / "x.so"); }).what())
            .find("[6]") != std::string::npos);
  CHECK(folder.files().size() == 2);
}

// Files of a limited size stand for a full disk.
TEST_CASE("library: a disk without room is an error, and nothing is left")
{
  Folder folder;
  const Compiled compiled = tiny(false);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{256 << 10, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const Error error =
      refused([&] { write_library(compiled.program, compiled.target, compiled.info(), folder / "x.so"); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(error.exit_code == 3);
  CHECK(std::string(error.what()).find("cannot write") != std::string::npos);
  CHECK(folder.files().empty());
}

TEST_CASE("library: builds are told apart by their weights")
{
  Folder folder;
  Compiled compiled = tiny(false);
  const LoadedModel plain = LoadedModel::from_program(compiled.program, compiled.target, compiled.info());
  std::set<std::vector<std::byte>> ids;
  for (const uint64_t seed : {1, 2, 1}) {
    compiled.weights = drawn_weights(*plain.model, seed);
    write_library(compiled.program, compiled.target, compiled.info(), folder / "tiny.so");
    LinkedFile file(folder / "tiny.so");
    const auto id = file.build_id();
    CHECK(id.size() == 8);
    ids.emplace(id.begin(), id.end());
  }
  CHECK(ids.size() == 2);
}

TEST_CASE("library: values that stand in the file are embedded, the rest is drawn")
{
  Compiled compiled = tiny(true);
  auto bias = std::make_shared<Tensor>(drawn({5}, 4));
  for (Graph& graph : compiled.program.functions)
    if (const int v = graph.find("conv1.bias"); v >= 0)
      graph.values[static_cast<size_t>(v)].data = bias;
  const LoadedModel loaded = LoadedModel::from_program(compiled.program, compiled.target, compiled.info());
  CHECK(loaded.model->embedded == nullptr); // not all is known
  Memory one(loaded.model->parameter_bytes), two(loaded.model->parameter_bytes);
  REQUIRE(loaded.model->init_parameters(one, 1) == CNN_OK);
  REQUIRE(loaded.model->init_parameters(two, 2) == CNN_OK);
  CHECK_FALSE(one == two);
  float values[5];
  REQUIRE(loaded.model->get_parameter(two, "conv1.bias", values, 5) == CNN_OK);
  CHECK(std::memcmp(values, bias->bytes.data(), sizeof values) == 0);
}

TEST_CASE("library: code for a machine that is not this one says so instead of running")
{
  const Compiled compiled = tiny(false);
  const cnn_model* model = nullptr;
  Target target = compiled.target;
  // No processor has AMD's FMA4 and AVX-512 FP16 at once. The kernels are compiled for them, but must not start.
  target.features += (target.features.empty() ? "" : ",") + std::string("+fma4,+avx512fp16");
  const LoadedModel loaded = LoadedModel::from_program(compiled.program, target, compiled.info());
  model = loaded.model;
  Memory p(model->parameter_bytes), workspace(model->workspace_bytes(1, 1, CNN_FORWARD));
  REQUIRE(model->init_parameters(p, 1) == CNN_OK);
  const Tensor image = drawn({1, 2, 8, 8}, 3);
  float softmax[4];
  const void* in[] = {image.bytes.data()};
  void* out[] = {softmax};
  CHECK(model->forward(p, 1, in, out, workspace, nullptr) == CNN_BAD_CPU);
}

TEST_CASE("library: tells what it is without being loaded, and a file that lies is refused")
{
  Folder folder;
  const Compiled compiled = tiny(true);
  write_library(compiled.program, compiled.target, compiled.info(), folder / "tiny.so");
  const std::string note = read_note(folder / "tiny.so");
  CHECK(note_name(note) == "tiny");
  for (const char* part :
       {R"("shape":["n",2,8,8])", R"("conv1.weight")", R"("march":"native")", R"("needs":[)", "max_pool2d", "cnnc 0."})
    CHECK(note.find(part) != std::string::npos);

  const std::string whole = read_file(folder / "tiny.so"), path = folder / "bad.so";
  auto reads = [&](const std::string& bytes) {
    write_file(path, bytes);
    try {
      return read_note(path) == note;
    } catch (const Error& error) {
      CHECK(error.exit_code == 1);
      return false;
    }
  };
  CHECK(reads(whole));
  CHECK_FALSE(reads(""));
  CHECK_FALSE(reads("no library"));
  for (size_t size = 0; size < 2048; size += 61)
    CHECK_FALSE(reads(whole.substr(0, size)));
  for (size_t at = 0; at < 1024; ++at) { // headers and the note's head: any one byte
    std::string changed = whole.substr(0, 16384);
    changed[at] = static_cast<char>(~changed[at]);
    reads(changed);
  }
  CHECK(refused([&] { read_note(folder / "none.so"); }).exit_code == 3);
  CHECK(refused([&] { read_note(folder.path.string()); }).exit_code == 1);
  CHECK(refused([&] { LoadedModel::from_library("/bin/sh"); }).exit_code == 1);
  CHECK(refused([&] { note_name("{}"); }).exit_code == 1);
  CHECK(refused([&] { note_name("[[[["); }).exit_code == 1);
}

TEST_CASE("library: what cannot be written leaves nothing behind")
{
  Folder folder;
  const Compiled compiled = tiny(false);
  auto write = [&](const std::string& path) {
    return refused([&] { write_library(compiled.program, compiled.target, compiled.info(), path); }).exit_code;
  };
  CHECK(write(folder / "no/such/folder/tiny.so") == 3);
  CHECK(write(folder / "tiny.h") == 2);
  CHECK(write(folder.path.string() + "/") == 2);
  fs::create_directory(folder / "tiny.so");
  CHECK(write(folder / "tiny.so") == 3);
  fs::create_directory(folder / "other.h"); // in the header's place
  CHECK(write(folder / "other.so") == 3);
  CHECK(folder.files().size() == 2);
}

TEST_CASE("library: several at a time, from several threads")
{
  Folder folder;
  const Compiled compiled = tiny(false);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&, i] {
      ArtefactInfo info = compiled.info();
      info.name = "net" + std::to_string(i);
      write_library(compiled.program, compiled.target, info, folder / (info.name + ".so"));
    });
  for (std::thread& thread : threads)
    thread.join();
  for (int i = 0; i < 3; ++i) {
    const std::string name = "net" + std::to_string(i);
    const LoadedModel loaded = LoadedModel::from_library(folder / (name + ".so"));
    CHECK(loaded.model->name == name);
  }
}

TEST_CASE("library: names that C cannot have, or that are taken, are refused")
{
  const Compiled compiled = tiny(false);
  for (const char* name :
       {"lenet-5", "5net", "class", "for", "cnn", "cnn_net", "_net", "exp", "malloc", "main", "a b"}) {
    ArtefactInfo info = compiled.info();
    info.name = name;
    CAPTURE(name);
    CHECK(refused([&] { interface_of(compiled.program, info); }).exit_code == 1);
  }
  CHECK(c_identifier("lenet-5") == "lenet_5");
  CHECK(c_identifier("5") == "n5");
  CHECK(c_identifier("new") == "new_");
  CHECK(c_identifier("") == "n");
}

TEST_CASE("library: its header compiles as C99 and as C++")
{
  if (std::system("cc --version >/dev/null 2>&1 && c++ --version >/dev/null 2>&1") != 0) {
    MESSAGE("skipped: no C compiler here");
    return;
  }
  Folder folder;
  Compiled compiled = tiny(true);
  // Names that C has otherwise, and a user's text that would end a comment.
  for (Graph& graph : compiled.program.functions)
    for (Value& value : graph.values)
      if (value.kind == ValueKind::input && value.name == "image")
        value.name = "float";
      else if (value.name == "softmax")
        value.name = "batch";
      else if (value.name == "conv1.bias")
        value.name = "*/ int x; /* \\";
  const ArtefactInfo info = compiled.info();
  write_file(folder / "tiny.h", header_text(interface_of(compiled.program, info), compiled.target, info));
  CHECK(std::system(
            ("cc -std=c99 -pedantic -Wall -Wextra -Werror -fsyntax-only -x c " + (folder / "tiny.h")).c_str()) == 0);
  CHECK(std::system(
            ("c++ -std=c++11 -pedantic -Wall -Wextra -Werror -fsyntax-only -x c++ " + (folder / "tiny.h")).c_str()) ==
        0);
}

TEST_CASE("library: the same text as IR and as assembly")
{
  const Compiled compiled = tiny(false);
  const std::string ir = emit(compiled.program, compiled.target, compiled.info(), Emit::llvm);
  CHECK(ir.find("define i32 @tiny_forward(") != std::string::npos);
  CHECK(emit(compiled.program, compiled.target, compiled.info(), Emit::assembly).find("tiny_forward:") !=
        std::string::npos);
  CHECK(emit(compiled.program, compiled.target, compiled.info(), Emit::object).substr(0, 4) == "\177ELF");
}
