// y[p] = x[p] / (1 - rate), or 0 where random(key + salt, step*2^40 + p) < rate;  p: the element's number
//
// The same key, step and salt give the same mask: the way back draws it again instead of keeping it.
#include "ir/op.h"

#include "ir/random.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string formula(const OpCall& op)
{
  // Even, so that the key stays odd, and below 2^53, which any number in a text keeps.
  uint64_t salt = seed_key(static_cast<uint64_t>(op.integer("salt"))) & 0x1ffffffffffffe;
  const Shape& shape = op.shape(0);
  std::string subscripts, position;
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    std::string index = fmt::format("i{}", d);
    subscripts = index + (subscripts.empty() ? "" : ",") + subscripts;
    position += fmt::format(" + {}*{}", index, stride);
    stride *= shape[d].size; // an element count: checked when the type was made
  }
  return fmt::format("y[{0}] = select(random(key[] + {1}, step[]*1099511627776{2}) < rate, 0, x[{0}] * (1/(1 - rate)))",
                     subscripts, salt, position);
}

} // namespace

extern const OpDef op_dropout{
    .name = "dropout",
    .doc = "in training, zeroes a random part and scales up the rest; afterwards it passes everything",
    .inputs = {"x[...]", "key[]:i64", "step[]:i64"},
    .outputs = {"y"},
    .attributes = {{.name = "rate",
                    .kind = AttributeKind::real,
                    .default_value = 0.5,
                    .maximum = 0.999999,
                    .doc = "the part that is zeroed"},
                   {.name = "salt", .default_value = int64_t{0}, .doc = "tells one dropout's masks from another's"}},
    .make_formula = formula,
    .training_only = true,
};

} // namespace cnnc
