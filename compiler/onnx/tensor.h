// TensorProto => Tensor: every size is checked before it is used.
#pragma once

#include "compiler/onnx/model.h"
#include "compiler/onnx/proto.h"

namespace cnnc {

// `model_path`: external data lies beside it. Throws Error.
Tensor tensor_of(const onnx::TensorProto&, const std::string& model_path);
void fill_tensor(onnx::TensorProto&, const std::string& name, const Tensor&);

} // namespace cnnc
