// loss = mean of (x - target)^2
#include "ir/loss_text.h"

namespace cnnc {

extern const OpDef op_mse{
    .name = "mse",
    .doc = "the mean of squared differences to a target of the same shape",
    .inputs = {"x[...]", "target[...]"},
    .outputs = {"loss"},
    .attributes = {reduction_attribute()},
    .make_formula = elementwise_loss("(x[{at}] - target[{at}]) * (x[{at}] - target[{at}])"),
    .is_loss = true,
};

} // namespace cnnc
