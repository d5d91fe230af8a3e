// loss = mean over n of -x[n,label[n]]
//
// x are log-probabilities: what log_softmax makes. Weights, smoothing and the other reductions stand in
// ir/loss_text.cpp.
#include "ir/loss_text.h"

namespace cnnc {

extern const OpDef op_nll{
    .name = "nll",
    .doc = "how surprised log-probabilities are by the labels, in nats, the mean over all labels; for a network that "
           "ends in log_softmax",
    .inputs = {"x[N,C,...]", "label[N,...]:i32", "class_weights[C]?"},
    .outputs = {"loss"},
    .attributes = likelihood_attributes(),
    .layer = likelihood_layer_attributes(),
    .make_formula = [](const OpCall& op) { return likelihood_loss(op, Scores::log_probabilities); },
    .make_gradient = [](const OpCall& op) { return likelihood_gradient(op, Scores::log_probabilities); },
    .is_loss = true,
};

} // namespace cnnc
