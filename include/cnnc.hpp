// Networks compiled by cnnc, from C++17: memory, threads and error codes look after themselves. Needs cnn.h, or the
// network's own header, and nothing else.
//
//   cnnc::Network net(lenet5());                       linked;  or cnnc::Network::open("lenet5.so"), at run time
//   net.load("lenet5.safetensors");
//   cnnc::Session session(net, 2);                     two threads; one session for each thread that calls
//   std::vector<float> image(n * 28 * 28), scores(n * 10);
//   session.forward(n, {image}, {scores});             in the descriptor's order, sizes and types checked
//   float loss = session.train_step(n, {image, label});
//
// A Network may be shared by any number of sessions in any number of threads as long as nobody changes it meanwhile
// (load, set, init, train_step); a Session serves one call at a time.
#pragma once

#include "cnn.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <initializer_list>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <utility>
#include <vector>

namespace cnnc {

// What a network refused; `code` is one of cnn.h's, CNN_OK where the network was not asked.
class Error : public std::runtime_error {
public:
  explicit Error(const std::string& text, int code = CNN_OK) : std::runtime_error(text), code(code) {}
  const int code;
};

// Zeroed bytes at a multiple of 64; large blocks in large pages, where the system has them.
class Block {
public:
  Block() = default;
  explicit Block(int64_t bytes) : size_(bytes)
  {
    constexpr std::size_t large_page = 2 << 20;
    const std::size_t unit = bytes < static_cast<int64_t>(large_page) ? CNN_ALIGNMENT : large_page;
    const std::size_t rounded = (static_cast<std::size_t>(bytes) / unit + 1) * unit;
    bytes_.reset(bytes < 0 ? nullptr : std::aligned_alloc(unit, rounded));
    if (!bytes_)
      throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    if (unit == large_page)
      madvise(bytes_.get(), rounded, MADV_HUGEPAGE);
#endif
    std::memset(bytes_.get(), 0, rounded);
  }
  void* data() const
  {
    return bytes_.get();
  }
  int64_t size() const
  {
    return size_;
  }

private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> bytes_;
  int64_t size_ = 0;
};

template<class T>
constexpr cnn_dtype dtype_of();
template<>
constexpr cnn_dtype dtype_of<float>()
{
  return CNN_F32;
}
template<>
constexpr cnn_dtype dtype_of<double>()
{
  return CNN_F64;
}
template<>
constexpr cnn_dtype dtype_of<uint16_t>()
{
  return CNN_BF16; // the upper half of a float
}
template<>
constexpr cnn_dtype dtype_of<int8_t>()
{
  return CNN_I8;
}
template<>
constexpr cnn_dtype dtype_of<uint8_t>()
{
  return CNN_U8;
}
template<>
constexpr cnn_dtype dtype_of<int32_t>()
{
  return CNN_I32;
}
template<>
constexpr cnn_dtype dtype_of<int64_t>()
{
  return CNN_I64;
}
template<>
constexpr cnn_dtype dtype_of<bool>()
{
  return CNN_BOOL;
}

// The caller's memory with its type and number of elements: made of a vector, an array, or a pointer and a count.
class Input {
public:
  template<class T>
  Input(const T* data, std::size_t count) : data(data),
                                            count(static_cast<int64_t>(count)),
                                            dtype(dtype_of<T>())
  {
  }
  template<class Container, class T = std::remove_pointer_t<decltype(std::declval<const Container&>().data())>>
  Input(const Container& c) : Input(c.data(), c.size())
  {
  }
  const void* data;
  int64_t count;
  cnn_dtype dtype;
};
class Output {
public:
  template<class T>
  Output(T* data, std::size_t count) : data(data),
                                       count(static_cast<int64_t>(count)),
                                       dtype(dtype_of<T>())
  {
  }
  template<class Container, class T = std::remove_pointer_t<decltype(std::declval<Container&>().data())>>
  Output(Container& c) : Output(c.data(), c.size())
  {
  }
  void* data;
  int64_t count;
  cnn_dtype dtype;
};

inline std::vector<int64_t> shape_of(const cnn_tensor& tensor, int64_t batch)
{
  std::vector<int64_t> shape(tensor.dims, tensor.dims + tensor.rank);
  for (int64_t& extent : shape)
    extent = extent < 0 ? -extent * batch : extent;
  return shape;
}

inline int64_t elements_of(const cnn_tensor& tensor, int64_t batch)
{
  int64_t count = 1;
  for (const int64_t extent : shape_of(tensor, batch))
    count *= extent;
  return count;
}

// A compiled network with its parameters and, where it can be trained, its state.
class Network {
public:
  // Parameters: those inside the library, else first values from the seed.
  explicit Network(const cnn_model* model, uint64_t seed = 1) : Network(model, nullptr, seed) {}

