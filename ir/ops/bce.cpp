// loss = mean of -(target*log(x) + (1 - target)*log(1 - x)),  x a probability, each logarithm at least -100
//   from_logits: x the logit, max(x, 0) - x*target + log(1 + exp(-|x|)), which never overflows (softplus.cpp)
//
// The bounds are PyTorch's: at 0 and 1 the loss and its gradient stay finite.
#include "ir/loss_text.h"

namespace cnnc {

namespace {

std::string make_bce(const OpCall& op)
{
  if (op.integer("from_logits"))
    return elementwise_loss("select(x[{at}] < 0, 0, x[{at}]) - x[{at}]*target[{at}] + "
                            "(log(1 + exp(-abs(x[{at}]))) + (exp(-abs(x[{at}])) - ((1 + exp(-abs(x[{at}]))) - 1)) / "
                            "(1 + exp(-abs(x[{at}]))))")(op);
  return elementwise_loss("-(target[{at}]*max(log(x[{at}]), -100) + (1 - target[{at}])*max(log(1 - x[{at}]), -100))")(
      op);
}

std::string make_bce_gradient(const OpCall& op)
{
  if (op.integer("from_logits"))
    return elementwise_gradient("dx[{at}] = {gradient} * (1 / (1 + exp(-x[{at}])) - target[{at}])\n"
                                "dtarget[{at}] = -{gradient} * x[{at}]")(op);
  return elementwise_gradient(
      "dx[{at}] = {gradient} * (x[{at}] - target[{at}]) / max(x[{at}] * (1 - x[{at}]), 1e-12)\n"
      "dtarget[{at}] = {gradient} * (max(log(1 - x[{at}]), -100) - max(log(x[{at}]), -100))")(op);
}

} // namespace

extern const OpDef op_bce{
    .name = "bce",
    .doc = "how surprised probabilities are by targets between 0 and 1, in nats, the mean over all elements",
    .inputs = {"x[...]", "target[...]"},
    .outputs = {"loss"},
    .attributes = {{.name = "from_logits",
                    .kind = AttributeKind::boolean,
                    .default_value = false,
                    .doc = "x is what a sigmoid would read"},
                   reduction_attribute()},
    .make_formula = make_bce,
    .make_gradient = make_bce_gradient,
    .is_loss = true,
};

} // namespace cnnc
