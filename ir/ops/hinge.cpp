// loss = mean over n of (sum over c other than the label of max(0, margin - x[n,label[n]] + x[n,c])) / C
//
// As multi_margin_loss of PyTorch. Weston, Watkins, "Support Vector Machines for Multi-Class Pattern Recognition",
// 1999.
#include "ir/loss_text.h"
#include "ir/shape_text.h"

namespace cnnc {

namespace {

std::string make_hinge(const OpCall& op)
{
  const std::string& reduction = op.text("reduction");
  const std::string term = "select(c == label[n@], 0, max(margin - t[n@] + x[n,c@], 0)) / C";
  return behind_channel("t[n@] += select(c == label[n@], x[n,c@], 0)\n" +
                            (reduction == "none"  ? "loss[n@] += " + term
                             : reduction == "sum" ? "loss[] += " + term
                                                  : "loss[] += " + term + " / " + label_count(op)),
                        op);
}

} // namespace

extern const OpDef op_hinge{
    .name = "hinge",
    .doc = "by how much other classes come within a margin of the label's score, the mean over classes and labels",
    .inputs = {"x[N,C,...]", "label[N,...]:i32"},
    .outputs = {"loss"},
    .attributes = {{.name = "margin",
                    .kind = AttributeKind::real,
                    .default_value = 1.0,
                    .doc = "how much larger the label's score must be"},
                   reduction_attribute()},
    .make_formula = make_hinge,
    .is_loss = true,
};

} // namespace cnnc
