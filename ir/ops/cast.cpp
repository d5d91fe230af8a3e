// y = x in another element type
//
// To an integer: towards zero, at most the largest of the type, NaN is 0; from integer to integer the lower bits; to
// bool: is it not 0?
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_cast{
    .name = "cast",
    .doc = "the same numbers in another element type",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "to",
                    .kind = AttributeKind::text,
                    .doc = "the element type",
                    .choices = {"f32", "f64", "bf16", "i8", "u8", "i32", "i64", "bool"}}},
    .make_formula = [](const OpCall& op) { return "y[...] = cast(" + op.text("to") + ", x[...])"; },
    .make_type = [](const OpCall& op) { return *parse_dtype(op.text("to")); },
};

} // namespace cnnc
