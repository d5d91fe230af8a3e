// LeNet-5 forward on one thread: a compiled lenet5.so against ONNX Runtime, in turns, on the same weights and pictures.
//
//   lenet lenet5.so libonnxruntime.so [batch ...]
//
// Prints one JSON object a batch. The ONNX model is written here, with the parameters that lenet5.so starts from; both
// sides are given their input and output memory once, so that a timed call is the network and nothing else.
#include "runtime/artefact/cnn.h"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace {

[[noreturn]] void fail(const std::string& message)
{
  std::fprintf(stderr, "lenet: %s\n", message.c_str());
  std::exit(1);
}

// ---- protobuf's wire format, as far as an ONNX model needs it: https://protobuf.dev/programming-guides/encoding ----
// A message is a sequence of fields; a key is field << 3 | type, type 0 a varint, type 2 a length and that many bytes.

class Message {
public:
  Message& number(int field, uint64_t value)
  {
    varint(static_cast<uint64_t>(field) << 3);
    varint(value);
    return *this;
  }
  Message& bytes(int field, const std::string& value)
  {
    varint(static_cast<uint64_t>(field) << 3 | 2);
    varint(value.size());
    text += value;
    return *this;
  }
  std::string text;

private:
  void varint(uint64_t value)
  {
    for (; value >= 128; value >>= 7)
      text += static_cast<char>(value | 128);
    text += static_cast<char>(value);
  }
};

// ---- ONNX: fields by number from onnx.proto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto ----

std::string ints_attribute(const char* name, const std::vector<int64_t>& values)
{
  Message attribute;
  attribute.bytes(1, name).number(20, 7); // type: INTS
  for (int64_t value : values)
    attribute.number(8, static_cast<uint64_t>(value));
  return attribute.text;
}

std::string int_attribute(const char* name, int64_t value)
{
  return Message().bytes(1, name).number(20, 2).number(3, static_cast<uint64_t>(value)).text; // type: INT
}

std::string node(const char* op, const std::vector<std::string>& inputs, const std::string& output,
                 const std::vector<std::string>& attributes)
{
  Message node;
  for (const std::string& input : inputs)
    node.bytes(1, input);
  node.bytes(2, output).bytes(4, op);
  for (const std::string& attribute : attributes)
    node.bytes(5, attribute);
  return node.text;
}

std::string value_info(const std::string& name, const std::vector<int64_t>& dims)
{
  Message shape;
  for (int64_t dim : dims)
    shape.bytes(1, Message().number(1, static_cast<uint64_t>(dim)).text);
  std::string tensor = Message().number(1, 1).bytes(2, shape.text).text; // element type 1: float
  return Message().bytes(1, name).bytes(2, Message().bytes(1, tensor).text).text;
}

struct Parameter {
  std::string name;
  std::vector<int64_t> dims;
  std::vector<float> values;
};

std::string initializer(const Parameter& parameter)
{
  Message tensor;
  for (int64_t dim : parameter.dims)
    tensor.number(1, static_cast<uint64_t>(dim));
  std::string raw(reinterpret_cast<const char*>(parameter.values.data()), parameter.values.size() * 4);
  return tensor.number(2, 1).bytes(8, parameter.name).bytes(9, raw).text;
}

// The batch is a number in the model: ONNX Runtime plans more when it knows every shape.
std::string onnx_lenet(const std::vector<Parameter>& parameters, int64_t batch)
{
  if (parameters.size() != 10)
    fail("the network is not LeNet-5: it wants ten parameters");
  auto name = [&](size_t i) { return parameters[i].name; };
  std::string twice = ints_attribute("kernel_shape", {2, 2}), stride = ints_attribute("strides", {2, 2});
  std::string five = ints_attribute("kernel_shape", {5, 5}), transposed = int_attribute("transB", 1);
  Message graph;
  for (const std::string& n :
       {node("Conv", {"image", name(0), name(1)}, "c1", {five, ints_attribute("pads", {2, 2, 2, 2})}),
        node("Relu", {"c1"}, "r1", {}), node("MaxPool", {"r1"}, "p1", {twice, stride}),
        node("Conv", {"p1", name(2), name(3)}, "c2", {five}), node("Relu", {"c2"}, "r2", {}),
        node("MaxPool", {"r2"}, "p2", {twice, stride}), node("Flatten", {"p2"}, "f", {}),
        node("Gemm", {"f", name(4), name(5)}, "d1", {transposed}), node("Relu", {"d1"}, "r3", {}),
        node("Gemm", {"r3", name(6), name(7)}, "d2", {transposed}), node("Relu", {"d2"}, "r4", {}),
        node("Gemm", {"r4", name(8), name(9)}, "logits", {transposed}), node("Softmax", {"logits"}, "y", {})})
    graph.bytes(1, n);
  graph.bytes(2, "lenet5");
  for (const Parameter& parameter : parameters)
    graph.bytes(5, initializer(parameter));
  graph.bytes(11, value_info("image", {batch, 1, 28, 28})).bytes(12, value_info("y", {batch, 10}));
  return Message().number(1, 8).bytes(7, graph.text).bytes(8, Message().bytes(1, "").number(2, 13).text).text;
}

