#include "compiler/program/rounding_switch.h"
#include "ir/interpret.h"

#include <doctest/doctest.h>

using namespace cnnc;

TEST_CASE("a value is rounded where its code says so, for all that read it")
{
  const auto source = std::make_shared<Source>(Source{"net.ir", "net @a(%x: f32[n,2,1,1]) {\n"
                                                                "  %r = relu %x : f32[n,2,1,1]\n"
                                                                "  %y = add %r, %r : f32[n,2,1,1]\n"
                                                                "  %z = add %y, %x : f32[n,2,1,1]\n"
                                                                "  output %z\n"
                                                                "}\n"});
  Graph graph = parse_graph(source);
  add_rounding_switches(graph, {"x", "r"});
  verify(graph);
  Tensor x(DType::f32, {1, 2, 1, 1});
  x.set(0, 1.3);
  x.set(1, -0.3);
  const Tensor off = code_of(LowPrecision::Ranges(2)), on = code_of({{0, 255}, {-51, 51}});
  const auto z = [&](const Tensor& code_of_x, const Tensor& code_of_r) {
    const NamedTensors values =
        interpret(graph, {{"x", x}, {code_name("x"), code_of_x}, {code_name("r"), code_of_r}}, 1);
    return std::vector<double>{values.at("z").get(0), values.at("z").get(1)};
  };
  CHECK_EQ(z(off, off)[0], doctest::Approx(3.9));
  CHECK_EQ(z(off, off)[1], doctest::Approx(-0.3));
  CHECK_EQ(z(off, on)[0], doctest::Approx(2 * 1 + 1.3));
  CHECK_EQ(z(on, off)[0], doctest::Approx(3));
  CHECK_EQ(z(on, off)[1], doctest::Approx(-0.4)); // steps of 0.4, zero at 128 of them
}
