// A network as its file gives it: the functions that can be compiled, and what the `train:` section says.
//
//   net.yaml ─ read_yaml ─┐
//   net.onnx ─ read_onnx ─┤
//   net.ir ── parse_graph ─┴─▶ Network ─▶ compile.h
//
// Default names: a layer without `name:` takes its op's last word without dimensions ("conv2d" is conv, "max_pool2d" is
// pool) and a running number: conv1, relu1, pool1, conv2. The number is left out where the word occurs once and the
// layer has no parameters: flatten, softmax. Values are named like their layers, parameters conv1.weight, conv1.bias.
#pragma once

#include "ir/program.h"
#include "runtime/preprocessing.h"
#include "runtime/trainer.h"

#include <map>

namespace cnnc {

// What the trainer's loop needs; what the compiled step needs is in the training graph.
struct TrainConfig {
  std::string data; // a known data set, or a folder; "" where not given
  Location data_location;
  int64_t batch = 64;
  int64_t epochs = 5;
  uint64_t seed = 1;
  Schedule schedule = Schedule::constant;
  int64_t step_epochs = 10; // of the schedule `step`: the rate is multiplied by step_factor every so many epochs
  double step_factor = 0.1;
};

// One layer of the file, for tables and messages.
struct Layer {
  std::string name;
  std::string op; // as the user wrote it: a row's name or that of a user's op
  Location location;
};

struct Warning {
  Location where;
  std::string text;
};

struct Network {
  std::string name; // a C identifier
  std::shared_ptr<const Source> source;
  std::vector<Layer> layers; // empty for a network read from .ir
  Graph forward;
  // Forward with the loss in place of a softmax that belongs to it, and Graph::training filled in; only with `train:`.
  std::optional<Graph> train;
  // The same without what only training has (dropout): the function whose gradients can be checked.
  std::optional<Graph> loss;
  TrainConfig config;
  // What the file says of an input, by its name; for others default_preprocessing() holds.
  std::map<std::string, Preprocessing, std::less<>> preprocessing;
  // First values, as the file's `weights:` names them, relative to where the file lies; "" where it says nothing.
  std::string weights;
  std::vector<Warning> warnings;
  // A network read from .ir: its functions, forward (the first) among them, and nests as they stand in the file.
  std::optional<Program> program;
};

// By the ending: .yaml, .yml, .onnx, .ir. `without`: layers of a .yaml that are taken out; their readers read what they read.
// Throws Error: exit code 1 for what is in the file, 2 for another ending, 3 where it
// cannot be read.
Network read_network(const std::string& path, const std::vector<std::string>& without = {});

// A text of unknown form, as a compiled library carries it; nothing where it is neither.
std::optional<Network> read_text(const std::shared_ptr<const Source>&);

// The text of a program in a file, and the data that it only names in PATH.safetensors; read_network finds it there.
// Throws Error: exit code 3.
void write_program(const std::string& path, const Program&);

// A whole file, at most `limit` bytes. Throws Error with exit code 3 where it cannot be read, 1 where it is larger.
std::shared_ptr<const Source> read_source(const std::string& path, size_t limit);

} // namespace cnnc
