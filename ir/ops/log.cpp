// y = ln x; -inf at 0, NaN below
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_log{
    .name = "log",
    .doc = "the natural logarithm",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .formula = "y[...] = log(x[...])",
};

} // namespace cnnc
