// loss = mean of  d*d / (2*beta) where |d| < beta, else |d| - beta/2,  d = x - target
//
// Girshick, "Fast R-CNN", ICCV 2015; beta times Huber's loss divided by beta.
#include "ir/loss_text.h"

namespace cnnc {

namespace {

std::string make_smooth_l1(const OpCall& op)
{
  // d*d / (2*beta) would be 0/0 where nothing takes it.
  if (op.real("beta") == 0)
    return elementwise_loss("abs(x[{at}] - target[{at}])")(op);
  return elementwise_loss("select(abs(x[{at}] - target[{at}]) < beta, "
                          "(x[{at}] - target[{at}]) * (x[{at}] - target[{at}]) / (2*beta), "
                          "abs(x[{at}] - target[{at}]) - 0.5*beta)")(op);
}

} // namespace

extern const OpDef op_smooth_l1{
    .name = "smooth_l1",
    .doc = "the mean of differences to a target, squared where they are small",
    .inputs = {"x[...]", "target[...]"},
    .outputs = {"loss"},
    .attributes = {{.name = "beta",
                    .kind = AttributeKind::real,
                    .default_value = 1.0,
                    .doc = "differences below it count squared; 0 is l1"},
                   reduction_attribute()},
    .make_formula = make_smooth_l1,
    .is_loss = true,
};

} // namespace cnnc
