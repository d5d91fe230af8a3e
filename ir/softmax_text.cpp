#include "ir/softmax_text.h"

#include "ir/shape_text.h"

#include <fmt/format.h>

namespace cnnc {

std::vector<AttributeDef> axis_attribute()
{
  return {{.name = "axis",
           .kind = AttributeKind::integer,
           .default_value = int64_t{1},
           .minimum = -16,
           .maximum = 15,
           .doc = "along which axis; the batch is 0, a negative one counts from the end"}};
}

MakeText along_axis(std::string text)
{
  return [text = std::move(text)](const OpCall& op) {
    Texts all = index_names(op.shape(0).size());
    const size_t axis = axis_of(op.integer("axis"), all.size());
    for (size_t d = 0; d < all.size() && d < 2; ++d)
      all[d] = d == 0 ? "n" : "c";
    Texts rest = all;
    rest.erase(rest.begin() + static_cast<int64_t>(axis));
    return fmt::format(fmt::runtime(text), fmt::arg("all", list(all)), fmt::arg("rest", list(rest)));
  };
}

} // namespace cnnc
