// With h = (c == label[n], and that is not ignored), w the class weights (1 without), u = label_smoothing:
//
//   k[n] = sum over c of h*w[c]     t[n] = sum over c of h*w[c]*x[n,c]     l[n] = log(sum over c of exp(x[n,c]))
//   v[n] = sum over c of h          s[n] = sum over c of w[c]*x[n,c]       W = sum over c of w[c]
//   e[n] = (1 - u) * (k*l - t) + u/C * v * (W*l - s)                       mean: the sum of e divided by the sum of k
//
// as SoftmaxCrossEntropyLoss of ONNX and cross_entropy of PyTorch have it; log-probabilities are the same with l = 0. A
// label that is no channel has k = v = t = 0: it counts for nothing.
#include "ir/loss_text.h"

#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

struct Elementwise {
  std::string at, count, batch;
};

Elementwise elementwise(const OpCall& op)
{
  Dim count;
  for (const Dim& dim : op.shape(0)) {
    count.size *= dim.size;
    count.batch = count.batch || dim.batch;
  }
  const Shape& shape = op.shape(0);
  return {list(index_names(shape.size())), extent_text(count), shape.empty() ? "1" : extent_text(shape[0])};
}

// " / (4*N)", or nothing for a sum.
std::string divided(const OpCall& op, const Elementwise& e)
{
  const std::string& reduction = op.text("reduction");
  return reduction == "mean"         ? fmt::format(" / ({})", e.count)
         : reduction == "batch_mean" ? fmt::format(" / ({})", e.batch)
                                     : "";
}

// Whether the row's labels are each worth one, all of them, and nothing is smoothed.
struct Likelihood {
  bool weights, smooth, ignores;
  std::string weight, hit, smoothing, classes;
  bool is_plain() const { return !weights && !smooth && !ignores; }
};

Likelihood likelihood(const OpCall& op)
{
  Likelihood l;
  l.weights = op.has(2);
  l.smooth = op.real("label_smoothing") != 0;
  l.ignores = !op.integers("ignore_index").empty();
  l.weight = l.weights ? "class_weights[c]" : "1";
  l.hit = "c == label[n@]";
  for (const int64_t ignored : op.integers("ignore_index"))
    l.hit += fmt::format(" and not label[n@] == {}", ignored);
  l.classes = std::to_string(op.shape(0).at(1).size);
  return l;
}

// What both ways need: up to e[n] and, for the mean, d.
std::string likelihood_terms(const OpCall& op, const Likelihood& l, Scores scores)
{
  const bool logits = scores == Scores::logits;
  std::string text = logits ? "m[n@] max= x[n,c@]\n"
                              "z[n@] += exp(x[n,c@] - m[n@])\n"
                              "l[n@] = log(z[n@]) + m[n@]\n"
                            : "";
  text += fmt::format("k[n@] += select({0}, {1}, 0) where c < {2}\n"
                      "t[n@] += select({0}, {1}*x[n,c@], 0)\n",
                      l.hit, l.weight, l.classes);
  std::string term = logits ? "k[n@]*l[n@] - t[n@]" : "-t[n@]";
  if (l.smooth) {
    text += fmt::format("v[n@] += select({0}, 1, 0) where c < {2}\n"
                        "s[n@] += {1}*x[n,c@]\n"
                        "W[] += {1} where c < {2}\n",
                        l.hit, l.weight, l.classes);
    term = fmt::format("(1 - label_smoothing)*({}) + label_smoothing/{}*v[n@]*({} - s[n@])", term, l.classes,
                       logits ? "W[]*l[n@]" : "0");
  }
  text += fmt::format("e[n@] = {}\n", term);
  if (op.text("reduction") == "mean")
    text += "d[] += k[n@]\n";
  return text;
}

} // namespace

AttributeDef reduction_attribute(std::vector<std::string> choices)
{
  return {.name = "reduction",
          .kind = AttributeKind::text,
          .default_value = "mean",
          .doc = "how the elements become one number; none: they stay apart, which no training can use",
          .choices = std::move(choices)};
}

MakeText elementwise_loss(std::string term)
{
  return [term = std::move(term)](const OpCall& op) {
    const Elementwise e = elementwise(op);
    const std::string filled = fmt::format(fmt::runtime(term), fmt::arg("at", e.at));
    return op.text("reduction") == "none" ? fmt::format("loss[{}] = {}", e.at, filled)
                                          : fmt::format("loss[] += ({}){}", filled, divided(op, e));
  };
}

MakeText elementwise_gradient(std::string text)
{
  return [text = std::move(text)](const OpCall& op) {
    const Elementwise e = elementwise(op);
    const std::string gradient =
        op.text("reduction") == "none" ? fmt::format("dloss[{}]", e.at) : fmt::format("(dloss[]{})", divided(op, e));
    return fmt::format(fmt::runtime(text), fmt::arg("at", e.at), fmt::arg("gradient", gradient));
  };
}