// ---- ONNX Runtime's C interface: its function table only grows at the end, so that positions are its ABI ----
// Order and types: https://github.com/microsoft/onnxruntime, include/onnxruntime/core/session/onnxruntime_c_api.h.

struct OrtApiBase {
  const void* const* (*table)(uint32_t version);
  const char* (*version)();
};

enum Function {
  GET_ERROR_MESSAGE = 2,
  CREATE_ENV = 3,
  CREATE_SESSION_FROM_ARRAY = 8,
  RUN = 9,
  CREATE_SESSION_OPTIONS = 10,
  DISABLE_MEM_PATTERN = 17,
  SET_OPTIMIZATION_LEVEL = 23,
  SET_INTRA_OP_THREADS = 24,
  SET_INTER_OP_THREADS = 25,
  CREATE_TENSOR_WITH_DATA = 49,
  CREATE_CPU_MEMORY_INFO = 69
};

// Objects live until the process ends: they are few.
class OnnxRuntime {
public:
  explicit OnnxRuntime(const char* path)
  {
    void* library = dlopen(path, RTLD_NOW);
    if (!library)
      fail(dlerror());
    auto get = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
    if (!get)
      fail(std::string(path) + " has no OrtGetApiBase");
    version = get()->version();
    table = get()->table(1); // every version since 1.0 offers the positions above
    if (!table)
      fail("ONNX Runtime " + version + " does not offer version 1 of its interface");
    call<int, const char*, void**>(CREATE_ENV, 3, "lenet", &env); // 3: errors only
    call<int, int, void**>(CREATE_CPU_MEMORY_INFO, 0, 0, &memory);
  }

  // Calls `function`, which returns a status that is NULL where all is well.
  template<class... Args>
  void call(Function function, Args... args) const
  {
    void* status = reinterpret_cast<void* (*)(Args...)>(const_cast<void*>(table[function]))(args...);
    if (status)
      fail(reinterpret_cast<const char* (*)(void*)>(const_cast<void*>(table[GET_ERROR_MESSAGE]))(status));
  }

  void* session(const std::string& model, bool mem_pattern) const
  {
    void *options = nullptr, *session = nullptr;
    call<void**>(CREATE_SESSION_OPTIONS, &options);
    call<void*, int>(SET_OPTIMIZATION_LEVEL, options, 99); // all
    call<void*, int>(SET_INTRA_OP_THREADS, options, 1);
    call<void*, int>(SET_INTER_OP_THREADS, options, 1);
    if (!mem_pattern)
      call<void*>(DISABLE_MEM_PATTERN, options);
    call<void*, const void*, size_t, void*, void**>(CREATE_SESSION_FROM_ARRAY, env, model.data(), model.size(), options,
                                                    &session);
    return session;
  }

  void* tensor(std::vector<float>& values, const std::vector<int64_t>& dims) const
  {
    void* tensor = nullptr;
    call<void*, void*, size_t, const int64_t*, size_t, int, void**>(
        CREATE_TENSOR_WITH_DATA, memory, values.data(), values.size() * 4, dims.data(), dims.size(), 1, &tensor);
    return tensor;
  }

  void run(void* session, void* input, void* output) const
  {
    static const char *const in_name = "image", *const out_name = "y";
    const void* inputs[] = {input};
    void* outputs[] = {output};
    call<void*, const void*, const char* const*, const void* const*, size_t, const char* const*, size_t, void**>(
        RUN, session, nullptr, &in_name, inputs, 1, &out_name, 1, outputs);
  }

  std::string version;

private:
  const void* const* table = nullptr;
  void *env = nullptr, *memory = nullptr;
};

// ---- the compiled network ----

class Network {
public:
  explicit Network(const char* path)
  {
    void* library = dlopen(path, RTLD_NOW);
    if (!library)
      fail(dlerror());
    auto get = reinterpret_cast<const cnn_model* (*)()>(dlsym(library, "lenet5"));
    if (!get)
      fail(std::string(path) + " holds no network 'lenet5'");
    model = get();
    if (model->abi_version != CNN_ABI_VERSION)
      fail(std::string(path) + " has another version of the interface");
    parameters = block(model->parameter_bytes);
    check(model->init_parameters(parameters, 1));
  }

  static void* block(int64_t bytes)
  {
    void* memory = std::aligned_alloc(CNN_ALIGNMENT, (static_cast<size_t>(bytes) + 63) / 64 * 64);
    return memory ? memory : (fail("no memory"), nullptr);
  }

