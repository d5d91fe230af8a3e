// The file of `cnnc tune`: what may stand in it, whom it is for, and that it changes nothing but the time.
#include "compiler/compile.h"
#include "compiler/machine.h"
#include "compiler/program/tune_candidates.h"
#include "compiler/program/tune_check.h"
#include "compiler/program/tuner.h"
#include "compiler/yaml_reader.h"
#include "ir/interpret.h"
#include "passes/check_schedule.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <fmt/format.h>

using namespace cnnc;

namespace {

std::shared_ptr<const Source> source(const std::string& name, const std::string& text)
{
  return std::make_shared<const Source>(Source{name, text});
}

Network small_network()
{
  return read_yaml(source("net.yaml", "name: net\n"
                                      "input: {image: [16, 12, 12]}\n"
                                      "layers:\n"
                                      "  - conv2d: {filters: 32, kernel: 4, padding: 2}\n"
                                      "  - relu\n"
                                      "  - max_pool2d: {kernel: 2}\n"
                                      "  - flatten\n"
                                      "  - dense: {units: 10}\n"));
}

// As the schedule pass meets them.
Program canonical(const Network& network, const Target& target)
{
  Program program = program_of(network, {});
  RunOptions run;
  for (const PassDef& pass : pipeline()) {
    if (pass.name == "schedule")
      break;
    run.only.push_back(pass.name);
  }
  Remarks remarks;
  run_passes(program, target, run, remarks);
  return program;
}

std::string head(const Target& target)
{
  return fmt::format("cnnc-tune 1\nnetwork net\nmachine {} {}\n", target.cpu, features_key(target));
}

Compiled compiled(const Network& network, const std::string& tuning, int level = 2, const std::string& march = "native")
{
  CompileOptions options;
  options.march = march;
  options.level = level;
  if (!tuning.empty())
    options.tuning = parse_tuning(source("net.tune", tuning));
  return compile(network, options);
}

std::string error_of(const std::string& text)
{
  try {
    parse_tuning(source("net.tune", text));
    return "";
  } catch (const Error& e) {
    return to_string(e.where) + ": " + e.what();
  }
}

} // namespace

TEST_CASE("tuning: the file, and what must not stand in it")
{
  const Tuning tuning =
      parse_tuning(source("net.tune", "# made by hand\r\n\ncnnc-tune 1\nnetwork net # this one\n"
                                      "machine znver4 12345678\n\tkernel  k_1  tile n, o:16 lanes o:16\n"
                                      "kernel k_2 tile n | lanes o:8"));
  CHECK(tuning.network == "net");
  CHECK(tuning.cpu == "znver4");
  CHECK(tuning.features == "12345678");
  REQUIRE(tuning.kernels.size() == 2);
  CHECK(tuning.kernels.at("k_1").text == "tile n, o:16 lanes o:16");
  CHECK(to_string(tuning.kernels.at("k_1").where) == "net.tune:6:15");

  const std::string begin = "cnnc-tune 1\nmachine a b\n";
  const std::vector<std::pair<std::string, std::string>> table{
      {"", "net.tune:1:1: this is no tuning file"},
      {"# nothing but a comment", "net.tune:1:1: this is no tuning file"},
      {"name: lenet5\n", "net.tune:1:1: this is no tuning file"},
      {"cnnc-tune 2\n", "net.tune:1:11: version 2 of the format; this cnnc reads 1"},
      {"cnnc-tune\n", "net.tune:1:10: the version is missing"},
      {"cnnc-tune 1 2\n", "net.tune:1:13: nothing is wanted here"},
      {"cnnc-tune 1\nmachine a\n", "net.tune:2:10: the key of its features is missing"},
      {"cnnc-tune 1\nkernel k tile n\n", "net.tune:2:1: a kernel before the `machine`"},
      {begin + "kernal k tile n\n",
       "net.tune:3:1: 'kernal' is none of network, machine and kernel; did you mean 'kernel'?"},
      {begin + "kernel\n", "net.tune:3:7: the kernel's name is missing"},
      {begin + "kernel k\n", "net.tune:3:9: the schedule of 'k' is missing"},
      {begin + "kernel k # tile n\n", "net.tune:3:9: the schedule of 'k' is missing"},
      {begin + "kernel k o:16\n", "net.tune:3:10: schedule: 'o:16' stands before 'tile'"},
      {begin + "kernel k tile o:0\n", "net.tune:3:10: schedule: 'o:0' wants a size"},
      {begin + "kernel k tile o:99999999999999999999\n",
       "net.tune:3:10: schedule: 'o:99999999999999999999' wants a size"},
      {begin + "kernel k tile n\nkernel k tile n\n", "net.tune:4:8: 'k' stands there twice"},
      {begin + "kernel k tile n\x01\n", "net.tune:3:16: a byte of value 1"},
      {std::string("cnnc-tune 1\n\0", 13), "net.tune:2:1: a byte of value 0"},
  };
  for (const auto& [text, message] : table) {
    CAPTURE(text);
    const std::string is = error_of(text);
    CAPTURE(is);
    CHECK(is.rfind(message, 0) == 0);
  }
}

