// What a compiled network shows to its callers, read off its functions: names, tensors, where each lies in its block.
//
// Functions by name: the first is forward, "<forward>.train" train_step, "<forward>.gradients" gradients; callers see
// nothing of "<forward>.prepare". Parameters and states are told apart by name, over all functions; a block is a header
// of 64 bytes, then each tensor at its offset. Behind the parameters lie the prepared values, then what `prepare` needs
// beside them.
#pragma once

#include "compiler/artefact.h"
#include "runtime/artefact/network.h"

#include <array>

namespace cnnc {

// The functions of a program by name; null: not compiled.
struct Functions {
  std::array<const Graph*, 3> called{}; // by cnn_mode
  const Graph* prepare = nullptr;
};
Functions functions_of(const Program&);

struct Interface {
  struct TensorInfo {
    std::string name;   // "conv1.weight"
    std::string c_name; // "conv1_weight", of its kind alone
    TensorType type;
    int64_t limit = 0;
    std::string initial;
    double rate = 1;
    int64_t offset = 0; // in the block, header included
    int64_t stored = 0; // elements
    int line = 0;
    std::vector<int64_t> dims;    // the batch's are negative
    std::vector<cnn_axis> axes;   // parameters and states
    const Tensor* data = nullptr; // what is known of a parameter now
    cnn_tensor describe() const;  // pointers into this
  };

  std::string name;                        // a C identifier
  std::array<const Graph*, 3> functions{}; // by cnn_mode; of the program for the best machine
  const Graph* prepare = nullptr;
  std::vector<TensorInfo> inputs, outputs, parameters, states, train_inputs, prepared;
  DType loss = DType::f32;
  int64_t parameter_bytes = 0, state_bytes = 0;
  int64_t prepared_begin = 0, scratch = 0, local = 0; // offsets in a parameter block, as in cnn_preparation
  uint64_t fingerprint = 0, state_fingerprint = 0;
  int64_t batch_limit = 0;
  std::array<cnn_memory, 3> memory{}; // enough for every target

  bool has_known() const;   // some parameter's values are known
  bool is_embedded() const; // all are
};

// `program` and `info.weights` must outlive it. Throws Error for a name that C cannot have, or weights that do not fit;
// InternalError where the functions, or the programs for several targets, do not agree.
Interface interface_of(const Program& program, const ArtefactInfo& info);

// How a value lies in its own memory; `offset` is 0.
Interface::TensorInfo describe_stored(const Value&);

// A parameter block with the known values, the rest zero. `block` is parameter_bytes of zeros.
void pack_parameters(const Interface&, void* block);
std::vector<std::byte> pack_parameters(const Interface&);

// "conv2d-relu 1" => "conv2d_relu_1": letters, digits and underscores, not a keyword of C or C++.
std::string c_identifier(const std::string& name);

} // namespace cnnc
