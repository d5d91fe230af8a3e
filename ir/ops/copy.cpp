// y = x: the same elements, in a layout of its own
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_copy{
    .name = "copy",
    .doc = "the same elements; what choose_layouts puts where a reader wants another layout",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = x[...]",
    .is_internal = true,
};

} // namespace cnnc