  // Loads a library, which runs its code: only for files that are trusted. `name` is the network's; default: the
  // file's, "lenet5" for "lib/lenet5.so".
  static Network open(const std::string& path, std::string name = "", uint64_t seed = 1)
  {
    if (name.empty()) {
      const std::size_t start = path.rfind('/') + 1;
      name = path.substr(start, path.find('.', start) - start);
    }
    // With a slash, or it would be searched for.
    const std::string with_slash = path.find('/') == path.npos ? "./" + path : path;
    std::shared_ptr<void> library(dlopen(with_slash.c_str(), RTLD_NOW | RTLD_LOCAL), [](void* p) {
      if (p)
        dlclose(p);
    });
    if (!library)
      throw Error("cannot load " + path + ": " + dlerror());
    const auto descriptor = reinterpret_cast<const cnn_model* (*)()>(dlsym(library.get(), name.c_str()));
    if (!descriptor)
      throw Error(path + " has no network '" + name + "'");
    return Network(descriptor(), std::move(library), seed);
  }

  const cnn_model& model() const { return *model_; }
  std::string name() const { return model_->name; }
  bool can_train() const { return model_->train_input_count > 0; }

  void load(const std::string& path) { check(model_->load_parameters(own_parameters(), path.c_str()), "load " + path); }
  void save(const std::string& path) const
  {
    check(model_->save_parameters(parameters(), path.c_str()), "save " + path);
  }
  // First values for parameters (those that the library knows, from there) and state.
  void init(uint64_t seed)
  {
    check(model_->init_parameters(own_parameters(), seed), "initialise its parameters");
    if (can_train())
      check(model_->init_state(state(), seed), "initialise its state");
  }

  // One tensor by name, in the standard layout.
  template<class T = float>
  std::vector<T> get(const std::string& parameter) const
  {
    return read<T>(find(model_->parameters, model_->parameter_count, parameter), parameters(), model_->get_parameter);
  }
  void set(const std::string& parameter, Input values)
  {
    const cnn_tensor& tensor = find(model_->parameters, model_->parameter_count, parameter);
    check_argument(tensor, values.dtype, values.count, elements_of(tensor, 1));
    check(model_->set_parameter(own_parameters(), tensor.name, values.data, values.count), "set '" + parameter + "'");
  }
  template<class T = float>
  std::vector<T> get_state(const std::string& name) const
  {
    return read<T>(find(model_->states, model_->state_count, name), state(), model_->get_state);
  }
  void set_state(const std::string& name, Input values)
  {
    const cnn_tensor& tensor = find(model_->states, model_->state_count, name);
    check_argument(tensor, values.dtype, values.count, elements_of(tensor, 1));
    check(model_->set_state(state(), tensor.name, values.data, values.count), "set '" + name + "'");
  }
  void set_learning_rate(float rate) { set_state("learning_rate", {&rate, 1}); }

  // The blocks, for calls of the C interface. Parameters inside the library are used there until they are changed.
  const void* parameters() const { return parameters_.data() ? parameters_.data() : model_->embedded; }
  void* own_parameters()
  {
    if (!parameters_.data()) {
      Block block(model_->parameter_bytes);
      std::memcpy(block.data(), model_->embedded, static_cast<std::size_t>(block.size()));
      parameters_ = std::move(block);
    }
    return parameters_.data();
  }
  void* state() const { return state_.data(); }

  // Throws Error for a code other than CNN_OK.
  void check(int code, const std::string& what) const
  {
    if (code != CNN_OK)
      throw Error(name() + ": cannot " + what + ": " + model_->error(code), code);
  }
  void check_argument(const cnn_tensor& tensor, cnn_dtype dtype, int64_t count, int64_t wanted) const
  {
    if (dtype != tensor.dtype && !(dtype == CNN_U8 && tensor.dtype == CNN_BOOL))
      throw Error(name() + ": '" + tensor.name + "' has elements of another type");
    if (count != wanted)
      throw Error(name() + ": '" + tensor.name + "' has " + std::to_string(wanted) + " elements, " +
                  std::to_string(count) + " are given");
  }

private:
  Network(const cnn_model* model, std::shared_ptr<void> library, uint64_t seed)
      : library_(std::move(library)),
        model_(model)
  {
    if (!model || model->abi_version != CNN_ABI_VERSION || model->struct_size < sizeof(cnn_model))
      throw Error("the network was compiled for another version of the interface: compile it again");
    if (!model->embedded) {
      parameters_ = Block(model->parameter_bytes);
      check(model->init_parameters(parameters_.data(), seed), "initialise its parameters");
    }
    if (can_train()) {
      state_ = Block(model->state_bytes);
      check(model->init_state(state_.data(), seed), "initialise its state");
    }
  }

