// ONNX Runtime's C interface, without its header: the function table only grows at the end, so that positions are its ABI.
// Order and types: https://github.com/microsoft/onnxruntime, include/onnxruntime/core/session/onnxruntime_c_api.h.
// Objects live until the process ends, except sessions, which hold the weights.
#pragma once

#include "bench/fail.h"

#include <dlfcn.h>

#include <cstdint>
#include <string>
#include <vector>

class OnnxRuntime {
public:
  explicit OnnxRuntime(const std::string& path)
  {
    void* library = dlopen(path.c_str(), RTLD_NOW);
    if (!library)
      fail(dlerror());
    auto get = reinterpret_cast<const ApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
    if (!get)
      fail(path + " has no OrtGetApiBase");
    version = get()->version();
    table = get()->table(1); // every version since 1.0 offers the positions below
    if (!table)
      fail("ONNX Runtime " + version + " does not offer version 1 of its interface");
    call<int, const char*, void**>(CREATE_ENV, 3, "bench", &env); // 3: errors only
    call<int, int, void**>(CREATE_CPU_MEMORY_INFO, 0, 0, &memory);
  }

  // Fully optimised, and its threads spin while they wait, as is its default.
  void* session(const std::string& path, int threads, bool memory_pattern) const
  {
    void *options = nullptr, *session = nullptr;
    call<void**>(CREATE_SESSION_OPTIONS, &options);
    call<void*, int>(SET_OPTIMIZATION_LEVEL, options, 99); // all
    call<void*, int>(SET_INTRA_OP_THREADS, options, threads);
    call<void*, int>(SET_INTER_OP_THREADS, options, 1);
    if (!memory_pattern)
      call<void*>(DISABLE_MEM_PATTERN, options);
    call<void*, const char*, void*, void**>(CREATE_SESSION, env, path.c_str(), options, &session);
    release(RELEASE_SESSION_OPTIONS, options);
    return session;
  }

  void close(void* session) const { release(RELEASE_SESSION, session); }

  void* tensor(std::vector<float>& values, const std::vector<int64_t>& dims) const
  {
    void* tensor = nullptr;
    call<void*, void*, size_t, const int64_t*, size_t, int, void**>(
        CREATE_TENSOR_WITH_DATA, memory, values.data(), values.size() * 4, dims.data(), dims.size(), 1, &tensor);
    return tensor;
  }

  void run(void* session, const std::vector<const char*>& in_names, const std::vector<void*>& in,
           const std::vector<const char*>& out_names, std::vector<void*>& out) const
  {
    call<void*, const void*, const char* const*, void* const*, size_t, const char* const*, size_t, void**>(
        RUN, session, nullptr, in_names.data(), in.data(), in.size(), out_names.data(), out.size(), out.data());
  }

  std::string version;

private:
  struct ApiBase {
    const void* const* (*table)(uint32_t version);
    const char* (*version)();
  };

  enum Function {
    GET_ERROR_MESSAGE = 2,
    CREATE_ENV = 3,
    CREATE_SESSION = 7,
    RUN = 9,
    CREATE_SESSION_OPTIONS = 10,
    DISABLE_MEM_PATTERN = 17,
    SET_OPTIMIZATION_LEVEL = 23,
    SET_INTRA_OP_THREADS = 24,
    SET_INTER_OP_THREADS = 25,
    CREATE_TENSOR_WITH_DATA = 49,
    CREATE_CPU_MEMORY_INFO = 69,
    RELEASE_SESSION = 95,
    RELEASE_SESSION_OPTIONS = 100
  };

  // Calls `function`, which returns a status that is NULL where all is well.
  template<class... Args>
  void call(Function function, Args... args) const
  {
    void* status = reinterpret_cast<void* (*)(Args...)>(const_cast<void*>(table[function]))(args...);
    if (status)
      fail(std::string("ONNX Runtime: ") +
           reinterpret_cast<const char* (*)(void*)>(const_cast<void*>(table[GET_ERROR_MESSAGE]))(status));
  }

  void release(Function function, void* what) const
  {
    reinterpret_cast<void (*)(void*)>(const_cast<void*>(table[function]))(what);
  }

  const void* const* table = nullptr;
  void *env = nullptr, *memory = nullptr;
};
