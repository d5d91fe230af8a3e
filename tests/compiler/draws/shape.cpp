#include "tests/compiler/draws.h"

#include <algorithm>
#include <cmath>

namespace cnnc::test {

namespace {

// Mostly numbers; these ops move whatever there is.
DType draw_dtype(Dice& dice)
{
  return dice.one_in(2) ? DType::f32 : dice.pick({DType::i32, DType::i64, DType::u8, DType::boolean, DType::f64});
}

int draw_input(DrawnGraph& g, const std::string& name, const Numbers& dims, DType dtype)
{
  return g.input(name, dims, dtype, is_float(dtype) ? 0 : dtype == DType::boolean ? 2 : 100);
}

// With the batch in front, or without any.
Numbers draw_dims(Dice& dice, int64_t least_rank, int64_t most_rank)
{
  Numbers dims = draw_shape(dice, least_rank, most_rank);
  if (dice.one_in(4))
    dims[0] = dice.number(1, 5);
  return dims;
}

// A dimension that is not the batch, as the user may count it.
int64_t draw_axis(Dice& dice, const Numbers& dims)
{
  const auto rank = static_cast<int64_t>(dims.size());
  const int64_t axis = dice.number(dims[0] < 0 ? 1 : 0, rank - 1);
  return dice.one_in(3) ? axis - rank : axis;
}

int64_t& at(Numbers& dims, int64_t axis)
{
  return dims[static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(dims.size()) : axis)];
}

int concat(Dice& dice, DrawnGraph& g)
{
  Numbers dims = draw_dims(dice, 2, 4);
  const int64_t axis = draw_axis(dice, dims);
  const DType dtype = draw_dtype(dice);
  std::vector<int> inputs;
  for (int64_t i = dice.number(1, 4); i > 0; --i) {
    at(dims, axis) = dice.pick<int64_t>({1, 2, 3, 8, 16});
    inputs.push_back(draw_input(g, "x" + std::to_string(i), dims, dtype));
  }
  return g.op("concat", inputs, {{"axis", axis}});
}

int flatten(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_dims(dice, 1, 4);
  const auto rank = static_cast<int64_t>(dims.size());
  const int64_t axis = dice.one_in(2) ? 1 : dice.number(dims[0] < 0 ? 1 : -rank, rank);
  return g.op("flatten", {draw_input(g, "x", dims, draw_dtype(dice))}, {{"axis", axis}});
}

// The same factors, shuffled and grouped anew on both sides: some have common digits, some have none.
int reshape(Dice& dice, DrawnGraph& g)
{
  const bool has_batch = !dice.one_in(4);
  Numbers factors;
  for (int64_t k = dice.number(1, 5); k > 0; --k)
    factors.push_back(dice.pick<int64_t>({1, 2, 2, 3, 4, 5}));
  auto grouped = [&] {
    Numbers dims{1};
    for (const int64_t factor : factors)
      if (dice.one_in(2))
        dims.back() *= factor;
      else
        dims.push_back(factor);
    return dims;
  };
  Numbers from = grouped();
  if (dice.one_in(2))
    for (size_t k = factors.size(); k > 1; --k)
      std::swap(factors[k - 1], factors[static_cast<size_t>(dice.number(0, static_cast<int64_t>(k) - 1))]);
  Numbers to = grouped();
  if (has_batch) {
    from.insert(from.begin(), -1);
    if (dice.one_in(3))
      to[0] = -1; // 4*n
    else
      to.insert(to.begin(), dice.pick<int64_t>({0, -1}));
  } else if (dice.one_in(2)) {
    to[static_cast<size_t>(dice.number(0, static_cast<int64_t>(to.size()) - 1))] = -1;
  }
  return g.op("reshape", {draw_input(g, "x", from, draw_dtype(dice))}, {{"shape", to}});
}

int transpose(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_dims(dice, 1, 5);
  Numbers perm;
  // A network's results have the batch in front.
  const int64_t fixed = dims[0] < 0 ? 1 : 0;
  for (int64_t k = 0; k < static_cast<int64_t>(dims.size()); ++k)
    perm.insert(perm.begin() + dice.number(std::min(fixed, k), k), k);
  if (fixed == 0 && dice.one_in(2))
    perm.clear();
  return g.op("transpose", {draw_input(g, "x", dims, draw_dtype(dice))}, {{"perm", perm}});
}

int squeeze(Dice& dice, DrawnGraph& g)
{
  Numbers dims = draw_dims(dice, 2, 5), axes;
  for (size_t d = 1; d < dims.size(); ++d)
    if (dice.one_in(2)) {
      dims[d] = 1;
      if (dice.one_in(2))
        axes.push_back(static_cast<int64_t>(d) - (dice.one_in(3) ? static_cast<int64_t>(dims.size()) : 0));
    }
  return g.op("squeeze", {draw_input(g, "x", dims, draw_dtype(dice))}, {{"axes", axes}});
}

int unsqueeze(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_dims(dice, 1, 4);
  const int64_t more = dice.number(1, 2), rank = static_cast<int64_t>(dims.size()) + more;
  const int64_t first = dims[0] < 0 ? 1 : 0; // the batch stays in front
  Numbers axes{dice.number(first, rank - 1)};
  if (more == 2)
    axes.push_back(first + (axes[0] - first + dice.number(1, rank - 1 - first)) % (rank - first) -
                   (dice.one_in(2) ? rank : 0));
  return g.op("unsqueeze", {draw_input(g, "x", dims, draw_dtype(dice))}, {{"axes", axes}});
}

int slice(Dice& dice, DrawnGraph& g)
{
  Numbers dims = draw_dims(dice, 2, 4), axes, starts, ends, steps;
  const auto rank = static_cast<int64_t>(dims.size());
  for (int64_t axis = dims[0] < 0 ? 1 : 0; axis < rank; ++axis) {
    if (dice.one_in(2))
      continue;
    const int64_t size = dims[static_cast<size_t>(axis)], step = dice.pick<int64_t>({1, 1, 2, 3, -1, -2});
    const int64_t first = dice.number(0, size - 1), last = dice.number(first, size + 2);
    axes.push_back(dice.one_in(3) ? axis - rank : axis);
    steps.push_back(step);
    if (step > 0) {
      starts.push_back(dice.one_in(3) ? first - size : first);
      ends.push_back(std::max(last, first + 1));
    } else {
      starts.push_back(dice.one_in(3) ? INT64_C(1) << 40 : last);
      ends.push_back(first == 0 || dice.one_in(3) ? -(INT64_C(1) << 40) : first - 1);
    }
  }
  if (axes.empty())
    axes = {rank - 1}, starts = {0}, ends = {INT64_C(1) << 50}, steps = {1};
  return g.op("slice", {draw_input(g, "x", dims, draw_dtype(dice))},
              {{"axes", axes}, {"starts", starts}, {"ends", ends}, {"steps", steps}});
}

int split(Dice& dice, DrawnGraph& g)
{
  Numbers dims = draw_dims(dice, 2, 4), sizes;
  const int64_t axis = draw_axis(dice, dims);
  at(dims, axis) = 0;
  for (int64_t k = dice.number(1, 4); k > 0; --k) {
    sizes.push_back(dice.number(1, 9));
    at(dims, axis) += sizes.back();
  }
  return g.op("split", {draw_input(g, "x", dims, draw_dtype(dice))},
              {{"axis", axis}, {"sizes", sizes}, {"part", dice.number(0, static_cast<int64_t>(sizes.size()) - 1)}});
}

int pad(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_dims(dice, 2, 4);
  const std::string mode = dice.pick<std::string>({"constant", "constant", "reflect", "edge", "wrap"});
  Numbers padding(2 * dims.size(), 0);
  for (size_t d = dims[0] < 0 ? 1 : 0; d < dims.size(); ++d)
    if (!dice.one_in(3)) {
      padding[d] = dice.number(dims[d] > 2 ? -1 : 0, 4);
      padding[dims.size() + d] = dice.number(dims[d] > 2 ? -1 : 0, 4);
    }
  const DType dtype = draw_dtype(dice);
  const double value = dtype == DType::boolean ? 1 : is_float(dtype) ? dice.pick({0.0, 1.5, -1e30}) : 7;
  return g.op("pad", {draw_input(g, "x", dims, dtype)}, {{"padding", padding}, {"mode", mode}, {"value", value}});
}

int gather(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_dims(dice, 2, 4);
  Numbers copy = dims, indices;
  const int64_t axis = draw_axis(dice, dims), size = at(copy, axis), step = dice.number(1, 3);
  for (int64_t k = dice.number(1, 12); k > 0; --k)
    indices.push_back(dice.one_in(2) && !indices.empty() && indices.back() + step < size
                          ? indices.back() + step
                          : dice.number(-size, size - 1));
  return g.op("gather", {draw_input(g, "x", dims, draw_dtype(dice))}, {{"axis", axis}, {"indices", indices}});
}

int tile(Dice& dice, DrawnGraph& g)
{
  const Numbers dims = draw_dims(dice, 1, 4);
  Numbers repeats(dims.size(), 1);
  for (size_t d = dims[0] < 0 ? 1 : 0; d < dims.size(); ++d)
    repeats[d] = dice.number(1, 3);
  return g.op("tile", {draw_input(g, "x", dims, draw_dtype(dice))}, {{"repeats", repeats}});
}

int expand(Dice& dice, DrawnGraph& g)
{
  Numbers dims = draw_dims(dice, 1, 4), shape;
  if (dims[0] > 0 && dice.one_in(2))
    shape.push_back(dice.number(1, 3));
  for (size_t d = 0; d < dims.size(); ++d) {
    if (d > 0 && dice.one_in(2))
      dims[d] = 1;
    shape.push_back(dims[d] == 1 ? dice.number(1, 9) : dice.one_in(2) ? 1 : dims[d]);
  }
  if (shape.size() == dims.size() && shape.size() > 1 && dice.one_in(4))
    shape.erase(shape.begin());
  return g.op("expand", {draw_input(g, "x", dims, draw_dtype(dice))}, {{"shape", shape}});
}

int resize(Dice& dice, DrawnGraph& g)
{
  const int64_t spatial = dice.number(1, 3);
  Numbers dims{-1, dice.pick<int64_t>({1, 2, 3, 8, 17})}, axes, sizes;
  std::vector<double> scales, roi;
  const bool has_sizes = dice.one_in(2);
  for (int64_t d = 0; d < spatial; ++d) {
    const int64_t size = dice.number(1, spatial == 1 ? 20 : 7);
    dims.push_back(size);
    axes.push_back(dice.one_in(3) ? d - spatial : d + 2);
    if (has_sizes)
      sizes.push_back(dice.one_in(3) ? 2 * size : dice.number(1, 14));
    else
      scales.push_back(
          dice.one_in(2) ? 2.0 : std::max(dice.pick({0.5, 1.0, 3.0, 1.3, 0.8}), 1.0 / static_cast<double>(size)));
  }
  const std::string mode = dice.pick<std::string>({"nearest", "nearest", "linear", "linear", "cubic"});
  const std::string coordinates =
      dice.pick<std::string>({"half_pixel", "half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel",
                              "half_pixel_symmetric", "tf_crop_and_resize"});
  if (coordinates == "tf_crop_and_resize") {
    for (int64_t d = 0; d < spatial; ++d)
      roi.push_back(dice.pick({0.0, 0.2, -0.3}));
    for (int64_t d = 0; d < spatial; ++d)
      roi.push_back(dice.pick({1.0, 0.9, 1.4}));
  }
  return g.op("resize", {g.input("x", dims)},
              {{"axes", axes},
               {"sizes", sizes},
               {"scales", scales},
               {"roi", roi},
               {"mode", mode},
               {"coordinates", coordinates},
               {"rounding", dice.pick<std::string>({"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"})},
               {"exclude_outside", dice.one_in(4)},
               {"antialias", dice.one_in(3)},
               {"extrapolation_value", 3.5}});
}

DrawOp pixels(const std::string& name)
{
  return [=](Dice& dice, DrawnGraph& g) {
    const int64_t factor = dice.number(1, 3), channels = dice.number(1, 5), rows = dice.number(1, 6),
                  columns = dice.number(1, 9);
    const Numbers dims = name == "pixel_shuffle" ? Numbers{-1, channels * factor * factor, rows, columns}
                                                 : Numbers{-1, channels, rows * factor, columns * factor};
    return g.op(name, {draw_input(g, "x", dims, draw_dtype(dice))},
                {{"factor", factor}, {"order", dice.pick<std::string>({"dcr", "crd"})}});
  };
}

int parameter(Dice& dice, DrawnGraph& g)
{
  Numbers dims = draw_shape(dice, 1, 4);
  dims[0] = dice.number(1, 5);
  return g.op("parameter", {g.parameter("value", dims)});
}

const Draws draws = {
    {"flatten", flatten},
    {"reshape", reshape},
    {"transpose", transpose},
    {"squeeze", squeeze},
    {"unsqueeze", unsqueeze},
    {"slice", slice},
    {"split", split},
    {"pad", pad},
    {"gather", gather},
    {"tile", tile},
    {"expand", expand},
    {"resize", resize},
    {"pixel_shuffle", pixels("pixel_shuffle")},
    {"pixel_unshuffle", pixels("pixel_unshuffle")},
    {"parameter", parameter},
    {"concat", concat},
    {"copy", pointwise("copy")},
};

} // namespace

} // namespace cnnc::test