TEST_CASE("tuning: every candidate fits its kernel and computes the same")
{
  const Program program = canonical(small_network(), host_target());
  const Target target = host_target();
  size_t all = 0;
  for (const Nest& nest : program.nests) {
    const std::string planned = planned_schedule(nest, target);
    const std::vector<std::string> texts = candidates(nest, target);
    for (const std::string& text : texts) {
      CAPTURE(nest.name);
      CAPTURE(text);
      CHECK(text != planned);
      CHECK_NOTHROW(check_schedule(nest, text, target, {}));
      CHECK(difference(nest, text, target, all++ % 8 == 0) == "");
    }
  }
  CHECK(all > 5);
}

TEST_CASE("tuning: a schedule that does not fit is refused where it stands")
{
  const Network network = small_network();
  const Target target = make_target("skylake-avx512"); // of which the table below speaks
  const Program program = canonical(network, target);
  const auto at = std::find_if(program.nests.begin(), program.nests.end(),
                               [](const Nest& n) { return n.name.rfind("conv2d", 0) == 0; });
  REQUIRE(at != program.nests.end());
  const Nest& nest = *at;
  const std::string planned = planned_schedule(nest, target);
  CAPTURE(planned);
  CHECK_NOTHROW(check_schedule(nest, planned, target, {}));
  const size_t bar = planned.find('|');
  const std::string behind = bar == planned.npos ? "" : " " + planned.substr(bar);
  const std::vector<std::pair<std::string, std::string>> table{
      {"tile n", ""},
      {"tile o:16, h:5, w:5 lanes o:16 | | | | |", "parts"},
      {"tile o:16, h, q reduce c, i, j lanes o:16" + behind, "no index 'q'"},
      {"tile o:16, h, h, w reduce c, i, j lanes o:16" + behind, "'h' stands twice"},
      {"tile o:16, h reduce c, i, j lanes o:16" + behind, "'w' is missing"},
      {"tile o:16, h, w reduce c, i lanes o:16" + behind, "'j' is missing"},
      {"tile o:16, h:4096, w reduce c, i, j lanes o:16" + behind, "h:4096 is more than"},
      {"tile o:16, h, w reduce c, i, j lanes o:3" + behind, "lanes of 3"},
      {"tile o:16, h, w reduce c, i, j lanes o:1024" + behind, "lanes of 1024"},
      {"tile o:4, h, w reduce c, i, j lanes z:4" + behind, "no index 'z' for the lanes"},
      {"tile o:32, h:12, w:12 reduce c, i, j lanes o:4" + behind, "and the machine has"},
  };
  for (const auto& [text, message] : table) {
    CAPTURE(text);
    const std::string tuning = head(target) + "kernel " + nest.name + " " + text + "\n";
    std::string what;
    try {
      compiled(network, tuning, 2, target.march);
    } catch (const Error& e) {
      what = to_string(e.where) + ": " + e.what();
    }
    CAPTURE(what);
    CHECK(what.rfind(fmt::format("net.tune:4:{}: ", 9 + nest.name.size()), 0) == 0);
    CHECK(what.find(message) != what.npos);
  }
}

