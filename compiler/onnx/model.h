// What an .onnx file says, as plain data: checked for form, not yet for meaning. Only parse.cpp and write.cpp see
// protobuf.
//
//   model.onnx ─ parse_onnx ─▶ OnnxModel ─ read_onnx (reader.h) ─▶ Network
//   Network ─ export_onnx (export.h) ─▶ OnnxModel ─ write_onnx ─▶ model.onnx
//
// The format: https://github.com/onnx/onnx/blob/main/docs/IR.md
#pragma once

#include "ir/location.h"
#include "ir/tensor.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace cnnc {

using OnnxTensor = std::shared_ptr<const Tensor>;
using OnnxValue = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                               std::vector<std::string>, OnnxTensor>;

struct OnnxNode {
  std::string op, domain, name;
  std::vector<std::string> inputs, outputs; // "" for one that is left out
  std::map<std::string, OnnxValue, std::less<>> attributes;
  int number = 0; // in the file, from 1: the "line" of messages
};

// One extent: a number, a name such as "N", or neither.
struct OnnxExtent {
  std::optional<int64_t> size;
  std::string symbol;
};

struct OnnxInfo {
  std::string name;
  std::optional<DType> dtype;
  std::optional<std::vector<OnnxExtent>> shape;
};

struct OnnxModel {
  std::string path, name;
  std::string producer; // "pytorch 2.1"
  int64_t opset = 0;    // of the standard's domain
  std::vector<OnnxNode> nodes;
  std::vector<OnnxInfo> inputs, outputs; // inputs without those that are only an initializer's name
  std::map<std::string, OnnxTensor, std::less<>> initializers;
};

// The versions of the standard's operators that cnnc knows.
constexpr int64_t first_opset = 7, last_opset = 25;

// Throws Error: exit code 3 where a file cannot be read, 1 for what is in it. External data is read from regular files
// below the model's own folder only, through no symbolic link.
OnnxModel parse_onnx(const std::string& path);
// A lone tensor, as the standard's test cases have their inputs and outputs. Throws Error.
Tensor parse_onnx_tensor(const std::string& path);
// Throws Error (exit code 3).
void write_onnx(const std::string& path, const OnnxModel&);

// The standard's number of an element type (TensorProto.DataType), and back; f16 and f32 both read as f32.
int64_t onnx_number_of(DType);
std::optional<DType> dtype_of_onnx(int64_t number);

} // namespace cnnc
