// A network by hand, behind the same interface as a compiled one: softmax(weight * image + bias), cross entropy, sgd
// with momentum. It lets the program's side be tested without the compiler.
#pragma once

#include "runtime/artefact/cnn.h"
#include "runtime/safetensors.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

namespace cnnc::test {

template<int Side, int Classes>
struct Logistic {
  static constexpr int pixels = Side * Side;
  static constexpr uint64_t mark = 0x6c6f676973746963;

  struct alignas(64) Parameters {
    uint64_t mark;
    float weight[Classes][pixels], bias[Classes];
  };
  struct alignas(64) State {
    uint64_t mark;
    float weight[Classes][pixels], bias[Classes]; // velocities
    float learning_rate;
    int64_t step;
  };

  // What the tests look at, or set, from outside.
  inline static std::vector<int64_t> batches;
  inline static float poison_at_step = -1; // the loss of this step is NaN
  inline static std::atomic<int> live_threads = 0;

  static void scores(const Parameters& p, const float* image, float* out)
  {
    float highest = -INFINITY, sum = 0;
    for (int k = 0; k < Classes; ++k) {
      out[k] = p.bias[k];
      for (int i = 0; i < pixels; ++i)
        out[k] += p.weight[k][i] * image[i];
      highest = std::max(highest, out[k]);
    }
    for (int k = 0; k < Classes; ++k)
      sum += out[k] = std::exp(out[k] - highest);
    for (int k = 0; k < Classes; ++k)
      out[k] /= sum;
  }

  static void each(const cnn_threads* threads, int64_t tasks, cnn_body body, void* context)
  {
    if (threads)
      threads->parallel_for(threads->pool, tasks, body, context);
    else
      body(context, 0, tasks, 0);
  }

  static int forward(const void* parameters, int64_t batch, const void* const* inputs, void* const* outputs, void*,
                     const cnn_threads*)
  {
    const auto& p = *static_cast<const Parameters*>(parameters);
    if (p.mark != mark)
      return CNN_BAD_PARAMETERS;
    for (int64_t n = 0; n < batch; ++n)
      scores(p, static_cast<const float*>(inputs[0]) + n * pixels, static_cast<float*>(outputs[0]) + n * Classes);
    return CNN_OK;
  }

  static int train_step(void* parameters, void* state, int64_t batch, const void* const* inputs, float* loss,
                        void* workspace, const cnn_threads* threads)
  {
    auto& p = *static_cast<Parameters*>(parameters);
    auto& s = *static_cast<State*>(state);
    if (p.mark != mark || s.mark != mark)
      return CNN_BAD_PARAMETERS;
    batches.push_back(batch);
    const auto* image = static_cast<const float*>(inputs[0]);
    const auto* label = static_cast<const int32_t*>(inputs[1]);
    auto* delta = static_cast<float*>(workspace);
    *loss = 0;
    for (int64_t n = 0; n < batch; ++n) {
      if (label[n] < 0 || label[n] >= Classes)
        return CNN_BAD_LABEL;
      scores(p, image + n * pixels, delta + n * Classes);
      *loss -= std::log(std::max(delta[n * Classes + label[n]], 1e-30f)) / static_cast<float>(batch);
      delta[n * Classes + label[n]] -= 1;
    }
    struct Work {
      Parameters& p;
      State& s;
      const float *image, *delta;
      int64_t batch;
    } work{p, s, image, delta, batch};
    // A class is one thread's: the sums have one order.
    auto body = [](void* context, int64_t begin, int64_t end, int) {
      auto& w = *static_cast<Work*>(context);
      for (int64_t k = begin; k < end; ++k)
        for (int i = 0; i <= pixels; ++i) {
          float gradient = 0;
          for (int64_t n = 0; n < w.batch; ++n)
            gradient += w.delta[n * Classes + k] * (i < pixels ? w.image[n * pixels + i] : 1);
          float& velocity = i < pixels ? w.s.weight[k][i] : w.s.bias[k];
          velocity = 0.5f * velocity + gradient / static_cast<float>(w.batch);
          (i < pixels ? w.p.weight[k][i] : w.p.bias[k]) -= w.s.learning_rate * velocity;
        }
    };
    each(threads, Classes, body, &work);
    if (static_cast<float>(s.step++) == poison_at_step)
      *loss = NAN;
    return CNN_OK;
  }

  static int64_t workspace_bytes(int64_t batch, int, cnn_mode)
  {
    return batch < 1 ? -CNN_BAD_BATCH : batch * Classes * int64_t{sizeof(float)};
  }

  static int init_parameters(void* parameters, uint64_t seed)
  {
    auto& p = *static_cast<Parameters*>(parameters);
    std::memset(&p, 0, sizeof p);
    p.mark = mark;
    p.bias[0] = static_cast<float>(seed % 7) * 1e-3f;
    return CNN_OK;
  }
  static int init_state(void* state, uint64_t)
  {
    auto& s = *static_cast<State*>(state);
    std::memset(&s, 0, sizeof s);
    s.mark = mark;
    s.learning_rate = 0.1f;
    return CNN_OK;
  }

