#include "tests/compiler/draws.h"

namespace cnnc::test {

namespace {

// Scores of classes and their labels, of pictures too.
struct Labelled {
  int x, label;
  int64_t classes;
};

Labelled labelled(Dice& dice, DrawnGraph& g)
{
  Numbers dims{-1}, labels{-1};
  const int64_t classes = dice.number(1, dice.one_in(3) ? 300 : 20);
  dims.push_back(classes);
  for (int64_t more = dice.one_in(2) ? 0 : dice.number(1, 3); more > 0; --more) {
    dims.push_back(dice.pick<int64_t>({1, 2, 3, 5, 8}));
    labels.push_back(dims.back());
  }
  return {g.input("x", dims), g.input("label", labels, DType::i32, classes), classes};
}

DrawOp likelihood(const std::string& name)
{
  return [=](Dice& dice, DrawnGraph& g) {
    const Labelled l = labelled(dice, g);
    std::vector<int> inputs{l.x, l.label};
    Attributes attributes{{"reduction", dice.pick({"mean", "mean", "sum", "none"})}};
    if (dice.one_in(3))
      inputs.push_back(g.parameter("positive", {l.classes}));
    if (dice.one_in(3))
      attributes["label_smoothing"] = dice.pick({0.1, 1.0});
    if (dice.one_in(3)) // not all of them: their mean would be 0/0
      attributes["ignore_index"] = attributes["reduction"] == AttributeValue("mean") ? l.classes : int64_t{0};
    return g.op(name, inputs, attributes);
  };
}

int hinge(Dice& dice, DrawnGraph& g)
{
  const Labelled l = labelled(dice, g);
  return g.op("hinge", {l.x, l.label},
              {{"margin", dice.pick({0.98765, 0.31234})}, {"reduction", dice.pick({"mean", "sum", "none"})}});
}

// A prediction and a target of its shape.
DrawOp elementwise_loss(const std::string& name, const std::string& x, const std::string& target,
                        std::vector<std::pair<std::string, std::vector<AttributeValue>>> choices = {})
{
  return [=](Dice& dice, DrawnGraph& g) {
    const Numbers dims = draw_shape(dice, 1, 4);
    Attributes attributes{{"reduction", dice.pick({"mean", "mean", "sum", "none"})}};
    for (const auto& [attribute, values] : choices)
      attributes[attribute] = values[static_cast<size_t>(dice.number(0, static_cast<int64_t>(values.size()) - 1))];
    return g.op(name, {g.input(x, dims), g.input(target, dims)}, attributes);
  };
}

Numbers draw_weight(Dice& dice)
{
  Numbers dims;
  for (int64_t rank = dice.number(1, 4); rank > 0; --rank)
    dims.push_back(dice.pick<int64_t>({1, 3, 5, 8, 16, 20}));
  return dims;
}

int sgd(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_weight(dice);
  return g.op("sgd", {g.input("w", dims), g.input("velocity", dims), g.input("gradient", dims), g.input("rate", {})},
              {{"learning_rate", 0.1},
               {"momentum", dice.pick({0.0, 0.9})},
               {"nesterov", dice.one_in(2)},
               {"weight_decay", dice.pick({0.0, 0.01})},
               {"rate_factor", dice.pick({1.0, 2.0})}});
}

int adam(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_weight(dice);
  return g.op("adam",
              {g.input("w", dims), g.input("mean", dims), g.input("square", dims), g.input("gradient", dims),
               g.input("rate", {}), g.input("step", {}, DType::i64)},
              {{"weight_decay", dice.pick({0.0, 0.01})}, {"rate_factor", dice.pick({1.0, 2.0})}});
}

const Draws draws = {
    {"cross_entropy", likelihood("cross_entropy")},
    {"nll", likelihood("nll")},
    {"mse", elementwise_loss("mse", "x", "target")},
    {"l1", elementwise_loss("l1", "x", "target")},
    {"smooth_l1", elementwise_loss("smooth_l1", "x", "wide", {{"beta", {1.0, 0.3, 0.0}}})},
    {"bce",
     [](Dice& dice, DrawnGraph& g) {
       const bool logits = dice.one_in(2);
       return elementwise_loss("bce", logits ? "wide" : "positive", "positive_target",
                               {{"from_logits", {logits}}})(dice, g);
     }},
    {"kl", elementwise_loss("kl", "x", "positive_target", {{"reduction", {"mean", "batch_mean", "sum", "none"}}})},
    {"hinge", hinge},
    {"sgd", sgd},
    {"adam", adam},
};

} // namespace

} // namespace cnnc::test
