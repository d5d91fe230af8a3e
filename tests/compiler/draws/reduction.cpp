#include "tests/compiler/draws.h"

namespace cnnc::test {

namespace {

// Some axes, counted from either end; none are all but the batch.
Numbers draw_axes(Dice& dice, size_t rank, bool batch)
{
  Numbers axes;
  for (size_t d = batch ? 0 : 1; d < rank; ++d)
    if (dice.one_in(2))
      axes.push_back(static_cast<int64_t>(d) - (dice.one_in(2) ? static_cast<int64_t>(rank) : 0));
  return axes;
}

DrawOp reduction(const std::string& name, std::vector<DType> types, const std::string& input = "x", bool batch = true)
{
  return [=](Dice& dice, DrawnGraph& g) {
    const DType type = types[static_cast<size_t>(dice.number(0, static_cast<int64_t>(types.size()) - 1))];
    const Numbers dims = draw_shape(dice, 1, 4);
    return g.op(name, {g.input(input, dims, type)},
                {{"axes", draw_axes(dice, dims.size(), batch)}, {"keep_dims", dice.one_in(2)}});
  };
}

int argmax(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_shape(dice, 2, 4);
  const auto rank = static_cast<int64_t>(dims.size());
  return g.op("argmax", {g.input("x", dims, dice.pick({DType::f32, DType::f32, DType::i32}))},
              {{"axis", dice.number(1, rank - 1) - (dice.one_in(2) ? rank : 0)}, {"keep_dims", dice.one_in(2)}});
}

DrawOp along_axis(const std::string& name)
{
  return [=](Dice& dice, DrawnGraph& g) {
    const Numbers dims = draw_shape(dice, 2, 4);
    const auto rank = static_cast<int64_t>(dims.size());
    return g.op(name, {g.input("wide", dims)},
                {{"axis", dice.one_in(2) ? 1 : dice.number(0, rank - 1) - (dice.one_in(2) ? rank : 0)}});
  };
}

const std::vector<DType> floats{DType::f32},
    numbers{DType::f32, DType::f32, DType::f32, DType::f64, DType::i32, DType::i64},
    any_number{DType::f32, DType::f32, DType::f64, DType::i32, DType::i64, DType::u8, DType::i8},
    compared{DType::f32, DType::f32, DType::f64, DType::i32, DType::u8, DType::i8, DType::boolean};

const Draws draws = {
    {"softmax", along_axis("softmax")},
    {"log_softmax", along_axis("log_softmax")},
    {"reduce_sum", reduction("reduce_sum", numbers)},
    {"reduce_mean", reduction("reduce_mean", any_number)},
    {"reduce_max", reduction("reduce_max", compared)},
    {"reduce_min", reduction("reduce_min", compared)},
    {"reduce_prod", reduction("reduce_prod", numbers, "x", false)},
    {"reduce_l1", reduction("reduce_l1", numbers)},
    {"reduce_l2", reduction("reduce_l2", floats)},
    {"reduce_sum_square", reduction("reduce_sum_square", numbers)},
    {"reduce_log_sum", reduction("reduce_log_sum", floats, "positive")},
    {"reduce_log_sum_exp", reduction("reduce_log_sum_exp", floats, "wide")},
    {"argmax", argmax},
};

} // namespace

} // namespace cnnc::test
