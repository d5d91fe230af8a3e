// Blocks: layers that are written once and used many times; and what makes several layers of one, or none.
//
//   define:
//     residual:
//       parameters: {channels: , stride: 1}          nothing: a use must give it
//       layers:
//         - conv2d: {filters: channels, kernel: 3, stride: stride, padding: 1}
//         - relu
//         - conv2d: {filters: channels, kernel: 3, padding: 1}
//         - conv2d: {filters: channels, kernel: 1, stride: stride, from: input, name: skip, when: stride > 1}
//         - add: {from: [conv2, skip]}
//   layers:
//     - residual: {channels: 64, repeat: 2}
//
//     =>  residual1.1.conv1, residual1.1.relu, residual1.1.conv2, residual1.1.add (of conv2 and the input),
//     residual1.2...
//
// A layer whose `when` is false, whose `repeat` is 0, or that is taken out by name is not there: its name stands for
// what it would read (of several: the first). Names inside of a block are its own; from outside a dot reaches in.
#pragma once

#include "compiler/layers.h"
#include "compiler/yaml_expressions.h"

#include <functional>
#include <map>

namespace cnnc {

// A layer, `loss:`, `optimizer:` or the use of a block: a word, or one key with what stands below it.
struct Named {
  std::string op;
  Location where;
  YamlPtr attributes; // null, or what follows the key
};
Named named_op(const YamlPtr&, const std::string& what);

// Errors name the unknown key and the nearest known one.
void check_keys(const YamlNode& map, const std::string& owner, const std::vector<std::string>& known);

struct BlockDef {
  std::string name;
  Location where;
  std::vector<YamlEntry> parameters; // with their defaults, or nothing
  std::vector<std::string> inputs{"input"};
  YamlPtr layers;
  YamlPtr output; // a local name; null: the last layer
  bool used = false;
};
// `is_op`: names that a block cannot have. Throws Error.
std::vector<BlockDef> read_blocks(const YamlNode&, const std::function<bool(const std::string&)>& is_op);

// One layer of the expanded list, its own attributes evaluated.
struct FlatLayer {
  std::string name; // full: "residual1.2.conv1"
  std::string op;
  Location where;                    // the layer, in its block
  Location op_where;                 // its op's name
  std::vector<YamlEntry> attributes; // without the keys below
  std::vector<NameAt> from;          // full names; empty where the file says none
  std::string above;                 // then this one; "" where it is not clear, and `unclear` says why
  std::string unclear;
  double rate = 1;               // of the blocks around it
  std::vector<Error::Note> uses; // of the blocks around it, the innermost first
};

struct Expansion {
  // What a full name stands for: a layer or an input. Blocks and absent layers have names, too.
  std::map<std::string, std::string, std::less<>> value_of;
  std::string last; // the last layer's value
};

// Calls `emit` for each layer, in order. `has_parameters` says it of an op, for default names. `without`: full names to
// be taken out, and where the file says so; Error where there is no such layer, with exit code 2 for one of the caller.
// Throws Error, with a note for each block around.
Expansion expand(const YamlNode& layers, const std::vector<InputSpec>& inputs, std::vector<BlockDef>& blocks,
                 const std::map<std::string, Location>& without,
                 const std::function<bool(const std::string&)>& has_parameters,
                 const std::function<void(const FlatLayer&)>& emit);

} // namespace cnnc
