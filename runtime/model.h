// A compiled network from C++: blocks of memory, threads and error codes that look after themselves.
#pragma once

#include "ir/tensor.h"
#include "runtime/artefact/cnn.h"

#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace cnnc {

// Zeroed bytes at a multiple of 64. Throws Error where there is not so much memory.
class Block {
public:
  Block() = default;
  explicit Block(int64_t bytes);
  // Somebody else's, to be read only, as long as they are there.
  static Block view(const void* bytes, int64_t size);

  void* data() const { return bytes_.get(); }
  int64_t size() const { return size_; }

private:
  std::unique_ptr<void, void (*)(void*)> bytes_{nullptr, nullptr};
  int64_t size_ = 0;
};

// Throws Error unless the network speaks this program's version of the interface.
void check_version(const cnn_model&);

// Throws Error "lenet5: cannot load w.safetensors: ..." for a code other than CNN_OK; `what` is what was tried. The
// exit code is 3 for files that cannot be read or written; a code that only a mistake of ours can bring is an
// InternalError.
void check(const cnn_model&, int code, std::string_view what);

// The network's own pool of threads; get() is NULL for one thread, as the interface wants it.
class ModelThreads {
public:
  ModelThreads(const cnn_model&, int count); // throws Error
  ~ModelThreads();
  ModelThreads(const ModelThreads&) = delete;
  ModelThreads& operator=(const ModelThreads&) = delete;

  const cnn_threads* get() const { return threads_; }
  int count() const { return threads_ ? threads_->count : 1; }
  // body(i) for i in [0, tasks), in any order, on all threads. The first exception is thrown again at the end: none may
  // pass through the pool, which is C.
  template<class Body>
  void each(int64_t tasks, const Body& body) const
  {
    struct Call {
      const Body& body;
      std::mutex mutex = {};
      std::exception_ptr error = {};
    } call{body};
    auto range = [](void* context, int64_t begin, int64_t end, int) {
      auto& call = *static_cast<Call*>(context);
      try {
        for (int64_t i = begin; i < end; ++i)
          call.body(i);
      } catch (...) {
        const std::lock_guard lock(call.mutex);
        if (!call.error)
          call.error = std::current_exception();
      }
    };
    if (threads_)
      threads_->parallel_for(threads_->pool, tasks, range, &call);
    else
      range(&call, 0, tasks, 0);
    if (call.error)
      std::rethrow_exception(call.error);
  }

private:
  const cnn_model& model_;
  cnn_threads* threads_ = nullptr;
};

// Extents with a batch of n.
std::vector<int64_t> dims_of(const cnn_tensor&, int64_t n);
int64_t elements_of(const cnn_tensor&, int64_t n);
DType dtype_of(const cnn_tensor&);

// Room for a workspace; throws Error.
Block workspace_of(const cnn_model&, int64_t batch, int threads, cnn_mode);

// Parameters: what the library carries, else the first values from the seed. Throws Error.
Block first_parameters(const cnn_model&, uint64_t seed);

// Images of these extents ([C,H,W]) must be what the network reads: one float input of that shape, or flat. Throws
// Error.
void check_images(const cnn_model&, const std::vector<int64_t>& image);
// How many classes the network tells apart: the elements of its first output for one image. Throws Error: not f32.
int64_t classes_of(const cnn_model&);

} // namespace cnnc