  const cnn_tensor& find(const cnn_tensor* tensors, int32_t count, const std::string& wanted) const
  {
    for (int32_t i = 0; i < count; ++i)
      if (wanted == tensors[i].name)
        return tensors[i];
    throw Error(name() + " has no tensor '" + wanted + "'", CNN_NOT_FOUND);
  }

  template<class T, class Get>
  std::vector<T> read(const cnn_tensor& tensor, const void* block, Get get) const
  {
    std::vector<T> values(static_cast<std::size_t>(elements_of(tensor, 1)));
    const auto count = static_cast<int64_t>(values.size());
    check_argument(tensor, dtype_of<T>(), count, count);
    check(get(block, tensor.name, values.data(), count), std::string("read '") + tensor.name + "'");
    return values;
  }

  std::shared_ptr<void> library_; // last to go
  const cnn_model* model_;
  Block parameters_, state_;
};

// What a call needs besides the network: threads, and a workspace that grows to the largest batch.
class Session {
public:
  explicit Session(Network& network, int threads = 1) : network_(network)
  {
    cnn_threads* made = nullptr;
    if (threads != 1)
      network.check(model().create_threads(threads, &made), "start its threads");
    threads_ = {made, model().free_threads};
  }

  void forward(int64_t batch, std::initializer_list<Input> inputs, std::initializer_list<Output> outputs)
  {
    void* const work = workspace(batch, CNN_FORWARD); // first: it checks the batch
    const std::vector<const void*> in = bound(inputs, model().inputs, model().input_count, batch);
    const std::vector<void*> out = bound<void*>(outputs, model().outputs, model().output_count, batch);
    network_.check(model().forward(network_.parameters(), batch, in.data(), out.data(), work, threads_.get()),
                   "run forward");
  }

  // Forward, loss, backward, update; the mean loss of the batch.
  float train_step(int64_t batch, std::initializer_list<Input> inputs)
  {
    void* const work = workspace(batch, CNN_TRAIN);
    const std::vector<const void*> in = bound(inputs, model().train_inputs, model().train_input_count, batch);
    float loss = 0;
    network_.check(
        model().train_step(network_.own_parameters(), network_.state(), batch, in.data(), &loss, work, threads_.get()),
        "run a training step");
    return loss;
  }

  // The mean loss; `gradients` (of model().parameter_bytes) is to be read with model().get_parameter.
  float gradients(int64_t batch, std::initializer_list<Input> inputs, const Block& gradients)
  {
    if (gradients.size() < model().parameter_bytes)
      throw Error(network_.name() + ": gradients take a block as large as that of the parameters");
    void* const work = workspace(batch, CNN_GRADIENTS);
    const std::vector<const void*> in = bound(inputs, model().train_inputs, model().train_input_count, batch);
    float loss = 0;
    network_.check(model().gradients(network_.parameters(), network_.state(), batch, in.data(), &loss, gradients.data(),
                                     work, threads_.get()),
                   "run gradients");
    return loss;
  }

private:
  const cnn_model& model() const { return network_.model(); }

  template<class Pointer = const void*, class Given>
  std::vector<Pointer> bound(std::initializer_list<Given> given, const cnn_tensor* tensors, int32_t count,
                             int64_t batch) const
  {
    if (given.size() != static_cast<std::size_t>(count))
      throw Error(network_.name() + ": " + std::to_string(count) + " tensors are wanted, " +
                  std::to_string(given.size()) + " are given");
    std::vector<Pointer> pointers;
    for (const Given& one : given) {
      const cnn_tensor& tensor = tensors[pointers.size()];
      network_.check_argument(tensor, one.dtype, one.count, elements_of(tensor, batch));
      pointers.push_back(one.data);
    }
    return pointers;
  }

  void* workspace(int64_t batch, cnn_mode mode)
  {
    const int64_t bytes = model().workspace_bytes(batch, threads_ ? threads_->count : 1, mode);
    if (bytes < 0)
      network_.check(static_cast<int>(-bytes), "run a batch of " + std::to_string(batch));
    if (!workspace_.data() || workspace_.size() < bytes)
      workspace_ = Block(bytes);
    return workspace_.data();
  }

  Network& network_;
  std::unique_ptr<cnn_threads, void (*)(cnn_threads*)> threads_{nullptr, nullptr};
  Block workspace_;
};

} // namespace cnnc
