// loss = mean of |x - target|
#include "ir/loss_text.h"

namespace cnnc {

extern const OpDef op_l1{
    .name = "l1",
    .doc = "the mean of the sizes of differences to a target of the same shape",
    .inputs = {"x[...]", "target[...]"},
    .outputs = {"loss"},
    .attributes = {reduction_attribute()},
    .make_formula = elementwise_loss("abs(x[{at}] - target[{at}])"),
    .is_loss = true,
};

} // namespace cnnc
