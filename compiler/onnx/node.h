// One node of the file, as its handler sees it: operands, attributes, and where the results go.
#pragma once

#include "compiler/onnx/builder.h"

#include <functional>

namespace cnnc {

class OnnxCall {
public:
  OnnxCall(OnnxBuilder& build, const OnnxNode& node, int64_t opset, std::vector<MaybeOperand> operands)
      : build(build),
        node(node),
        opset(opset),
        operands(std::move(operands)),
        results(node.outputs.size()),
        wanted(node.outputs.size(), true)
  {
  }

  OnnxBuilder& build;
  const OnnxNode& node;
  const int64_t opset;
  std::vector<MaybeOperand> operands;
  std::vector<MaybeOperand> results;
  std::vector<bool> wanted; // of the results

  size_t inputs() const { return operands.size(); }
  bool has(size_t input) const { return input < operands.size() && operands[input].has_value(); }
  const Operand& in(size_t input) const; // throws Error where it is left out
  MaybeOperand maybe(size_t input) const { return has(input) ? operands[input] : std::nullopt; }

  bool has_attribute(const std::string& name) const;
  int64_t integer(const std::string& name, std::optional<int64_t> otherwise = {}) const;
  double real(const std::string& name, std::optional<double> otherwise = {}) const;
  std::string text(const std::string& name, const std::string& otherwise) const;
  std::optional<std::vector<int64_t>> integers(const std::string& name) const;
  OnnxTensor tensor(const std::string& name) const; // nullptr where it is not given
  std::vector<std::string> unread_attributes() const;

  // What must be known now, as it decides shapes: throws UnknownValue where it is not.
  std::vector<int64_t> known_integers(size_t input, const std::string& what) const;
  std::vector<double> known_reals(size_t input, const std::string& what) const;
  double known_real(size_t input, const std::string& what) const;
  std::vector<Dim> known_extents(size_t input, const std::string& what) const; // those with the batch too
  // An attribute up to some opset, an input from `since` on.
  std::optional<std::vector<int64_t>> integers_since(int64_t since, const std::string& name, size_t input) const;

  // Somebody reads it.
  bool wants(size_t output) const { return output < wanted.size() && wanted[output]; }
  void give(Operand y) { give(0, std::move(y)); }
  void give(size_t output, Operand y);
  // What cnnc cannot do.
  [[noreturn]] void refuse(const std::string& text) const;

private:
  mutable std::set<std::string, std::less<>> read;
  const OnnxValue* find(const std::string& name) const;
};

using OnnxHandler = void (*)(OnnxCall&);

struct OnnxOp {
  const char* name;
  OnnxHandler handler;
};
// nullptr where cnnc has none.
const OnnxOp* find_onnx_op(std::string_view name);
std::vector<std::string> onnx_op_names();

// What is computed on integers that are known but for the batch: shapes. False where the node is of another kind.
bool fold_extents(OnnxCall&);

#define NODE(name) void onnx_##name(OnnxCall&);
#include "compiler/onnx/nodes.def"
#undef NODE

} // namespace cnnc