  void check(int code) const
  {
    if (code != CNN_OK)
      fail(model->error(code));
  }

  // In the order of the file: weight, bias, weight, bias ...
  std::vector<Parameter> values() const
  {
    std::vector<Parameter> result;
    for (int i = 0; i < model->parameter_count; i++) {
      const cnn_tensor& tensor = model->parameters[i];
      Parameter parameter{tensor.name, {tensor.dims, tensor.dims + tensor.rank}, {}};
      int64_t count = 1;
      for (int64_t dim : parameter.dims)
        count *= dim;
      parameter.values.resize(static_cast<size_t>(count));
      check(model->get_parameter(parameters, tensor.name, parameter.values.data(), count));
      result.push_back(std::move(parameter));
    }
    return result;
  }

  const cnn_model* model;
  void* parameters;
};

// ---- the race ----

struct Runner {
  std::function<void()> run;
  std::vector<double> times; // ms
};

double median(std::vector<double> times)
{
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

// Short turns: what else the machine does, and its clock, then touch all sides alike.
void race(std::vector<Runner>& runners, int rounds, int calls)
{
  using Clock = std::chrono::steady_clock;
  for (int round = 0; round < rounds; round++)
    for (Runner& runner : runners) {
      for (int i = 0; i < calls / 10; i++)
        runner.run(); // its code and weights come back into the caches
      for (int i = 0; i < calls; i++) {
        Clock::time_point from = Clock::now();
        runner.run();
        runner.times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - from).count());
      }
    }
}

double largest_difference(const std::vector<float>& ours, const std::vector<float>& theirs)
{
  double largest = 0;
  for (size_t i = 0; i < ours.size(); i++) {
    double difference = std::abs(static_cast<double>(ours[i]) - theirs[i]) / std::abs(theirs[i]);
    largest = difference <= largest ? largest : difference; // NaN comes out as well
  }
  return largest;
}

void compare(const Network& network, const OnnxRuntime& runtime, int64_t batch)
{
  std::vector<float> image(static_cast<size_t>(batch * 784)), ours(static_cast<size_t>(batch * 10)), theirs(ours);
  for (size_t i = 0; i < image.size(); i++)
    image[i] = static_cast<float>((i * 2654435761u >> 16) % 256) / 255.0f;
  void* workspace = Network::block(network.model->workspace_bytes(batch, 1, CNN_FORWARD));
  const void* inputs[] = {image.data()};
  void* outputs[] = {ours.data()};

  std::string model = onnx_lenet(network.values(), batch);
  void* input = runtime.tensor(image, {batch, 1, 28, 28});
  void* output = runtime.tensor(theirs, {batch, 10});
  std::vector<Runner> runners;
  runners.push_back(
      {[&] { network.check(network.model->forward(network.parameters, batch, inputs, outputs, workspace, nullptr)); },
       {}});
  for (bool mem_pattern : {true, false}) {
    void* session = runtime.session(model, mem_pattern);
    runners.push_back({[&runtime, session, input, output] { runtime.run(session, input, output); }, {}});
  }
  for (size_t i = 0; i < runners.size(); i++) {
    std::fill(theirs.begin(), theirs.end(), 0.0f);
    runners[i].run();
    if (i > 0 && !(largest_difference(ours, theirs) <= 1e-5))
      fail("the outputs differ by " + std::to_string(largest_difference(ours, theirs)) + " of their values");
  }
  race(runners, 40, batch < 8 ? 500 : 40);
  double mine = median(runners[0].times);
  double peer = std::min(median(runners[1].times), median(runners[2].times)); // its better mode
  std::printf("{\"what\": \"lenet5 forward\", \"peer\": \"ONNX Runtime %s\", \"ours_ms\": %.5f, \"peer_ms\": %.5f, "
              "\"ratio\": %.3f, \"threads\": 1, \"batch\": %ld}\n",
              runtime.version.c_str(), mine, peer, peer / mine, static_cast<long>(batch));
  std::fflush(stdout);
  std::free(workspace);
}

} // namespace

int main(int argc, char** argv)
{
  if (argc < 3)
    fail("usage: lenet lenet5.so libonnxruntime.so [batch ...]");
  Network network(argv[1]);
  OnnxRuntime runtime(argv[2]);
  std::vector<int64_t> batches;
  for (int i = 3; i < argc; i++) {
    char* end = nullptr;
    batches.push_back(std::strtol(argv[i], &end, 10));
    if (*end || batches.back() < 1 || batches.back() > 4096)
      fail(std::string("not a batch: ") + argv[i]);
  }
  for (int64_t batch : batches.empty() ? std::vector<int64_t>{1} : batches)
    compare(network, runtime, batch);
}
