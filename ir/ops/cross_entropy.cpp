// loss = mean over n of log(sum over c of exp(x[n,c])) - x[n,label[n]]
//
// x are logits: what softmax would read. The gradient is (softmax(x) - 1 at the label) / N. A label that is no channel
// gives the loss of no channel; the runtime refuses it before.
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_cross_entropy{
    .name = "cross_entropy",
    .doc =
        "how surprised softmax(x) is by the labels, in nats, the mean over the batch; reads what a final softmax reads",
    .inputs = {"x[N,C]", "label[N]:i32"},
    .outputs = {"loss[]"},
    .formula = "m[n] max= x[n,c]\n"
               "z[n] += exp(x[n,c] - m[n])\n"
               "t[n] += select(c == label[n], x[n,c], 0)\n"
               "loss[] += (log(z[n]) + m[n] - t[n]) / N",
    .gradient = "m[n] max= x[n,c]\n"
                "z[n] += exp(x[n,c] - m[n])\n"
                "dx[n,c] = (exp(x[n,c] - m[n]) / z[n] - select(c == label[n], 1, 0)) / N * dloss[]",
    .is_loss = true,
    .absorbs = "softmax",
};

} // namespace cnnc
