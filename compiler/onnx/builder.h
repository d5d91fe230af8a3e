// ONNX's tensors as they become values of a graph. What is known is computed while reading: an op on known tensors
// alone never reaches the graph.
//
//   Shape(x) -> Gather(0) -> Concat(., -1)        =>   nothing but [n, 512], which Reshape reads
#pragma once

#include "compiler/onnx/model.h"
#include "ir/graph.h"

#include <set>

namespace cnnc {

// Where a channel's numbers may still be merged into the parameters of the op that made them: a convolution's filters.
struct ScaleTarget {
  int op = -1;
  int filter_axis = 0; // of the weight; -1: none
  int64_t groups = 1;  // filters lie as [channel, filter of its group] where filter_axis is 1
};

// What a name of the file stands for.
struct Operand {
  std::string name; // in the file
  TensorType type;
  int value = -1;                          // in the graph; -1: none so far
  OnnxTensor data;                         // known now
  std::optional<std::vector<Dim>> extents; // integers that are known but for the batch
  ScaleTarget scale;

  bool is_known() const { return data != nullptr; }
  const Shape& shape() const { return type.shape; }
  int64_t rank() const { return static_cast<int64_t>(type.shape.size()); }
  bool is_empty() const; // has no elements
};
using MaybeOperand = std::optional<Operand>;

// A tensor decides a shape, and is not known when the network is compiled.
struct UnknownValue {
  std::string name, what;
};

class OnnxBuilder {
public:
  // `given`: elements of the tensors in the file, which allow so much more to be computed from them.
  OnnxBuilder(const std::string& name, int64_t given);

  Graph graph;

  // One op of the catalogue, or what it computes where all operands are known. Unknown names are refused: "cnnc has no
  // op 'x'". Throws Error.
  Operand op(const std::string& row, const std::vector<MaybeOperand>& inputs, const Attributes& attributes = {});
  std::vector<Operand> ops(const std::string& row, const std::vector<MaybeOperand>& inputs,
                           const Attributes& attributes = {});
  // An op that the catalogue lacks, in index notation: inputs "x[N,...]", outputs "y".
  std::vector<Operand> formula(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                               const std::string& text, const std::vector<MaybeOperand>& operands);

  Operand known(Tensor tensor, const std::string& name = "") const;
  Operand scalar(DType dtype, double value) const;
  Operand filled(DType dtype, const Shape& shape, double value) const; // throws Error for a shape with the batch
  Operand integers(const std::vector<Dim>&, bool is_scalar = false) const;

  Operand reshape(const Operand& x, const Shape& to);
  Operand cast(const Operand& x, DType to);
  Operand transpose(const Operand& x, const std::vector<int64_t>& perm);

  // y[.,c,.] = x[.,c,.] * scale[c] + shift[c], merged into the parameters of the op that makes x. False where that is
  // not possible: nothing has changed then.
  bool merge_scale(const Operand& x, const std::vector<double>& scale, const std::vector<double>& shift);

  // The value that stands for it in the graph: data becomes a constant.
  int value_of(const Operand&);

  // Ops added since begin_node() are named after the node: the one that makes `result` bears the name itself.
  void begin_node(const std::string& name, Location where);
  void end_node(const Operand* result);
  // The op that makes the value as its first result takes that name, its parameters with it.
  void rename(int value, const std::string& wanted);
  std::string unique_name(const std::string& wanted); // a name that YAML and C can have, and no other layer has

private:
  Location where;
  std::string node_name;
  size_t first_op = 0;
  std::set<std::string, std::less<>> names;
  mutable int64_t allowance;        // how many points may still be computed while reading
  mutable int64_t filled_bytes = 0; // of constants that are one number again and again

  void count_known(int64_t points) const; // throws Error where that is too much
  void check_batch(const OpDef&, const Op&) const;
};

// "/layer1/conv1/Conv" => "layer1_conv1_Conv"
std::string onnx_identifier(const std::string& name);

int64_t axis_of(int64_t axis, int64_t rank); // negative ones count from the end; throws Error
Shape shape_of(const Tensor&);
std::vector<int64_t> integers_of(const Tensor&);
Shape broadcast(const Shape&, const Shape&); // throws Error

} // namespace cnnc
