// mean = beta1*mean + (1-beta1)*g;  square = beta2*square + (1-beta2)*g^2
// w -= rate * (mean / (1 - beta1^step)) / (sqrt(square / (1 - beta2^step)) + epsilon)
//
// Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1; weight decay is added to the
// gradient.
#include "ir/op.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

// 1 - b^s loses its digits while b^s is near one: with t = tanh(s*log(b)/2) it is -2t/(1 - t), which does not.
std::string formula(const OpCall& op)
{
  bool decays = op.real("weight_decay") != 0;
  return fmt::format("t1[] = tanh(0.5*log(beta1)*cast({0}, step[]))\n"
                     "t2[] = tanh(0.5*log(beta2)*cast({0}, step[]))\n"
                     "size[] = rate[]*rate_factor*(1 - t1[])/(-2*t1[])\n"
                     "scale[] = (1 - t2[])/(-2*t2[])\n"
                     "g[...] = gradient[...]{1}\n"
                     "new_mean[...] = beta1*mean[...] + (1 - beta1)*g[...]\n"
                     "new_square[...] = beta2*square[...] + (1 - beta2)*g[...]*g[...]\n"
                     "new_w[...] = w[...] - size[]*new_mean[...]/(sqrt(new_square[...]*scale[]) + epsilon)",
                     to_string(op.inputs[0].type->dtype), decays ? " + weight_decay*w[...]" : "");
}

AttributeDef beta(std::string name, double value, std::string doc)
{
  return {.name = std::move(name),
          .kind = AttributeKind::real,
          .default_value = value,
          .maximum = 0.999999,
          .doc = std::move(doc)};
}

} // namespace

extern const OpDef op_adam{
    .name = "adam",
    .doc = "steps against the gradient's running mean, each weight at its own scale",
    .inputs = {"w[...]", "mean[...]", "square[...]", "gradient[...]", "rate[]:f32", "step[]:i64"},
    .outputs = {"new_w", "new_mean", "new_square"},
    .attributes =
        {{.name = "learning_rate", .kind = AttributeKind::real, .default_value = 0.001, .doc = "the size of a step"},
         beta("beta1", 0.9, "how slowly the mean forgets"),
         beta("beta2", 0.999, "how slowly the mean square forgets"),
         {.name = "epsilon",
          .kind = AttributeKind::real,
          .default_value = 1e-8,
          .doc = "keeps the division away from zero"},
         {.name = "weight_decay",
          .kind = AttributeKind::real,
          .default_value = 0.0,
          .doc = "pulls weights towards zero: added to the gradient times the weight"},
         {.name = "rate_factor",
          .kind = AttributeKind::real,
          .default_value = 1.0,
          .doc = "the parameter's own factor of the learning rate"}},
    .make_formula = formula,
    .no_gradient = "an optimizer is the end of the way back",
    .is_optimizer = true,
};

} // namespace cnnc
