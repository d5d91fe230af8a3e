// {"x86-64-v3", "x86-64-v4"} => {x86-64-v4, x86-64-v3}
#include "compiler/targets.h"

#include "ir/location.h"
#include "runtime/artefact/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <tuple>

namespace cnnc {

namespace {

// Each is a whole set of kernels: more of them than there are levels is a mistake.
constexpr size_t most_targets = 8;

constexpr const char* names_of_features[] = {
#define CPU_FEATURE(name, leaf, subleaf, word, bit, state) name,
#include "runtime/artefact/cpu_features.def"
#undef CPU_FEATURE
};

[[noreturn]] void refuse(const std::string& what)
{
  throw Error({}, "--targets: " + what, {}, 2);
}

} // namespace

std::vector<Target> make_targets(const std::vector<std::string>& names)
{
  struct Rated {
    Target target;
    uint64_t needs;
    // Who needs all that another does, and more, comes before it; between the others wide vectors decide.
    auto rank() const { return std::tuple(target.vector_bytes, std::popcount(needs)); }
  };
  if (names.size() > most_targets)
    refuse(fmt::format("{} machines are too many for one library, {} are possible", names.size(), most_targets));
  std::vector<Rated> all;
  for (const std::string& name : names) {
    if (name.empty())
      refuse("a name is empty; names with commas between are wanted, such as x86-64-v3,x86-64-v4");
    Target target = make_target(name, "--targets");
    const uint64_t needs = needs_of(target);
    for (const Rated& other : all) {
      if (other.target.march == name)
        refuse(fmt::format("'{}' stands there twice", name));
      if (other.needs == needs)
        refuse(fmt::format("'{}' and '{}' need the same instructions: only one of them would ever run",
                           other.target.march, name));
    }
    all.push_back({std::move(target), needs});
  }
  std::stable_sort(all.begin(), all.end(), [](const Rated& a, const Rated& b) { return a.rank() > b.rank(); });
  std::vector<Target> targets;
  for (Rated& rated : all)
    targets.push_back(std::move(rated.target));
  return targets;
}

std::vector<std::string> split(const std::string& text, char between)
{
  std::vector<std::string> parts{""};
  for (const char c : text)
    if (c == between)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

std::vector<std::string> feature_names(uint64_t rows)
{
  std::vector<std::string> names;
  for (size_t row = 0; row < std::size(names_of_features); ++row)
    if (rows >> row & 1)
      names.push_back(names_of_features[row]);
  return names;
}

std::vector<std::string> lacking(const std::vector<std::string>& features)
{
  std::vector<std::string> missing;
  for (const std::string& feature : features) {
    const auto row = std::find(std::begin(names_of_features), std::end(names_of_features), feature);
    // A name that this cnnc does not know: it cannot say that the machine has it.
    if (row == std::end(names_of_features) || !cnn_cpu_has(uint64_t{1} << (row - std::begin(names_of_features))))
      missing.push_back(feature);
  }
  return missing;
}

} // namespace cnnc
