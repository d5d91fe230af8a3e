// Nothing that lives at the same time overlaps: on drawn lifetimes, and on drawn networks through the pass.
#include "ir/random.h"
#include "passes/pass.h"
#include "passes/plan_memory.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>

using namespace cnnc;

namespace {

class Draw {
public:
  explicit Draw(uint64_t seed) : key(seed_key(seed)) {}
  int below(int limit) { return static_cast<int>(random_unit(key, counter++) * limit); }

private:
  uint64_t key, counter = 0;
};

Program parse(const std::string& text)
{
  return parse_program(std::make_shared<const Source>(Source{"test.ir", text}));
}

void plan(Program& program, std::vector<std::string> passes)
{
  Remarks remarks;
  RunOptions options;
  options.only = std::move(passes);
  run_passes(program, Target(), options, remarks);
}

// Layers on rows of 3, 8 or 20 numbers; each reads earlier ones.
std::string draw_network(Draw& draw)
{
  const int widths[] = {3, 8, 20};
  std::string parameters, ops;
  std::vector<std::pair<std::string, int>> made = {{"x", 8}};
  int count = 3 + draw.below(12);
  for (int i = 0; i < count; ++i) {
    auto [from, width] = made[static_cast<size_t>(draw.below(static_cast<int>(made.size())))];
    std::string name = fmt::format("v{}", i);
    std::vector<std::string> alike;
    for (const auto& [other, other_width] : made)
      if (other_width == width && other != from)
        alike.push_back(other);
    int choice = draw.below(4);
    if (choice == 0)
      ops += fmt::format("  %{} = relu %{} : f32[n,{}]\n", name, from, width);
    else if (choice == 1 && !alike.empty())
      ops += fmt::format("  %{} = add %{}, %{} : f32[n,{}]\n", name, from,
                         alike[static_cast<size_t>(draw.below(static_cast<int>(alike.size())))], width);
    else if (choice == 2)
      ops += fmt::format("  %{} = softmax %{} : f32[n,{}]\n", name, from, width);
    else {
      int units = widths[draw.below(3)];
      parameters += fmt::format("  parameter @w{}: f32[{},{}] = zero\n", i, units, width);
      ops += fmt::format("  %{} = dense %{}, @w{} : f32[n,{}]\n", name, from, i, units);
      width = units;
    }
    made.emplace_back(name, width);
  }
  std::string outputs = fmt::format("  output %{}\n", made.back().first);
  if (draw.below(2) == 0 && made.size() > 2)
    outputs += fmt::format("  output %{}\n",
                           made[1 + static_cast<size_t>(draw.below(static_cast<int>(made.size()) - 2))].first);
  return "net @drawn(%x: f32[n,8]) {\n" + parameters + ops + outputs + "}\n";
}

// Walks the kernels as they run. Each writes its results; what a later kernel (or the driver) still reads must survive.
void check_places(const Program& program, const Graph& graph)
{
  struct Place {
    int value;
    int64_t begin, end;
  };
  auto is_output = [&](int v) {
    return std::find(graph.outputs.begin(), graph.outputs.end(), v) != graph.outputs.end();
  };
  auto last_use = [&](int v) {
    int last = -1;
    for (size_t k = 0; k < graph.kernels.size(); ++k)
      if (std::count(graph.kernels[k].arguments.begin(), graph.kernels[k].arguments.end(), v))
        last = static_cast<int>(k);
    for (const StateUpdate& update : graph.updates)
      if (update.value == v)
        last = static_cast<int>(graph.kernels.size());
    return last;
  };
  for (Region region : {Region::fixed, Region::image}) {
    int64_t limit = region == Region::fixed ? graph.fixed_bytes : graph.image_bytes;
    std::vector<Place> alive;
    for (size_t k = 0; k < graph.kernels.size(); ++k) {
      std::erase_if(alive, [&](const Place& place) { return last_use(place.value) < static_cast<int>(k); });
      for (int argument : graph.kernels[k].arguments) {
        const Value& value = graph.values[static_cast<size_t>(argument)];
        bool known = std::any_of(alive.begin(), alive.end(), [&](const Place& p) { return p.value == argument; });
        if (value.region != region || known)
          continue;
        REQUIRE(value.offset % 64 == 0);
        Place place{argument, value.offset,
                    value.offset +
                        stored_elements(value.layout.value_or(planar(value.type.shape.size())), value.type.shape) *
                            bytes_of(value.type.dtype)};
        REQUIRE(place.end <= limit);
        for (const Place& other : alive) {
          bool apart = place.end <= other.begin || other.end <= place.begin;
          REQUIRE_MESSAGE(apart, to_string(program));
        }
        alive.push_back(place);
      }
    }
  }
  for (const Kernel& kernel : graph.kernels)
    for (int argument : kernel.arguments) {
      const Value& value = graph.values[static_cast<size_t>(argument)];
      bool wants = (value.kind == ValueKind::result && !is_output(argument)) || value.kind == ValueKind::temporary;
      REQUIRE_MESSAGE((value.region == Region::fixed || value.region == Region::image) == wants, value.name);
    }
}

} // namespace

