#include "compiler/program/terminal.h"
#include "ir/location.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace cnnc {

bool is_terminal(int descriptor)
{
  return isatty(descriptor) == 1;
}

int terminal_columns()
{
  if (const char* columns = std::getenv("COLUMNS")) {
    const int width = std::atoi(columns);
    if (width > 0)
      return std::min(width, 10000);
  }
  if (!is_terminal(STDOUT_FILENO))
    return 0;
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void print(std::string_view text)
{
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    flush_output();
}

void flush_output()
{
  if ((std::fflush(stdout) != 0 || std::ferror(stdout)) && errno != EPIPE)
    throw Error({}, fmt::format("cannot write standard output: {}", std::strerror(errno)), {}, 3);
}

void Table::add_column(std::string title, bool right, int importance)
{
  columns_.push_back({std::move(title), right, importance});
}

void Table::add_row(std::vector<std::string> cells)
{
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

void Table::add_rule()
{
  rows_.push_back({});
}

namespace {

// Columns on the screen: bytes that continue a UTF-8 character take none.
size_t width_of(const std::string& text)
{
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string padded(const std::string& text, size_t width, bool right)
{
  const std::string space(width - std::min(width, width_of(text)), ' ');
  return right ? space + text : text + space;
}

} // namespace

std::string Table::text(int columns) const
{
  std::vector<size_t> widths;
  for (size_t c = 0; c < columns_.size(); ++c) {
    size_t width = width_of(columns_[c].title);
    for (const auto& row : rows_)
      if (!row.empty())
        width = std::max(width, width_of(row[c]));
    widths.push_back(width);
  }
  std::vector<size_t> shown;
  for (size_t c = 0; c < columns_.size(); ++c)
    shown.push_back(c);
  std::string left_out;
  int left_out_count = 0;
  const auto total = [&] {
    size_t sum = 2 * (shown.size() - 1);
    for (const size_t c : shown)
      sum += widths[c];
    return sum;
  };
  while (columns > 0 && shown.size() > 1 && total() > static_cast<size_t>(columns)) {
    const auto least = std::min_element(shown.begin(), shown.end(), [&](size_t a, size_t b) {
      return columns_[a].importance < columns_[b].importance;
    });
    left_out += (left_out.empty() ? "" : ", ") + columns_[*least].title;
    shown.erase(least);
    ++left_out_count;
  }
  std::string result;
  const auto add_line = [&](const auto& cell) {
    std::string line;
    for (const size_t c : shown)
      line += (line.empty() && c == shown.front() ? "" : "  ") + padded(cell(c), widths[c], columns_[c].right);
    line.erase(line.find_last_not_of(' ') + 1);
    if (columns > 3 && line.size() > static_cast<size_t>(columns))
      line = line.substr(0, static_cast<size_t>(columns) - 3) + "...";
    result += line + "\n";
  };
  add_line([&](size_t c) { return columns_[c].title; });
  for (const auto& row : rows_)
    if (row.empty())
      result += std::string(columns > 0 ? std::min(total(), static_cast<size_t>(columns)) : total(), '-') + "\n";
    else
      add_line([&](size_t c) { return row[c]; });
  if (!left_out.empty())
    left_out = fmt::format("(too narrow for: {})", left_out);
  if (left_out.size() > static_cast<size_t>(columns))
    left_out = fmt::format("(too narrow for {})", counted(left_out_count, "column"));
  if (!left_out.empty())
    result += left_out + "\n";
  return result;
}

std::string with_commas(int64_t number)
{
  std::string text = std::to_string(number);
  for (int64_t at = static_cast<int64_t>(text.size()) - 3; at > (number < 0 ? 1 : 0); at -= 3)
    text.insert(static_cast<size_t>(at), ",");
  return text;
}

std::string counted(int64_t number, std::string_view noun)
{
  return fmt::format("{} {}{}", with_commas(number), noun, number == 1 ? "" : "s");
}

std::string bytes_text(int64_t bytes)
{
  if (bytes < 1024)
    return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}) {
    if (value < 1024)
      break;
    value /= 1024;
    unit = next;
  }
  return fmt::format("{:.1f} {}", value, unit);
}

} // namespace cnnc
