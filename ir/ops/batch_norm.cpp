// y[n,c,...] = (x[n,c,...] - mean[c]) / sqrt(var[c] + epsilon) * weight[c] + bias[c]
//
// In inference mean and var are the running ones: a factor and a summand for each channel. In training they are the
// batch's, and
//   running_mean = momentum*running_mean + (1 - momentum)*mean      running_var likewise
// var is the mean of the squared distances (divided by their number, not by one less), for y and for running_var: as
// ONNX has it. PyTorch divides by one less for running_var, and its momentum is 1 - ours.
// Ioffe, Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift", ICML
// 2015.
#include "ir/op.h"
#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

// Texts with @ for the subscripts behind the channel and # for how many points the batch has for each channel.
std::string spread(std::string_view text, const OpCall& op)
{
  std::string points = "N", result;
  for (size_t d = 2; d < op.shape(0).size(); ++d)
    points += fmt::format("*{}", op.shape(0)[d].size);
  for (char c : behind_channel(text, op))
    result += c == '#' ? "(" + points + ")" : std::string(1, c);
  return result;
}

std::string formula(const OpCall& op)
{
  if (op.integer("training") == 0)
    return spread("mean[c] = running_mean[c]\n"
                  "inverse[c] = rsqrt(running_var[c] + epsilon)\n"
                  "scale[c] = weight[c] * rsqrt(running_var[c] + epsilon)\n"
                  "shift[c] = bias[c] - running_mean[c] * scale[c]\n"
                  "y[n,c@] = x[n,c@] * scale[c] + shift[c]",
                  op);
  return spread("s[c] += x[n,c@]\n"
                "mean[c] = s[c] / #\n"
                "q[c] += (x[n,c@] - mean[c]) * (x[n,c@] - mean[c])\n"
                "var[c] = q[c] / #\n"
                "inverse[c] = rsqrt(var[c] + epsilon)\n"
                "scale[c] = weight[c] * inverse[c]\n"
                "new_mean[c] = momentum*running_mean[c] + (1 - momentum)*mean[c]\n"
                "new_var[c] = momentum*running_var[c] + (1 - momentum)*var[c]\n"
                "y[n,c@] = (x[n,c@] - mean[c]) * scale[c] + bias[c]",
                op);
}

// Through the batch's own mean and variance; the derived one would compute both again, and their gradients apart.
std::string gradient(const OpCall& op)
{
  if (op.integer("training") == 0)
    return "";
  return spread("a[c] += dy[n,c@]\n"
                "b[c] += dy[n,c@] * (x[n,c@] - mean[c])\n"
                "slope[c] = b[c] * inverse[c] * inverse[c] / #\n"
                "level[c] = a[c] / #\n"
                "factor[c] = weight[c] * inverse[c]\n"
                "dx[n,c@] = factor[c] * (dy[n,c@] - level[c] - (x[n,c@] - mean[c]) * slope[c])\n"
                "dweight[c] = b[c] * inverse[c]\n"
                "dbias[c] = a[c]",
                op);
}

} // namespace

extern const OpDef op_batch_norm{
    .name = "batch_norm",
    .doc = "gives each channel mean 0 and deviation 1, then a learnt factor and summand: by the batch's statistics in "
           "training, by their running means afterwards",
    .inputs = {"x[N,C,...]", "weight[C]", "bias[C]", "running_mean[C]", "running_var[C]"},
    .outputs = {"y", "new_mean[C]", "new_var[C]", "mean[C]", "inverse[C]"},
    .attributes = {{.name = "epsilon",
                    .kind = AttributeKind::real,
                    .default_value = 1e-5,
                    .doc = "added to the variance, which may be zero"},
                   {.name = "momentum",
                    .kind = AttributeKind::real,
                    .default_value = 0.9,
                    .maximum = 1,
                    .doc = "how much of the running mean and variance stays at each step"},
                   {.name = "training",
                    .kind = AttributeKind::boolean,
                    .default_value = false,
                    .doc = "by the batch's statistics"}},
    .parameters = {{.name = "weight", .dims = {"C"}, .initial = "one"},
                   {.name = "bias", .dims = {"C"}, .initial = "zero"},
                   {.name = "running_mean", .dims = {"C"}, .initial = "zero", .is_learnt = false},
                   {.name = "running_var", .dims = {"C"}, .initial = "one", .is_learnt = false}},
    .make_formula = formula,
    .make_gradient = gradient,
    .kept = {"mean", "inverse"},
    .updates = {{"new_mean", "running_mean"}, {"new_var", "running_var"}},
};

} // namespace cnnc
