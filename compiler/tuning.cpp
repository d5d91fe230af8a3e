#include "compiler/tuning.h"
#include "passes/stage_loops.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

namespace cnnc {

namespace {

constexpr size_t byte_limit = 1 << 20;
constexpr std::string_view version_word = "cnnc-tune", version = "1";

// One line, word by word.
class Line {
public:
  Line(const std::shared_ptr<const Source>& source, int number, std::string_view text)
      : source(source),
        number(number),
        text(text)
  {
  }

  Location here() const { return {source, number, static_cast<int>(at) + 1}; }

  void skip_blanks()
  {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\t'))
      at++;
  }

  bool is_done()
  {
    skip_blanks();
    return at == text.size();
  }

  // Throws Error where there is none.
  std::string_view word(const std::string& what)
  {
    if (is_done())
      throw Error(here(), fmt::format("{} is missing", what));
    const size_t begin = at;
    while (at < text.size() && text[at] != ' ' && text[at] != '\t')
      at++;
    return text.substr(begin, at - begin);
  }

  std::string_view rest()
  {
    skip_blanks();
    const std::string_view all = text.substr(at);
    at = text.size();
    return all;
  }

  void end()
  {
    if (!is_done())
      throw Error(here(), fmt::format("nothing is wanted here, and there is '{}'", text.substr(at)));
  }

private:
  const std::shared_ptr<const Source>& source;
  int number;
  std::string_view text;
  size_t at = 0;
};

class Reader {
public:
  explicit Reader(const std::shared_ptr<const Source>& source) { tuning.source = source; }

  Tuning run()
  {
    std::string_view text = tuning.source->text;
    int number = 0;
    while (!text.empty()) {
      const size_t length = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, length);
      text.remove_prefix(std::min(length + 1, text.size()));
      number++;
      check_characters(line, number);
      line = line.substr(0, line.find('#'));
      while (!line.empty() && std::string_view(" \t\r").find(line.back()) != line.npos)
        line.remove_suffix(1);
      Line words(tuning.source, number, line);
      if (!words.is_done())
        read(words);
    }
    if (!has_version)
      throw Error({tuning.source, 1, 1},
                  fmt::format("this is no tuning file: those begin with `{} {}`", version_word, version));
    return std::move(tuning);
  }

private:
  void check_characters(std::string_view line, int number) const
  {
    for (size_t i = 0; i < line.size(); i++) {
      const auto c = static_cast<unsigned char>(line[i]);
      if ((c < ' ' && c != '\t' && !(c == '\r' && i + 1 == line.size())) || c == 127)
        throw Error({tuning.source, number, static_cast<int>(i) + 1}, fmt::format("a byte of value {} in a text", c));
    }
  }

  void read(Line& line)
  {
    const Location where = line.here();
    const std::string word(line.word("a word"));
    if (!has_version) {
      if (word != version_word)
        throw Error(where, fmt::format("this is no tuning file: those begin with `{} {}`", version_word, version));
      const Location at = (line.skip_blanks(), line.here());
      if (const std::string_view is = line.word("the version"); is != version)
        throw Error(at, fmt::format("version {} of the format; this cnnc reads {}: cnnc tune makes the file again", is,
                                    version));
      line.end();
      has_version = true;
    } else if (word == "network") {
      tuning.network = line.word("the network's name");
      line.end();
    } else if (word == "machine") {
      tuning.cpu = line.word("the processor's name");
      tuning.features = line.word("the key of its features");
      line.end();
    } else if (word == "kernel") {
      read_kernel(line, where);
    } else {
      const std::string near = nearest(word, {"network", "machine", "kernel"});
      throw Error(where, fmt::format("'{}' is none of network, machine and kernel{}", word,
                                     near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
    }
  }

  void read_kernel(Line& line, const Location& where)
  {
    if (tuning.cpu.empty())
      throw Error(where, "a kernel before the `machine` on which it was measured");
    line.skip_blanks();
    const Location at = line.here();
    const std::string name(line.word("the kernel's name"));
    line.skip_blanks();
    TunedSchedule schedule{"", line.here()};
    schedule.text = line.rest();
    if (schedule.text.empty())
      throw Error(schedule.where, fmt::format("the schedule of '{}' is missing", name));
    parse_schedules(schedule.text, schedule.where);
    const auto [first, is_new] = tuning.kernels.emplace(name, std::move(schedule));
    if (!is_new)
      throw Error(at, fmt::format("'{}' stands there twice", name), {{first->second.where, "the first one"}});
  }

  Tuning tuning;
  bool has_version = false;
};

} // namespace

Tuning parse_tuning(const std::shared_ptr<const Source>& source)
{
  return Reader(source).run();
}

Tuning read_tuning(const std::string& path)
{
  return parse_tuning(read_source(path, byte_limit));
}

std::string tuning_path(const std::string& network_path)
{
  return std::filesystem::path(network_path).replace_extension(".tune").string();
}

std::optional<Tuning> tuning_beside(const std::string& network_path)
{
  const std::string path = tuning_path(network_path);
  std::error_code ignored;
  if (path == network_path || !std::filesystem::exists(path, ignored))
    return std::nullopt;
  return read_tuning(path);
}

std::string features_key(const Target& target)
{
  const std::string text = fmt::format("{} {} {} {} {} {}", target.features, target.vector_bytes, target.fma,
                                       target.l1_bytes, target.l2_bytes, target.l3_bytes);
  uint32_t hash = 0x811c9dc5; // FNV-1a
  for (const unsigned char c : text)
    hash = (hash ^ c) * 0x01000193;
  return fmt::format("{:08x}", hash);
}

void use_tuning(const Tuning& tuning, std::vector<Target>& targets, std::vector<Warning>& warnings)
{
  if (tuning.kernels.empty())
    return;
  bool is_used = false;
  std::vector<std::string> names;
  for (Target& target : targets) {
    names.push_back(target.cpu == tuning.cpu ? "another " + target.cpu : target.cpu);
    if (target.cpu != tuning.cpu || features_key(target) != tuning.features)
      continue;
    target.tuned = tuning.kernels;
    is_used = true;
  }
  if (is_used)
    return;
  Warning warning;
  warning.where.source = tuning.source;
  warning.text =
      fmt::format("it was measured on a machine '{}', and the code is for {}: it is ignored (`cnnc tune` makes "
                  "it for this one, --no-tune silences this)",
                  tuning.cpu, fmt::join(names, ", "));
  warnings.push_back(std::move(warning));
}

void warn_of_unknown(const Tuning& tuning, const Program& program, std::vector<Warning>& warnings)
{
  size_t unknown = 0;
  const TunedSchedule* first = nullptr; // in the file
  for (const auto& [name, schedule] : tuning.kernels) {
    if (std::any_of(program.nests.begin(), program.nests.end(), [&](const Nest& nest) { return nest.name == name; }))
      continue;
    if (unknown++ == 0 || schedule.where.line < first->where.line)
      first = &schedule;
  }
  if (unknown > 0)
    warnings.push_back(
        {first->where, fmt::format("{} of the {} kernels in this file are none of this network: they are ignored (it "
                                   "was made for another network, or this one or cnnc has changed since: `cnnc tune` "
                                   "makes it again)",
                                   unknown, tuning.kernels.size())});
}

} // namespace cnnc
