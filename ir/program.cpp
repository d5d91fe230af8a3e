// net @forward(...) { ... kernel k0 -> @conv_1x28 { ... } }   net @train_step(...) { ... }   nest @conv_1x28(...) { ...
// }
#include "ir/program.h"

#include "ir/graph_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace cnnc {

namespace {

struct Part {
  bool is_nest;
  size_t begin, end;
};

bool in_word(char c)
{
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
}

// Cuts before each `net` and `nest` that stands outside of all brackets, strings and comments.
std::vector<Part> split(const std::shared_ptr<const Source>& source)
{
  const std::string& text = source->text;
  std::vector<Part> parts;
  int depth = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    if (c == '#')
      at = std::min(text.find('\n', at), text.size());
    else if (c == '"') {
      for (++at; at < text.size() && text[at] != '"' && text[at] != '\n'; ++at)
        at += text[at] == '\\';
    } else if (c == '{' || c == '(')
      ++depth;
    else if (c == '}' || c == ')')
      depth = std::max(0, depth - 1);
    else if (in_word(c)) {
      size_t end = at;
      while (end < text.size() && in_word(text[end]))
        ++end;
      std::string_view word = std::string_view(text).substr(at, end - at);
      bool is_name = at > 0 && (text[at - 1] == '@' || text[at - 1] == '%');
      if (depth == 0 && !is_name && (word == "net" || word == "nest")) {
        if (!parts.empty())
          parts.back().end = at;
        parts.push_back({word == "nest", at, text.size()});
      }
      at = end - 1;
    }
  }
  if (parts.empty())
    throw Error({source, 1, 1}, "a 'net' or a 'nest' wanted");
  // Whatever stands before the first one is the first one's to refuse.
  parts.front().begin = 0;
  return parts;
}

// The part alone, at its old line and column.
std::shared_ptr<const Source> alone(const Source& source, const Part& part)
{
  std::string_view before = std::string_view(source.text).substr(0, part.begin);
  size_t line_start = before.rfind('\n') + 1;
  std::string text(static_cast<size_t>(std::count(before.begin(), before.end(), '\n')), '\n');
  text.append(before.size() - line_start, ' ');
  text += source.text.substr(part.begin, part.end - part.begin);
  return std::make_shared<const Source>(Source{source.name, std::move(text)});
}

} // namespace

std::string to_string(const Program& program)
{
  std::string text;
  for (const Graph& graph : program.functions)
    text += (text.empty() ? "" : "\n") +
            print_graph(graph, [&](int nest) { return program.nests.at(static_cast<size_t>(nest)).name; });
  for (const Nest& nest : program.nests) {
    text += (text.empty() ? "" : "\n") + to_string(nest);
    if (text.back() != '\n')
      text += '\n';
  }
  return text;
}

Program parse_program(const std::shared_ptr<const Source>& source)
{
  Program program;
  std::vector<Part> parts = split(source);
  std::unordered_map<std::string, int> numbers;
  for (const Part& part : parts)
    if (part.is_nest) {
      std::shared_ptr<const Source> own = alone(*source, part);
      Nest nest = parse_nest(own);
      if (!numbers.emplace(nest.name, static_cast<int>(program.nests.size())).second) {
        auto line = static_cast<int>(std::count(source->text.begin(),
                                                source->text.begin() + static_cast<int64_t>(part.begin), '\n')) +
                    1;
        throw Error({source, line, 1}, fmt::format("nest '{}' stands twice", nest.name));
      }
      program.nests.push_back(std::move(nest));
    }
  for (const Part& part : parts)
    if (!part.is_nest)
      program.functions.push_back(read_graph(source, part.begin, part.end, [&](std::string_view name) {
        auto found = numbers.find(std::string(name));
        return found == numbers.end() ? -1 : found->second;
      }));
  return program;
}

void verify(const Program& program)
{
  std::unordered_set<std::string_view> names;
  for (const Nest& nest : program.nests) {
    if (!names.insert(nest.name).second)
      throw InternalError(fmt::format("two nests are named '{}'", nest.name));
    verify(nest);
  }
  for (const Graph& graph : program.functions) {
    verify(graph);
    for (const Kernel& kernel : graph.kernels)
      if (kernel.nest < -1 || kernel.nest >= static_cast<int>(program.nests.size()))
        throw InternalError(fmt::format("kernel '{}' names nest {}, which does not exist", kernel.name, kernel.nest));
  }
}

} // namespace cnnc
