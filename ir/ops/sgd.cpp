// g = gradient + weight_decay*w;  velocity = momentum*velocity + g;  w -= rate * (velocity, or g + momentum*velocity)
//
// As PyTorch's SGD (no dampening). nesterov: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and
// momentum in deep learning", ICML 2013.
#include "ir/op.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  bool decays = op.real("weight_decay") != 0;
  bool nesterov = op.integer("nesterov") != 0;
  return fmt::format("g[...] = gradient[...]{}\n"
                     "new_velocity[...] = momentum*velocity[...] + g[...]\n"
                     "new_w[...] = w[...] - rate[]*rate_factor*{}",
                     decays ? " + weight_decay*w[...]" : "",
                     nesterov ? "(g[...] + momentum*new_velocity[...])" : "new_velocity[...]");
}

} // namespace

extern const OpDef op_sgd{
    .name = "sgd",
    .doc = "steps against the gradient, with momentum",
    .inputs = {"w[...]", "velocity[...]", "gradient[...]", "rate[]:f32"},
    .outputs = {"new_w", "new_velocity"},
    .attributes = {{.name = "learning_rate", .kind = AttributeKind::real, .doc = "the size of a step"},
                   {.name = "momentum",
                    .kind = AttributeKind::real,
                    .default_value = 0.0,
                    .maximum = 1,
                    .doc = "how much of the last step goes on"},
                   {.name = "nesterov",
                    .kind = AttributeKind::boolean,
                    .default_value = false,
                    .doc = "look ahead along the velocity"},
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
