#include "tests/compiler/draws.h"

namespace cnnc::test {

namespace {

struct DrawnWindow {
  Numbers kernel, stride, dilation, padding, in, out;
  bool rounds_up = false;

  Attributes attributes(bool is_pool) const
  {
    Attributes result{{"stride", stride}, {"padding", padding}, {"dilation", dilation}};
    if (is_pool) {
      result["kernel"] = kernel;
      result["ceil_mode"] = rounds_up;
    }
    return result;
  }
  Numbers dims(std::initializer_list<int64_t> first, const Numbers& rest) const
  {
    Numbers result(first);
    result.insert(result.end(), rest.begin(), rest.end());
    return result;
  }
};

// Windows that fit; `touches`: padding never takes a whole window.
DrawnWindow draw_window(Dice& dice, size_t rank, bool is_dilated, bool touches)
{
  DrawnWindow w;
  w.rounds_up = touches && dice.one_in(2);
  w.padding.assign(2 * rank, 0);
  for (size_t d = 0; d < rank; ++d) {
    w.kernel.push_back(dice.number(1, rank == 3 ? 3 : 4));
    w.stride.push_back(dice.number(1, 3));
    w.dilation.push_back(is_dilated ? dice.pick<int64_t>({1, 1, 2, 3}) : 1);
    const int64_t span = w.dilation[d] * (w.kernel[d] - 1);
    // Some tap of every window meets the input, also where taps are far apart.
    const int64_t most = touches ? std::min<int64_t>(2, w.kernel[d] > 1 ? w.dilation[d] * (w.kernel[d] / 2) : 0) : 2;
    if (!dice.one_in(3)) {
      w.padding[d] = dice.number(0, most);
      w.padding[d + rank] = dice.number(0, most);
    }
    const int64_t padded = w.padding[d] + w.padding[d + rank];
    const int64_t least = touches ? w.dilation[d] : 1;
    w.in.push_back(std::max(least, span + 1 - padded) + dice.number(0, rank == 3 ? 4 : dice.one_in(4) ? 24 : 9));
    w.out.push_back((w.in[d] + padded - span - 1) / w.stride[d] + 1);
  }
  return w;
}

struct Groups {
  int64_t count, channels, filters; // of each
};

Groups draw_groups(Dice& dice)
{
  const int64_t count = dice.pick<int64_t>({1, 1, 1, 2, 3, 8, 17, 32});
  if (count > 2)
    return {count, dice.number(1, 2), dice.number(1, 2)};
  return {count, draw_channels(dice), draw_channels(dice)};
}

DrawOp conv(size_t rank)
{
  return [=](Dice& dice, DrawnGraph& g) {
    const DrawnWindow w = draw_window(dice, rank, true, false);
    const Groups groups = draw_groups(dice);
    const int x = g.input("x", w.dims({-1, groups.channels * groups.count}, w.in));
    const int weight = g.parameter("w", w.dims({groups.filters * groups.count, groups.channels}, w.kernel));
    const int bias = dice.one_in(3) ? -1 : g.parameter("b", {groups.filters * groups.count});
    Attributes attributes = w.attributes(false);
    attributes["groups"] = groups.count;
    attributes["flip"] = dice.one_in(5);
    return g.op("conv" + std::to_string(rank) + "d", {x, weight, bias}, attributes);
  };
}

DrawOp conv_transpose(size_t rank)
{
  return [=](Dice& dice, DrawnGraph& g) {
    // The input is what a convolution with this window would make.
    DrawnWindow w = draw_window(dice, rank, true, false);
    Numbers more;
    for (size_t d = 0; d < rank; ++d) {
      more.push_back(dice.number(0, w.stride[d] - 1));
      const int64_t size = (w.out[d] - 1) * w.stride[d] + w.dilation[d] * (w.kernel[d] - 1) + 1 + more[d] -
                           w.padding[d] - w.padding[d + rank];
      if (size < 1)
        w.out[d] += 1 - size;
    }
    const Groups groups = draw_groups(dice);
    const int x = g.input("x", w.dims({-1, groups.channels * groups.count}, w.out));
    const int weight = g.parameter("w", w.dims({groups.channels * groups.count, groups.filters}, w.kernel));
    const int bias = dice.one_in(3) ? -1 : g.parameter("b", {groups.filters * groups.count});
    Attributes attributes = w.attributes(false);
    attributes["groups"] = groups.count;
    attributes["output_padding"] = more;
    return g.op("conv_transpose" + std::to_string(rank) + "d", {x, weight, bias}, attributes);
  };
}

DrawOp local(size_t rank)
{
  return [=](Dice& dice, DrawnGraph& g) {
    const DrawnWindow w = draw_window(dice, rank, false, false);
    const int64_t channels = dice.number(1, 5), filters = dice.pick<int64_t>({1, 2, 5, 8});
    Numbers weight = w.dims({filters}, w.out), bias = weight;
    weight.push_back(channels);
    weight.insert(weight.end(), w.kernel.begin(), w.kernel.end());
    const int x = g.input("x", w.dims({-1, channels}, w.in)), its_weight = g.parameter("w", weight);
    const int its_bias = dice.one_in(3) ? -1 : g.parameter("b", bias);
    return g.op("local" + std::to_string(rank) + "d", {x, its_weight, its_bias},
                {{"stride", w.stride}, {"padding", w.padding}});
  };
}

DrawOp pool(const std::string& name, size_t rank)
{
  return [=](Dice& dice, DrawnGraph& g) {
    const DrawnWindow w = draw_window(dice, rank, true, true);
    const int x = g.input("x", w.dims({-1, draw_channels(dice)}, w.in));
    Attributes attributes = w.attributes(true);
    if (name == "avg_pool")
      attributes["count_include_pad"] = dice.one_in(2);
    if (name == "lp_pool")
      attributes["p"] = dice.number(1, 4);
    return g.op(name + std::to_string(rank) + "d", {x}, attributes);
  };
}

DrawOp global_pool(const std::string& name)
{
  return [=](Dice& dice, DrawnGraph& g) {
    Numbers dims{-1, draw_channels(dice)};
    for (int64_t rank = dice.pick<int64_t>({0, 1, 2, 2, 2, 3}); rank > 0; --rank)
      dims.push_back(dice.number(1, rank == 3 ? 5 : 12));
    const int x = g.input("x", dims);
    return name == "global_lp_pool" ? g.op(name, {x}, {{"p", dice.number(1, 4)}}) : g.op(name, {x});
  };
}

DrawOp adaptive_pool(const std::string& name, size_t rank)
{
  return [=](Dice& dice, DrawnGraph& g) {
    Numbers dims{-1, draw_channels(dice)}, size;
    for (size_t d = 0; d < rank; ++d) {
      size.push_back(dice.number(1, 5));
      dims.push_back(dice.one_in(3) ? size[d] * dice.number(1, 3) : dice.number(1, 9));
    }
    return g.op(name + std::to_string(rank) + "d", {g.input("x", dims)}, {{"size", size}});
  };
}

int max_unpool2d(Dice& dice, DrawnGraph& g)
{
  const DrawnWindow w = draw_window(dice, 2, true, true);
  const int64_t channels = draw_channels(dice);
  Numbers out;
  for (size_t d = 0; d < 2; ++d)
    out.push_back(w.out[d]);
  const int x = g.input("x", w.dims({-1, channels}, out)), from = g.input("from", w.dims({-1, channels}, w.in));
  g.graph.values[static_cast<size_t>(from)].rate = 0; // moves values, and has no gradient
  Attributes attributes = w.attributes(true);
  attributes["ceil_mode"] = false;
  return g.op("max_unpool2d", {x, from}, attributes);
}

int lrn(Dice& dice, DrawnGraph& g)
{
  const int x = g.input("x", draw_shape(dice, 2, 5));
  return g.op("lrn", {x},
              {{"size", dice.number(1, 6)},
               {"alpha", dice.pick({0.0001, 0.5, 2.0})},
               {"beta", dice.pick({0.5, 0.75, 1.0, 0.6})},
               {"bias", dice.pick({1.0, 2.0})}});
}

// Tiles that stand out over the picture on every side.
int winograd_input(Dice& dice, DrawnGraph& g)
{
  const int64_t tile = dice.pick<int64_t>({2, 4, 4, 6});
  const int x = g.input("x", {-1, draw_channels(dice), dice.number(1, 14), dice.number(1, 14)});
  return g.op("winograd_input", {x},
              {{"tile", tile},
               {"rows", dice.number(1, 4)},
               {"columns", dice.number(1, 4)},
               {"pad_top", dice.number(-1, 3)},
               {"pad_left", dice.number(-1, 3)}});
}

int winograd_weight(Dice& dice, DrawnGraph& g)
{
  const int64_t taps = dice.pick<int64_t>({3, 3, 5}), tile = taps == 5 ? dice.pick<int64_t>({2, 4}) : 4;
  const int w = g.parameter("w", {draw_channels(dice), draw_channels(dice), taps, taps});
  return g.op("winograd_weight", {w}, {{"tile", tile}, {"taps", taps}, {"flip", dice.one_in(2)}});
}

int winograd_output(Dice& dice, DrawnGraph& g)
{
  const int64_t tile = dice.pick<int64_t>({2, 4, 4, 6}), wide = tile + 2, filters = draw_channels(dice);
  const int64_t rows = dice.number(1, 3), columns = dice.number(1, 3);
  const int m = g.input("m", {-1, filters, rows, columns, wide, wide});
  const int bias = dice.one_in(3) ? -1 : g.parameter("b", {filters});
  return g.op("winograd_output", {m, bias},
              {{"tile", tile},
               {"height", rows * tile - dice.number(0, tile - 1)},
               {"width", columns * tile - dice.number(0, tile - 1)}});
}

const Draws draws = {
    {"winograd_input", winograd_input},
    {"winograd_weight", winograd_weight},
    {"winograd_output", winograd_output},
    {"conv1d", conv(1)},
    {"conv2d", conv(2)},
    {"conv3d", conv(3)},
    {"conv_transpose1d", conv_transpose(1)},
    {"conv_transpose2d", conv_transpose(2)},
    {"conv_transpose3d", conv_transpose(3)},
    {"local1d", local(1)},
    {"local2d", local(2)},
    {"max_pool1d", pool("max_pool", 1)},
    {"max_pool2d", pool("max_pool", 2)},
    {"max_pool3d", pool("max_pool", 3)},
    {"avg_pool1d", pool("avg_pool", 1)},
    {"avg_pool2d", pool("avg_pool", 2)},
    {"avg_pool3d", pool("avg_pool", 3)},
    {"lp_pool1d", pool("lp_pool", 1)},
    {"lp_pool2d", pool("lp_pool", 2)},
    {"lp_pool3d", pool("lp_pool", 3)},
    {"global_avg_pool", global_pool("global_avg_pool")},
    {"global_max_pool", global_pool("global_max_pool")},
    {"global_lp_pool", global_pool("global_lp_pool")},
    {"adaptive_avg_pool1d", adaptive_pool("adaptive_avg_pool", 1)},
    {"adaptive_avg_pool2d", adaptive_pool("adaptive_avg_pool", 2)},
    {"adaptive_avg_pool3d", adaptive_pool("adaptive_avg_pool", 3)},
    {"adaptive_max_pool1d", adaptive_pool("adaptive_max_pool", 1)},
    {"adaptive_max_pool2d", adaptive_pool("adaptive_max_pool", 2)},
    {"adaptive_max_pool3d", adaptive_pool("adaptive_max_pool", 3)},
    {"max_unpool2d", max_unpool2d},
    {"lrn", lrn},
};

} // namespace

} // namespace cnnc::test
