// Layers, as a reader has them, to graphs: values named, parameters made, shapes checked at their places.
//
//   conv2d {filters: 6, kernel: 5, name: c1} above %image: f32[n,1,28,28]
//     =>   parameter @c1.weight: f32[6,1,5,5] = he(25)
//          parameter @c1.bias: f32[6] = zero
//          %c1 = conv2d %image, @c1.weight, @c1.bias {...} : f32[n,6,24,24]
//
// Nothing in here knows where the layers came from: YAML today, other formats later.
#pragma once

#include "compiler/network.h"

#include <functional>

namespace cnnc {

struct InputSpec {
  std::string name;
  Shape shape; // the batch first
  Location where;
};

struct NameAt {
  std::string name;
  Location where;
};

struct LayerSpec {
  const OpDef* def = nullptr;
  std::string op;   // for messages; differs from def->name for the user's own ops
  std::string name; // unique among layers and inputs
  Location where;
  Location text_where;      // of a user's op: its formula, for errors inside of that
  std::vector<NameAt> from; // resolved: a name for each data operand
  Attributes attributes;    // checked, those of the layer included
  double rate = 1;
  std::vector<Error::Note> uses; // of the blocks around it: added to each error
  // The first values of a parameter, once its type is known; nothing for those that the file does not give.
  std::function<std::shared_ptr<const Tensor>(const std::string& parameter, const TensorType&)> values;
};

struct LossSpec {
  const OpDef* def = nullptr;
  Attributes attributes;
  Location where;
  const OpDef* optimizer = nullptr;
  Attributes optimizer_attributes;
};

// Which operands come from other layers: all but the parameters, and the states of an op that only training has.
bool is_data_operand(const OpDef&, const OperandSpec&);

// `layers` in an order in which every name in `from` stands before; `outputs` are layers or inputs, by default the last
// layer. Layers that none of them depends on are left out.
Graph build_forward(const std::string& name, const std::vector<InputSpec>&, const std::vector<LayerSpec>&,
                    const std::vector<NameAt>& outputs = {});
// With the loss on the first output, and what `differentiate` needs. Without `training`, layers that only training has
// pass their input on.
Graph build_training(const std::string& name, const std::vector<InputSpec>&, const std::vector<LayerSpec>&,
                     const LossSpec&, bool training, const std::vector<NameAt>& outputs = {});

} // namespace cnnc