TEST_CASE("tuning: the schedules are used, by whom they are for")
{
  const Network network = small_network();
  const Target target = host_target();
  std::string lines;
  size_t changed = 0;
  for (const Nest& nest : canonical(network, target).nests)
    if (const std::vector<std::string> texts = candidates(nest, target); !texts.empty()) {
      lines += fmt::format("kernel {} {}\n", nest.name, texts[0]);
      changed++;
    }
  REQUIRE(changed > 0);

  const Compiled planned = compiled(network, ""), tuned = compiled(network, head(target) + lines);
  CHECK(tuned.warnings.empty());
  size_t differ = 0;
  for (size_t i = 0; i < planned.program.nests.size(); ++i) {
    CHECK(planned.program.nests[i].name == tuned.program.nests[i].name);
    differ += planned.program.nests[i].schedule != tuned.program.nests[i].schedule;
  }
  CHECK(differ == changed);
  CHECK(std::count_if(tuned.remarks.all.begin(), tuned.remarks.all.end(), [](const Remark& remark) {
          return remark.text.find("measured, see net.tune:") != remark.text.npos;
        }) == static_cast<ptrdiff_t>(changed));

  SUBCASE("another machine")
  {
    const Compiled other = compiled(network, "cnnc-tune 1\nmachine pdp11 00000000\n" + lines);
    REQUIRE(other.warnings.size() == 1);
    CHECK(other.warnings[0].text.find("'pdp11'") != std::string::npos);
    CHECK(to_string(other.program) == to_string(planned.program));
  }
  SUBCASE("another network")
  {
    const Compiled other = compiled(network, head(target) + lines + "kernel conv2d_00000000 tile n\n");
    REQUIRE(other.warnings.size() == 1);
    CHECK(other.warnings[0].text.find(fmt::format("1 of the {} kernels", changed + 1)) != std::string::npos);
    CHECK(to_string(other.program) == to_string(tuned.program));
  }
  SUBCASE("levels without schedules")
  {
    CHECK(compiled(network, head(target) + lines, 1).warnings.empty());
  }
  SUBCASE("several machines in one library")
  {
    CompileOptions options;
    options.targets = {"x86-64-v3", "x86-64"};
    options.tuning = parse_tuning(source("net.tune", head(make_target("x86-64-v3"))));
    CHECK(compile(network, options).warnings.empty()); // a file without kernels says nothing
    options.tuning = parse_tuning(source("net.tune", head(make_target("x86-64-v3")) + "kernel k tile n\n"));
    REQUIRE(compile(network, options).warnings.size() == 1);
  }
}

TEST_CASE("tune: within its budget, and right")
{
  const Network network = small_network();
  TuneOptions options;
  options.seconds = 2;
  size_t lines = 0;
  options.say = [&](const std::string&) { lines++; };
  const auto start = std::chrono::steady_clock::now();
  const TuneResult result = tune(network, options);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  CHECK(took.count() < 30); // a sanitizer on a busy machine
  CHECK(result.rounds == static_cast<int>(lines));
  CHECK(result.ms <= result.planned_ms);
  std::string text = head(result.target);
  for (const TunedKernel& kernel : result.kernels)
    text += fmt::format("kernel {} {}\n", kernel.nest, kernel.schedule);
  CHECK(compiled(network, text).warnings.empty());

  options.seconds = 1e-6;
  CHECK(tune(network, options).rounds == 0);
  options.compile.level = 1;
  CHECK_THROWS_WITH_AS(tune(network, options), doctest::Contains("-O2"), Error);
}
