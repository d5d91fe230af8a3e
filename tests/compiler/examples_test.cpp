// examples/*.yaml: they read, without warnings, within a screen, and have the parameters that are published.
#include "compiler/analysis.h"
#include "compiler/network.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <fmt/format.h>

using namespace cnnc;

namespace {

int64_t parameters_of(const std::string& name, const std::vector<std::string>& without = {})
{
  int64_t sum = 0;
  for (const OpCost& cost : costs_of(read_network(CNNC_SOURCE_DIR "/examples/" + name + ".yaml", without).forward))
    sum += cost.parameters;
  return sum;
}

} // namespace

TEST_CASE("examples: one screen each, no warnings, something to train with")
{
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(CNNC_SOURCE_DIR "/examples")) {
    if (entry.path().extension() != ".yaml")
      continue;
    CAPTURE(entry.path().string());
    const Network network = read_network(entry.path().string());
    ++count;
    CHECK(std::count(network.source->text.begin(), network.source->text.end(), '\n') <= 70);
    const std::string name = entry.path().stem().string();
    // VoxNet's first layer leaves out the last plane, in the paper too.
    for (const Warning& warning : network.warnings)
      CHECK_MESSAGE(name == "voxnet", warning.text);
    CHECK((network.train || name == "sobel" || name == "lecture_filter"));
    CHECK(network.name == name);
  }
  CHECK(count >= 18);
}

TEST_CASE("examples: parameters as published")
{
  const std::vector<std::pair<std::string, int64_t>> published{
      {"alexnet", 60965224}, // "60 million"
      {"alexnet_single", 61100840}, {"zfnet", 62357608},      {"overfeat", 145920872}, {"vgg16", 138357544},
      {"googlenet", 6998552},       {"resnet18", 11689512},   {"resnet50", 25557032},  {"mobilenet_v2", 3504872},
      {"squeezenet", 1235496},      {"densenet121", 7978856}, {"unet", 31030658},      {"dcgan", 3576704},
      {"voxnet", 921736},           {"lenet5", 61706},
  };
  for (const auto& [name, count] : published) {
    CAPTURE(name);
    CHECK(parameters_of(name) == count);
  }
}

TEST_CASE("AlexNet: the paper's sizes, and what its layers are worth")
{
  const Network network = read_network(CNNC_SOURCE_DIR "/examples/alexnet.yaml");
  const auto size = [&](const std::string& name) {
    const int value = network.forward.find(name);
    REQUIRE_MESSAGE(value >= 0, name);
    int64_t product = 1;
    for (const Dim& dim : network.forward.values[static_cast<size_t>(value)].type.shape)
      product *= dim.size;
    return product;
  };
  CHECK(size("image") == 154587);
  CHECK(size("conv1.conv1") == 290400);
  CHECK(size("conv2.conv1") == 186624);
  CHECK(size("conv3.conv1") == 64896);
  CHECK(size("conv4.conv1") == 64896);
  CHECK(size("conv5.conv1") == 43264);
  CHECK(size("fc6.dense1") == 4096);
  CHECK(size("fc7.dense1") == 4096);
  CHECK(size("fc8") == 1000);
  const int64_t all = parameters_of("alexnet");
  const auto fewer = [&](const std::vector<std::string>& without) {
    return static_cast<double>(all - parameters_of("alexnet", without)) / 1e6;
  };
  CHECK(fewer({"fc7"}) == doctest::Approx(16.8).epsilon(0.05));
  CHECK(fewer({"fc6", "fc7"}) == doctest::Approx(50).epsilon(0.05));
  CHECK(fewer({"conv3", "conv4"}) == doctest::Approx(1.4).epsilon(0.4));
  CHECK(fewer({"conv3", "conv4", "fc6", "fc7"}) == doctest::Approx(51).epsilon(0.05));
}
