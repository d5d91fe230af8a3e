// y = gamma * x where x is positive, else gamma * alpha * (exp(x) - 1) (elu.cpp has the way to exp - 1)
//
// Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks", NIPS 2017: with these constants the
// mean 0 and the variance 1 are a fixed point.
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_selu{
    .name = "selu",
    .doc = "elu scaled so that activations keep mean 0 and variance 1",
    .inputs = {"x[...]"},
    .outputs = {"y"},
    .attributes = {{.name = "alpha",
                    .kind = AttributeKind::real,
                    .default_value = 1.67326319217681884765625,
                    .minimum = -1e9,
                    .doc = "below zero it ends at -gamma*alpha"},
                   {.name = "gamma",
                    .kind = AttributeKind::real,
                    .default_value = 1.05070102214813232421875,
                    .minimum = -1e9,
                    .doc = "times everything"}},
    .formula = "t[...] = tanh(0.5*x[...])\n"
               "y[...] = gamma * select(x[...] < 0, alpha * (2*t[...]) / (1 - t[...]), x[...])",
    .gradient = "dx[...] = gamma * select(x[...] < 0, dy[...] * alpha * exp(x[...]), dy[...])",
};

} // namespace cnnc
