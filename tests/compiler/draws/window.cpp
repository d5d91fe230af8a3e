#include "tests/compiler/draws.h"

namespace cnnc::test {

namespace {

struct DrawnWindow {
  Numbers kernel, stride, dilation, padding, in, out;
};

// Windows that fit; `deepest`: padding never takes a whole window.
DrawnWindow draw_window(Dice& dice, bool is_dilated, bool touches)
{
  DrawnWindow w{{0, 0}, {0, 0}, {1, 1}, {0, 0, 0, 0}, {0, 0}, {0, 0}};
  for (size_t d = 0; d < 2; ++d) {
    w.kernel[d] = dice.number(1, 4);
    w.stride[d] = dice.number(1, 3);
    w.dilation[d] = is_dilated ? dice.pick<int64_t>({1, 1, 2, 3}) : 1;
    const int64_t span = w.dilation[d] * (w.kernel[d] - 1);
    const int64_t most = touches ? std::min<int64_t>(2, span) : 2;
    if (!dice.one_in(3)) {
      w.padding[d] = dice.number(0, most);
      w.padding[d + 2] = dice.number(0, most);
    }
    const int64_t padded = w.padding[d] + w.padding[d + 2];
    w.in[d] = std::max<int64_t>(1, span + 1 - padded) + dice.number(0, dice.one_in(4) ? 24 : 9);
    w.out[d] = (w.in[d] + padded - span - 1) / w.stride[d] + 1;
  }
  return w;
}

int conv2d(Dice& dice, DrawnGraph& g)
{
  const DrawnWindow w = draw_window(dice, true, false);
  const int64_t groups = dice.pick<int64_t>({1, 1, 1, 2, 3, 8, 17});
  const int64_t channels = groups > 2 ? dice.number(1, 2) : draw_channels(dice);
  const int64_t filters = groups > 2 ? dice.number(1, 2) : draw_channels(dice);
  const int x = g.input("x", {-1, channels * groups, w.in[0], w.in[1]});
  const int weight = g.parameter("w", {filters * groups, channels, w.kernel[0], w.kernel[1]});
  const int bias = dice.one_in(3) ? -1 : g.parameter("b", {filters * groups});
  return g.op("conv2d", {x, weight, bias},
              {{"stride", w.stride},
               {"padding", w.padding},
               {"dilation", w.dilation},
               {"groups", groups},
               {"flip", dice.one_in(5)}});
}

int local2d(Dice& dice, DrawnGraph& g)
{
  const DrawnWindow w = draw_window(dice, false, false);
  const int64_t channels = dice.number(1, 5), filters = dice.pick<int64_t>({1, 2, 5, 8});
  const int x = g.input("x", {-1, channels, w.in[0], w.in[1]});
  const int weight = g.parameter("w", {filters, w.out[0], w.out[1], channels, w.kernel[0], w.kernel[1]});
  const int bias = dice.one_in(3) ? -1 : g.parameter("b", {filters, w.out[0], w.out[1]});
  return g.op("local2d", {x, weight, bias}, {{"stride", w.stride}, {"padding", w.padding}});
}

int max_pool2d(Dice& dice, DrawnGraph& g)
{
  const DrawnWindow w = draw_window(dice, true, true);
  const int x = g.input("x", {-1, draw_channels(dice), w.in[0], w.in[1]});
  return g.op("max_pool2d", {x},
              {{"kernel", w.kernel}, {"stride", w.stride}, {"padding", w.padding}, {"dilation", w.dilation}});
}

int avg_pool2d(Dice& dice, DrawnGraph& g)
{
  const DrawnWindow w = draw_window(dice, false, true);
  const int x = g.input("x", {-1, draw_channels(dice), w.in[0], w.in[1]});
  return g.op(
      "avg_pool2d", {x},
      {{"kernel", w.kernel}, {"stride", w.stride}, {"padding", w.padding}, {"count_include_pad", dice.one_in(2)}});
}

int global_avg_pool(Dice& dice, DrawnGraph& g)
{
  return g.op("global_avg_pool", {g.input("x", {-1, draw_channels(dice), dice.number(1, 12), dice.number(1, 12)})});
}

const Draws draws = {
    {"conv2d", conv2d},
    {"local2d", local2d},
    {"max_pool2d", max_pool2d},
    {"avg_pool2d", avg_pool2d},
    {"global_avg_pool", global_avg_pool},
};

} // namespace

} // namespace cnnc::test
