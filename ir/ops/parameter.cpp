// y = value: a learnt tensor of its own
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_parameter{
    .name = "parameter",
    .doc = "a learnt tensor of its own; it reads no other layer",
    .inputs = {"value[...]"},
    .outputs = {"y"},
    .layer = {{.name = "shape", .kind = AttributeKind::integers, .minimum = 1, .doc = "the tensor's, without a batch"}},
    .parameters = {{.name = "value", .initial = "zero", .shape_from = "shape"}},
    .formula = "y[...] = value[...]",
    .is_view = true,
};

} // namespace cnnc
