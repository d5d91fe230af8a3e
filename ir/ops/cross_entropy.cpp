// loss = mean over n of log(sum over c of exp(x[n,c])) - x[n,label[n]]
//
// x are logits: what softmax would read. The gradient is (softmax(x) - 1 at the label) / N. A label that is no channel
// gives the loss of no channel; the runtime refuses it before, unless labels may be ignored. Weights, smoothing and the
// other reductions stand in ir/loss_text.cpp.
#include "ir/loss_text.h"

namespace cnnc {

extern const OpDef op_cross_entropy{
    .name = "cross_entropy",
    .doc = "how surprised softmax(x) is by the labels, in nats, the mean over all labels; reads what a final softmax "
           "reads",
    .inputs = {"x[N,C,...]", "label[N,...]:i32", "class_weights[C]?"},
    .outputs = {"loss"},
    .attributes = likelihood_attributes(),
    .layer = likelihood_layer_attributes(),
    .make_formula = [](const OpCall& op) { return likelihood_loss(op, Scores::logits); },
    .make_gradient = [](const OpCall& op) { return likelihood_gradient(op, Scores::logits); },
    .is_loss = true,
    .absorbs = "softmax",
};

} // namespace cnnc
