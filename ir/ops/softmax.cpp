// y[n,c] = exp(x[n,c] - m[n]) / z[n]     m[n]: the largest x[n,c], so that nothing overflows;  z[n]: the sum
#include "ir/op.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

// Texts with @ for the subscripts behind the channel, which the sums leave in place.
std::string spread(std::string_view text, const OpCall& op)
{
  std::string rest, result;
  for (size_t d = 2; d < op.shape(0).size(); ++d)
    rest += fmt::format(",i{}", d);
  for (char c : text)
    result += c == '@' ? rest : std::string(1, c);
  return result;
}

} // namespace

extern const OpDef op_softmax{
    .name = "softmax",
    .doc = "positive numbers that sum to one over the channels; a final one before the loss cross_entropy is left out "
           "in training, since that takes what softmax reads",
    .inputs = {"x[N,C,...]"},
    .outputs = {"y"},
    .make_formula =
        [](const OpCall& op) {
          return spread("m[n@] max= x[n,c@]\n"
                        "e[n,c@] = exp(x[n,c@] - m[n@])\n"
                        "z[n@] += e[n,c@]\n"
                        "y[n,c@] = e[n,c@] / z[n@]",
                        op);
        },
    .make_gradient =
        [](const OpCall& op) {
          return spread("s[n@] += dy[n,c@] * y[n,c@]\n"
                        "dx[n,c@] = y[n,c@] * (dy[n,c@] - s[n@])",
                        op);
        },
};

} // namespace cnnc
