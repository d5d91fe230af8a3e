// y[n,c,...] = x[n,c,...] / (bias + alpha/size * sum of x^2 over `size` channels around c)^beta
//
// Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", NIPS 2012, whose
// alpha is not divided by size. Of an even size one channel more lies behind c than before.
#include "ir/op.h"
#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

// t^-beta: the usual exponents without a logarithm.
std::string power(double beta)
{
  if (beta == 0.5)
    return "rsqrt(t[n,c@])";
  if (beta == 0.75)
    return "(rsqrt(t[n,c@]) * sqrt(rsqrt(t[n,c@])))";
  return beta == 1 ? "(1 / t[n,c@])" : "pow(t[n,c@], -beta)";
}

// Every index has its range: none subscripts a dimension alone.
std::string squares(const OpCall& op)
{
  return fmt::format("s[n,c@] += x[n, c + i - (size - 1)/2 @] * x[n, c + i - (size - 1)/2 @] where c < {}, i < size\n"
                     "t[n,c@] = bias + s[n,c@] * (alpha/size)\n",
                     op.shape(0)[1].size);
}

} // namespace

extern const OpDef op_lrn{
    .name = "lrn",
    .doc = "local response normalization: channels that are near hold each other down",
    .inputs = {"x[N,C,...]"},
    .outputs = {"y"},
    .attributes = {{.name = "size", .minimum = 1, .maximum = 1 << 20, .doc = "how many channels"},
                   {.name = "alpha",
                    .kind = AttributeKind::real,
                    .default_value = 1e-4,
                    .doc = "the weight of the squares' mean"},
                   {.name = "beta", .kind = AttributeKind::real, .default_value = 0.75, .doc = "the exponent"},
                   {.name = "bias", .kind = AttributeKind::real, .default_value = 1.0, .doc = "added to the mean"}},
    .make_formula =
        [](const OpCall& op) {
          return behind_channel(squares(op) + "y[n,c@] = x[n,c@] * " + power(op.real("beta")), op);
        },
    .make_gradient =
        [](const OpCall& op) {
          return behind_channel(squares(op) +
                                    "u[n,c@] = dy[n,c@] * y[n,c@] / t[n,c@]\n"
                                    "v[n,c@] += u[n, c - i + (size - 1)/2 @] where c < " +
                                    std::to_string(op.shape(0)[1].size) +
                                    ", i < size\n"
                                    "dx[n,c@] = dy[n,c@] * " +
                                    power(op.real("beta")) + " - x[n,c@] * v[n,c@] * (2*alpha*beta/size)",
                                op);
        },
};

} // namespace cnnc
