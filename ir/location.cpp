#include "ir/location.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

constexpr size_t shown = 100; // columns of a long line

std::string_view line_of(std::string_view text, int line)
{
  for (int i = 1; i < line; ++i) {
    size_t end = text.find('\n');
    if (end == text.npos)
      return {};
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r'))
    text.remove_suffix(1);
  return text;
}

bool continues_character(char c)
{
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80; // of UTF-8
}

// A terminal obeys control characters, and the text may be anybody's.
std::string harmless(std::string_view text)
{
  std::string result(text);
  for (char& c : result)
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f)
      c = '?';
  return result;
}

// The line and the caret below it, or nothing where the source's text is not at hand.
std::string excerpt(const Location& where)
{
  if (!where.is_known() || where.source->text.empty())
    return {};
  std::string_view line = line_of(where.source->text, where.line);
  if (line.empty() || where.column < 1)
    return {};
  size_t caret = std::min(static_cast<size_t>(where.column - 1), line.size());

  size_t begin = 0, end = line.size();
  if (line.size() > shown) {
    begin = caret > shown / 2 ? std::min(caret - shown / 2, line.size() - shown) : 0;
    end = begin + shown;
    while (begin > 0 && continues_character(line[begin]))
      --begin;
    while (end < line.size() && continues_character(line[end]))
      ++end;
  }
  std::string text = begin > 0 ? "..." : "";
  std::string mark(text.size(), ' ');
  for (char c : line.substr(begin, caret - begin))
    if (!continues_character(c))
      mark += c == '\t' ? '\t' : ' ';
  text += harmless(line.substr(begin, end - begin));
  if (end < line.size())
    text += "...";
  return fmt::format("\n{:>5} | {}\n      | {}^", where.line, text, mark);
}

size_t edit_distance(std::string_view a, std::string_view b)
{
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

} // namespace

bool operator==(const Location& a, const Location& b)
{
  // By name: a location that was read back from IR text has a Source of its own.
  if (a.line != b.line || a.column != b.column || !a.source != !b.source)
    return false;
  return !a.source || a.source == b.source || a.source->name == b.source->name;
}

std::string to_string(const Location& where)
{
  if (!where.is_known())
    return where.source ? where.source->name : "";
  return where.column > 0 ? fmt::format("{}:{}:{}", where.source->name, where.line, where.column)
                          : fmt::format("{}:{}", where.source->name, where.line);
}

std::string render(const Location& where, std::string_view severity, std::string_view text)
{
  std::string place = to_string(where);
  return fmt::format("{}{}{}: {}{}", place, place.empty() ? "" : ": ", severity, text, excerpt(where));
}

std::string render(const Error& error)
{
  std::string text = render(error.where, "error", error.what());
  for (const Error::Note& note : error.notes)
    text += "\n" + render(note.where, "note", note.text);
  return text;
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates)
{
  if (word.empty() || word.size() > 64)
    return {};
  size_t best_distance = std::max<size_t>(1, (word.size() + 2) / 3) + 1;
  std::string best;
  for (const std::string& candidate : candidates) {
    size_t longer = std::max(word.size(), candidate.size());
    if (longer - std::min(word.size(), candidate.size()) >= best_distance)
      continue;
    size_t distance = edit_distance(word, candidate);
    if (distance < best_distance && distance < longer) { // at `longer`, not one letter is shared
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

} // namespace cnnc
