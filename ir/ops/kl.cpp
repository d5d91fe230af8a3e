// loss = mean of target * (log(target) - x),  x log-probabilities, 0 where the target is 0
//
// The divergence of Kullback and Leibler from the network's distribution to the target's is the sum over the classes
// and the mean over the batch: reduction batch_mean.
#include "ir/loss_text.h"

namespace cnnc {

extern const OpDef op_kl{
    .name = "kl",
    .doc = "how far log-probabilities are from a target distribution, in nats; batch_mean is the divergence itself",
    .inputs = {"x[...]", "target[...]"},
    .outputs = {"loss"},
    .attributes = {reduction_attribute({"mean", "batch_mean", "sum", "none"})},
    .make_formula = elementwise_loss("select(target[{at}] > 0, target[{at}] * (log(target[{at}]) - x[{at}]), 0)"),
    .make_gradient = elementwise_gradient(
        "dx[{at}] = -{gradient} * select(target[{at}] > 0, target[{at}], 0)\n"
        "dtarget[{at}] = {gradient} * select(target[{at}] > 0, log(target[{at}]) - x[{at}] + 1, 0)"),
    .is_loss = true,
};

} // namespace cnnc