std::string label_count(const OpCall& op)
{
  int64_t count = 1;
  for (size_t d = 2; d < op.shape(0).size(); ++d)
    count *= op.shape(0)[d].size;
  // The operand's own N, be it the batch or a number.
  return count == 1 ? "N" : "(" + times("N", count) + ")";
}

std::vector<AttributeDef> likelihood_attributes()
{
  return {{.name = "label_smoothing",
           .kind = AttributeKind::real,
           .default_value = 0.0,
           .maximum = 1,
           .doc = "this part of each label is spread over all classes (Szegedy et al., CVPR 2016)"},
          {.name = "ignore_index",
           .kind = AttributeKind::integers,
           .default_value = std::vector<int64_t>{},
           .minimum = -2147483648.,
           .maximum = 2147483647.,
           .doc = "labels of this number count for nothing; none by default"},
          reduction_attribute()};
}

std::vector<AttributeDef> likelihood_layer_attributes()
{
  return {{.name = "class_weights",
           .kind = AttributeKind::reals,
           .default_value = std::vector<double>{},
           .doc =
               "what a label of each class is worth; 1 by default. The mean divides by the sum of what its labels are "
               "worth"}};
}

std::string likelihood_loss(const OpCall& op, Scores scores)
{
  const Likelihood l = likelihood(op);
  const std::string& reduction = op.text("reduction");
  if (l.is_plain() && reduction != "none") {
    const std::string count = reduction == "mean" ? " / " + label_count(op) : "";
    return behind_channel(scores == Scores::logits ? "m[n@] max= x[n,c@]\n"
                                                     "z[n@] += exp(x[n,c@] - m[n@])\n"
                                                     "t[n@] += select(c == label[n@], x[n,c@], 0)\n"
                                                     "loss[] += (log(z[n@]) + m[n@] - t[n@])" +
                                                         count
                                                   : "t[n@] += select(c == label[n@], x[n,c@], 0)\n"
                                                     "loss[] += -t[n@]" +
                                                         count,
                          op);
  }
  return behind_channel(likelihood_terms(op, l, scores) + (reduction == "none"  ? "loss[n@] = e[n@]"
                                                           : reduction == "sum" ? "loss[] += e[n@]"
                                                                                : "loss[] += e[n@] / d[]"),
                        op);
}

// p = exp(x)/sum(exp(x)), which is de/dx of l:
//
//   de[n]/dx[n,c] = (1 - u) * (k*p - h*w[c]) + u/C * v * (W*p - w[c])
//   de[n]/dw[c]   = (1 - u) * h * (l - x[n,c]) + u/C * v * (l - x[n,c])          and the mean has d below: - h * loss
std::string likelihood_gradient(const OpCall& op, Scores scores)
{
  const Likelihood l = likelihood(op);
  const bool logits = scores == Scores::logits;
  const std::string& reduction = op.text("reduction");
  if (l.is_plain() && reduction != "none") {
    const std::string count = reduction == "mean" ? " / " + label_count(op) : "";
    return behind_channel(logits ? "m[n@] max= x[n,c@]\n"
                                   "z[n@] += exp(x[n,c@] - m[n@])\n"
                                   "dx[n,c@] = (exp(x[n,c@] - m[n@]) / z[n@] - select(c == label[n@], 1, 0))" +
                                       count + " * dloss[]"
                                 : "dx[n,c@] = select(c == label[n@], -dloss[], 0)" + count + " where c < " + l.classes,
                          op);
  }
  const std::string share = logits ? "exp(x[n,c@] - m[n@]) / z[n@]" : "0",
                    own = logits ? "(l[n@] - x[n,c@])" : "(-x[n,c@])";
  std::string to_x = fmt::format("(k[n@]*({}) - select({}, {}, 0))", share, l.hit, l.weight);
  std::string to_w = fmt::format("select({}, {}, 0)", l.hit, own);
  if (l.smooth) {
    to_x = fmt::format("((1 - label_smoothing)*{} + label_smoothing/{}*v[n@]*(W[]*({}) - {}))", to_x, l.classes, share,
                       l.weight);
    to_w = fmt::format("((1 - label_smoothing)*{} + label_smoothing/{}*v[n@]*{})", to_w, l.classes, own);
  }
  std::string outer = "dloss[n@]";
  if (reduction == "sum")
    outer = "dloss[]";
  if (reduction == "mean") {
    outer = "dloss[] / d[]";
    to_w = fmt::format("({} - select({}, loss[], 0))", to_w, l.hit);
  }
  return behind_channel(likelihood_terms(op, l, scores) +
                            fmt::format("dx[n,c@] = {} * {} where c < {}", to_x, outer, l.classes) +
                            (l.weights ? fmt::format("\ndclass_weights[c] += {} * {}", to_w, outer) : ""),
                        op);
}

} // namespace cnnc
