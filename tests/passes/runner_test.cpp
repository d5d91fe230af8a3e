// The list of passes, and the runner.
#include "passes/pass.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <set>

using namespace cnnc;

namespace {

const std::string network = R"(net @net(%x: f32[n,4]) {
  parameter @w: f32[4,4] = zero
  parameter @b: f32[4] = zero
  %c = dense %x, @w : f32[n,4] at "net.yaml":3:5
  %rc = relu %c : f32[n,4] at "net.yaml":4:5
  %d = dense %rc, @w : f32[n,4]
  %rd = relu %d : f32[n,4]
  %sd = sigmoid %d : f32[n,4]
  %sum = add %rd, %sd : f32[n,4]
  %gone = tanh %d : f32[n,4]
  output %c
  output %sum
}
)";

Program parse(const std::string& text)
{
  return parse_program(std::make_shared<const Source>(Source{"test.ir", text}));
}

size_t position(std::string_view name)
{
  const std::vector<PassDef>& passes = pipeline();
  auto found = std::find_if(passes.rbegin(), passes.rend(), [&](const PassDef& pass) { return pass.name == name; });
  REQUIRE(found != passes.rend());
  return static_cast<size_t>(passes.rend() - found);
}

std::vector<std::string> remarks_of(std::vector<std::string> passes)
{
  Program program = parse(network);
  Remarks remarks;
  RunOptions options;
  options.only = std::move(passes);
  run_passes(program, Target(), options, remarks);
  std::vector<std::string> texts;
  for (const Remark& remark : remarks.all)
    texts.push_back(remark.pass + ": " + remark.text);
  return texts;
}

} // namespace

TEST_CASE("every pass has a golden text")
{
  for (const PassDef& pass : pipeline()) {
    std::filesystem::path folder = std::filesystem::path(CNNC_SOURCE_DIR) / "tests" / "golden" / pass.name;
    bool any = false;
    if (std::filesystem::is_directory(folder))
      for (const auto& entry : std::filesystem::directory_iterator(folder))
        any = any || entry.path().extension() == ".ir";
    CHECK_MESSAGE(any, pass.name);
    CHECK_FALSE(pass.leaves.empty());
    CHECK(pass.level >= 0);
    CHECK(pass.level <= 3);
  }
}

TEST_CASE("the order that passes rely on")
{
  const char* needs[][2] = {{"remove_dead", "fuse_epilogue"},
                            {"differentiate", "gather_scatters"},
                            {"sink_activation", "differentiate"},
                            {"fold_views", "assign_kernels"},
                            {"gather_scatters", "assign_kernels"},
                            {"assign_kernels", "fuse_epilogue"},
                            {"fuse_epilogue", "fuse_window"},
                            {"fuse_window", "choose_layouts"},
                            {"choose_layouts", "lower"},
                            {"lower", "schedule"},
                            {"schedule", "tile"},
                            {"tile", "vectorize"},
                            {"vectorize", "unroll"},
                            {"tile", "join_borders"},
                            {"unroll", "peel"},
                            {"peel", "join_borders"},
                            {"join_borders", "parallelize"},
                            {"parallelize", "plan_memory"}};
  for (auto [first, second] : needs)
    CHECK_MESSAGE(position(first) < position(second), first << " before " << second);
}

TEST_CASE("the pipeline at each level ends in nests with places")
{
  size_t fewer = 0;
  for (int level : {0, 1, 2, 3}) {
    Program program = parse(network);
    Remarks remarks;
    RunOptions options;
    options.level = level;
    size_t count = run_passes(program, Target(), options, remarks).size();
    CHECK(count >= fewer);
    fewer = count;
    for (const Kernel& kernel : program.functions[0].kernels)
      CHECK(kernel.nest >= 0);
    CHECK(program.functions[0].kernels.size() == (level == 0 ? 6 : 5));
    CHECK(to_string(parse(to_string(program))) == to_string(program));
  }
}

TEST_CASE("dumps read back and say what did not change")
{
  Program program = parse(network);
  Remarks remarks;
  RunOptions options;
  options.only = {"remove_dead", "remove_dead", "assign_kernels"};
  options.print_after = "remove_dead";
  std::vector<std::string> dumps;
  options.dump = [&](std::string_view text) { dumps.emplace_back(text); };
  std::vector<PassTime> times = run_passes(program, Target(), options, remarks);
  REQUIRE(dumps.size() == 2);
  CHECK(dumps[0].starts_with("# after remove_dead\nnet @net("));
  CHECK(dumps[1].starts_with("# after remove_dead (unchanged)\nnet @net("));
  CHECK(parse(dumps[0]).functions[0].ops.size() == 6);
  REQUIRE(times.size() == 3);
  CHECK(times[0].changed);
  CHECK_FALSE(times[1].changed);
  CHECK(times[2].pass == "assign_kernels");
}

TEST_CASE("what is wrong with names is told")
{
  Program program = parse(network);
  Remarks remarks;
  RunOptions options;
  options.only = {"fuse_epilog"};
  try {
    run_passes(program, Target(), options, remarks);
    CHECK(false);
  } catch (const Error& error) {
    CHECK(std::string(error.what()) == "no pass is called 'fuse_epilog'; did you mean 'fuse_epilogue'?");
    CHECK(error.exit_code == 2);
  }
  options.only.clear();
  options.print_after = "nothing";
  CHECK_THROWS_AS(run_passes(program, Target(), options, remarks), Error);
}

TEST_CASE("a failure names its pass")
{
  Program program = parse(network);
  Remarks remarks;
  RunOptions options;
  options.only = {"assign_kernels", "plan_memory"};
  try {
    run_passes(program, Target(), options, remarks);
    CHECK(false);
  } catch (const InternalError& error) {
    CHECK(std::string(error.what()) == "pass plan_memory failed: kernel k0 of @net is not lowered");
  }
}

TEST_CASE("remarks say what was done, and why not")
{
  CHECK(remarks_of({"remove_dead"}) == std::vector<std::string>{"remove_dead: gone leads to no output and is removed"});
  CHECK(remarks_of({"remove_dead", "assign_kernels", "fuse_epilogue"}) ==
        std::vector<std::string>{
            "remove_dead: gone leads to no output and is removed", "fuse_epilogue: rc stays alone: c is an output",
            "fuse_epilogue: rd stays alone: d has another user, sd",
            "fuse_epilogue: sd stays alone: d has another user, rd", "fuse_epilogue: sum joins sd's kernel"});
}