TEST_CASE("drawn lifetimes do not overlap")
{
  Draw draw(1);
  for (int round = 0; round < 300; ++round) {
    std::vector<Lifetime> buffers(static_cast<size_t>(1 + draw.below(30)));
    int64_t sum = 0, peak = 0;
    for (Lifetime& b : buffers) {
      b.first = draw.below(20);
      b.last = b.first + draw.below(6);
      b.bytes = draw.below(4) == 0 ? draw.below(100000) : draw.below(300);
      sum += (b.bytes + 63) / 64 * 64;
    }
    for (int step = 0; step < 26; ++step) {
      int64_t alive = 0;
      for (const Lifetime& b : buffers)
        alive += b.first <= step && step <= b.last ? (b.bytes + 63) / 64 * 64 : 0;
      peak = std::max(peak, alive);
    }
    int64_t total = place_buffers(buffers);
    CHECK(total >= peak);
    CHECK(total <= sum);
    for (size_t i = 0; i < buffers.size(); ++i) {
      const Lifetime& a = buffers[i];
      CHECK(a.offset % 64 == 0);
      CHECK(a.offset + a.bytes <= total);
      for (size_t j = 0; j < i; ++j) {
        const Lifetime& b = buffers[j];
        bool together = a.first <= b.last && b.first <= a.last;
        bool apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
        CHECK((!together || apart));
      }
    }
  }
}

TEST_CASE("one after the other needs the place of two")
{
  std::vector<Lifetime> chain;
  for (int i = 0; i < 10; ++i)
    chain.push_back({.bytes = 640, .first = i, .last = i + 1, .offset = 0});
  CHECK(place_buffers(chain) == 2 * 640);
}

TEST_CASE("sizes that overflow are an error")
{
  std::vector<Lifetime> buffers(4, Lifetime{.bytes = int64_t{1} << 62, .first = 0, .last = 1, .offset = 0});
  CHECK_THROWS_AS(place_buffers(buffers), Error);
}

TEST_CASE("drawn networks: no kernel overwrites what is still read")
{
  Draw draw(2);
  int shared = 0;
  for (int round = 0; round < 60; ++round) {
    std::string text = draw_network(draw);
    for (bool fuse : {false, true}) {
      Program program = parse(text);
      if (fuse)
        plan(program, {"remove_dead", "assign_kernels", "fuse_epilogue", "lower", "plan_memory"});
      else
        plan(program, {"assign_kernels", "lower", "plan_memory"});
      check_places(program, program.functions[0]);
      int64_t apart = 0;
      for (const Value& value : program.functions[0].values)
        if (value.region == Region::image)
          apart += (elements(value.type.shape) * 4 + 127) / 64 * 64;
      shared += program.functions[0].image_bytes < apart;
    }
  }
  CHECK(shared > 20); // places are used again
}

TEST_CASE("a training step: in place, or kept until the driver copies")
{
  // @seen is read again by a later kernel than the one that makes what it becomes, so %next may not overwrite it.
  Program program = parse(R"(net @step(%x: f32[n,4]) {
  parameter @w: f32[4,4] = zero
  state @seen: f32[4,4] = zero
  state @other: f32[4,4] = zero
  %next = relu @seen : f32[4,4]
  %a = dense %x, @w : f32[n,4]
  %b = dense %a, @seen : f32[n,4]
  %fresh = relu @other : f32[4,4]
  %c = dense %b, @w : f32[n,4]
  output %c
  update @seen = %next
  update @other = %fresh
}
)");
  plan(program, {"assign_kernels", "lower", "plan_memory"});
  const Graph& graph = program.functions[0];
  check_places(program, graph);
  auto value = [&](const char* name) { return graph.values[static_cast<size_t>(graph.find(name))]; };
  CHECK(value("next").region == Region::fixed);
  CHECK(value("fresh").region == Region::state);
  CHECK(value("fresh").offset == value("other").offset);
  CHECK(value("seen").offset != value("other").offset);
}

TEST_CASE("functions that disagree about a parameter's layout are refused")
{
  Program program = parse(R"(net @a(%x: f32[n,16]) {
  parameter @w: f32[16,16] as {0, 1} = zero
  %y = dense %x, @w : f32[n,16]
  output %y
}
net @b(%x: f32[n,16]) {
  parameter @w: f32[16,16] as {0/16, 1, 0%16} = zero
  %y = dense %x, @w : f32[n,16]
  output %y
}
)");
  CHECK_THROWS_AS(plan(program, {"assign_kernels", "lower", "plan_memory"}), InternalError);
}

TEST_CASE("constants of one name and other data have places of their own")
{
  auto net = [](const char* name, int value) {
    return fmt::format(
        "net @{}(%x: f32[n,1]) {{\n  constant @c: f32[1] = [{}]\n  %y = add %x, @c : f32[n,1]\n  output %y\n}}\n", name,
        value);
  };
  Program program = parse(net("a", 1) + net("b", 2) + net("c", 1));
  plan(program, {"assign_kernels", "lower", "plan_memory"});
  auto offset = [&](size_t f) {
    const Graph& graph = program.functions[f];
    return graph.values[static_cast<size_t>(graph.find("c"))].offset;
  };
  CHECK(offset(0) != offset(1));
  CHECK(offset(0) == offset(2));
}
