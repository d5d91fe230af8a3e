// Losses on scores [N,C,...] and labels [N,...].
#include "compiler/onnx/node.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

void likelihood(OnnxCall& call, const char* row)
{
  OnnxBuilder& build = call.build;
  const std::string reduction = call.text("reduction", "mean");
  Attributes attributes{{"reduction", reduction}};
  if (call.has_attribute("ignore_index"))
    attributes["ignore_index"] = std::vector<int64_t>{call.integer("ignore_index")};
  call.give(build.op(row, {call.in(0), build.cast(call.in(1), DType::i32), call.maybe(2)}, attributes));
}

} // namespace

void onnx_NegativeLogLikelihoodLoss(OnnxCall& call)
{
  likelihood(call, "nll");
}

void onnx_SoftmaxCrossEntropyLoss(OnnxCall& call)
{
  likelihood(call, "cross_entropy");
  if (call.wants(1))
    call.give(1, call.build.op("log_softmax", {call.in(0)}, {{"axis", int64_t{1}}}));
}

} // namespace cnnc