  template<class B>
  static std::pair<void*, int64_t> place(B& block, std::string_view name)
  {
    if constexpr (std::is_same_v<std::remove_const_t<B>, State>) {
      if (name == "learning_rate")
        return {const_cast<float*>(&block.learning_rate), 4};
      if (name == "step")
        return {const_cast<int64_t*>(&block.step), 8};
    }
    if (name == (std::is_same_v<std::remove_const_t<B>, State> ? "weight.velocity" : "weight"))
      return {const_cast<float*>(&block.weight[0][0]), sizeof block.weight};
    if (name == (std::is_same_v<std::remove_const_t<B>, State> ? "bias.velocity" : "bias"))
      return {const_cast<float*>(&block.bias[0]), sizeof block.bias};
    return {nullptr, 0};
  }
  template<class B>
  static int set(void* block, const char* name, const void* values, int64_t count)
  {
    auto [at, bytes] = place(*static_cast<B*>(block), name);
    if (!at)
      return CNN_NOT_FOUND;
    if (count != bytes / (std::string_view(name) == "step" ? 8 : 4))
      return CNN_BAD_SIZE;
    std::memcpy(at, values, static_cast<size_t>(bytes));
    return CNN_OK;
  }
  template<class B>
  static int get(const void* block, const char* name, void* values, int64_t count)
  {
    auto [at, bytes] = place(*static_cast<const B*>(block), name);
    if (!at)
      return CNN_NOT_FOUND;
    if (count != bytes / (std::string_view(name) == "step" ? 8 : 4))
      return CNN_BAD_SIZE;
    std::memcpy(values, at, static_cast<size_t>(bytes));
    return CNN_OK;
  }

  static int load_parameters(void* parameters, const char* path)
  {
    try {
      SafetensorsFile file(path);
      for (const char* name : {"weight", "bias"}) {
        const auto* entry = file.find(name);
        if (!entry || entry->dtype != DType::f32)
          return CNN_BAD_FILE;
        Tensor t = file.read(*entry);
        if (int code = set<Parameters>(parameters, name, t.bytes.data(), t.size()); code != CNN_OK)
          return CNN_BAD_FILE;
      }
      return CNN_OK;
    } catch (const Error& e) {
      return e.exit_code == 3 ? CNN_CANNOT_READ : CNN_BAD_FILE;
    }
  }
  static int save_parameters(const void* parameters, const char* path)
  {
    Tensor weight(DType::f32, {Classes, pixels}), bias(DType::f32, {Classes});
    get<Parameters>(parameters, "weight", weight.bytes.data(), weight.size());
    get<Parameters>(parameters, "bias", bias.bytes.data(), bias.size());
    try {
      write_safetensors(path, {{"weight", &weight}, {"bias", &bias}});
      return CNN_OK;
    } catch (const Error&) {
      return CNN_CANNOT_WRITE;
    }
  }

  static int create_threads(int count, cnn_threads** threads)
  {
    auto parallel_for = [](void* pool, int64_t tasks, cnn_body body, void* context) {
      int64_t count = static_cast<cnn_threads*>(pool)->count;
      std::vector<std::jthread> workers;
      for (int64_t t = 0; t < count; ++t)
        workers.emplace_back([=] { body(context, tasks * t / count, tasks * (t + 1) / count, static_cast<int>(t)); });
    };
    *threads = new cnn_threads{CNN_ABI_VERSION, sizeof(cnn_threads), count, 0, parallel_for, nullptr, nullptr};
    (*threads)->pool = *threads;
    ++live_threads;
    return CNN_OK;
  }
  static void free_threads(cnn_threads* threads)
  {
    delete threads;
    --live_threads;
  }
  static const char* error(int code)
  {
    switch (code) {
    case CNN_BAD_LABEL: return "a label is outside the classes";
    case CNN_BAD_FILE: return "the file does not fit";
    case CNN_CANNOT_READ: return "the file cannot be read";
    case CNN_CANNOT_WRITE: return "the file cannot be written";
    default: return "an error";
    }
  }

  static cnn_model model()
  {
    static const int64_t image_dims[] = {-1, 1, Side, Side}, label_dims[] = {-1}, score_dims[] = {-1, Classes},
                         weight_dims[] = {Classes, pixels}, bias_dims[] = {Classes};
    auto tensor = [](const char* name, cnn_dtype dtype, const int64_t* dims, int rank) {
      cnn_tensor t = {};
      t.name = name;
      t.dtype = dtype;
      t.dims = dims;
      t.rank = rank;
      t.rate = 1;
      return t;
    };
    static const cnn_tensor inputs[] = {tensor("image", CNN_F32, image_dims, 4),
                                        tensor("label", CNN_I32, label_dims, 1)};
    static const cnn_tensor outputs[] = {tensor("scores", CNN_F32, score_dims, 2)};
    static const cnn_tensor parameters[] = {tensor("weight", CNN_F32, weight_dims, 2),
                                            tensor("bias", CNN_F32, bias_dims, 1)};
    static const cnn_tensor states[] = {
        tensor("weight.velocity", CNN_F32, weight_dims, 2), tensor("bias.velocity", CNN_F32, bias_dims, 1),
        tensor("learning_rate", CNN_F32, nullptr, 0), tensor("step", CNN_I64, nullptr, 0)};
    cnn_model m = {};
    m.abi_version = CNN_ABI_VERSION;
    m.struct_size = sizeof m;
    m.name = "logistic";
    m.input_count = 1;
    m.output_count = 1;
    m.parameter_count = 2;
    m.state_count = 4;
    m.train_input_count = 2;
    m.inputs = inputs;
    m.outputs = outputs;
    m.parameters = parameters;
    m.states = states;
    m.train_inputs = inputs;
    m.parameter_bytes = sizeof(Parameters);
    m.state_bytes = sizeof(State);
    m.forward = forward;
    m.train_step = train_step;
    m.workspace_bytes = workspace_bytes;
    m.init_parameters = init_parameters;
    m.init_state = init_state;
    m.set_parameter = set<Parameters>;
    m.get_parameter = get<Parameters>;
    m.set_state = set<State>;
    m.get_state = get<State>;
    m.load_parameters = load_parameters;
    m.save_parameters = save_parameters;
    m.create_threads = create_threads;
    m.free_threads = free_threads;
    m.error = error;
    return m;
  }
};

} // namespace cnnc::test
