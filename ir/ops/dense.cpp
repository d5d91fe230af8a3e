// y[n,o] = bias[o] + sum over c of x[n,c] * weight[o,c]
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_dense{
    .name = "dense",
    .doc = "every unit sees every input (fully connected)",
    .inputs = {"x[N,C]", "weight[O,I]", "bias[O]?"},
    .outputs = {"y[N,O]"},
    .layer = {{.name = "units", .minimum = 1, .doc = "outputs"},
              {.name = "bias",
               .kind = AttributeKind::boolean,
               .default_value = true,
               .doc = "a learnt number added to each unit"}},
    .parameters = {{.name = "weight", .dims = {"units", "C"}, .initial = "he", .fan_in = "C"},
                   {.name = "bias", .dims = {"units"}, .initial = "zero", .only_when = "bias"}},
    .checks = {{"C == I", "weight wants {I} inputs, the input has {C}"}},
    .formula = "y[n,o] = bias[o]\n"
               "y[n,o] += x[n,c] * weight[o,c]",
};

} // namespace cnnc
