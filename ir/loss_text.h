// Texts that losses share: how the elements become one number, and the gradient of that.
//
//   mean   loss[] += (term) / count        sum   loss[] += term        none   loss[i0,i1] = term
#pragma once

#include "ir/op.h"

namespace cnnc {

// reduction: mean, sum or none, and others that the row knows.
AttributeDef reduction_attribute(std::vector<std::string> choices = {"mean", "sum", "none"});

// ---- of an element and its target: x[...] and target[...] of one shape; {at} stands for the subscripts ----

// The mean is over all elements; batch_mean divides the sum by the batch.
MakeText elementwise_loss(std::string term);
// {gradient} stands for the adjoint of each element's term: "dx[{at}] = {gradient} * 2 * (x[{at}] - target[{at}])".
MakeText elementwise_gradient(std::string text);

// ---- of scores x[N,C,...] and label[N,...]: see behind_channel in shape_text.h ----

// How many labels there are, as an expression over N: "49*N".
std::string label_count(const OpCall&);

// The negative log-likelihood of the labels, by logits or by log-probabilities, with class_weights, label_smoothing,
// ignore_index and reduction.
std::vector<AttributeDef> likelihood_attributes();
// Of the YAML row: class_weights, which become the operand of that name.
std::vector<AttributeDef> likelihood_layer_attributes();
enum class Scores : uint8_t { logits, log_probabilities };
std::string likelihood_loss(const OpCall&, Scores);
std::string likelihood_gradient(const OpCall&, Scores);

} // namespace cnnc
