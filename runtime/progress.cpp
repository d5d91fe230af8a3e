#include "runtime/progress.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace cnnc {

namespace {

constexpr double redraw_seconds = 0.1;
constexpr double line_seconds = 10; // between lines in a pipe: a log wants few
constexpr int widest_bar = 40, narrowest_bar = 5;

// Characters, not bytes: UTF-8 continuation bytes (10xxxxxx) do not count.
bool starts_character(char c)
{
  return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
}

int width_of(std::string_view text)
{
  return static_cast<int>(std::count_if(text.begin(), text.end(), starts_character));
}

std::string_view cut(std::string_view text, int columns)
{
  int seen = 0;
  for (size_t i = 0; i < text.size(); ++i)
    if (starts_character(text[i]) && seen++ == columns)
      return text.substr(0, i);
  return text;
}

} // namespace

bool is_utf8_locale()
{
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
    if (const char* value = std::getenv(name); value && *value) {
      std::string text = value;
      std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
      return text.find("utf-8") != std::string::npos || text.find("utf8") != std::string::npos;
    }
  return false;
}

Screen Screen::standard_error()
{
  Screen screen;
  const char* kind = std::getenv("TERM");
  screen.is_terminal = isatty(STDERR_FILENO) && !(kind && std::string_view(kind) == "dumb");
  screen.utf8 = is_utf8_locale();
  screen.columns = [] {
    winsize size = {};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  };
  screen.seconds = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  // In one write each: lines of several processes do not mix, and no buffer is left behind by a signal.
  screen.write = [](std::string_view text) {
    while (!text.empty()) {
      ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
      if (written < 0 && errno != EINTR)
        return; // nobody reads any more: no reason to stop the work
      text.remove_prefix(written < 0 ? 0 : static_cast<size_t>(written));
    }
  };
  return screen;
}

std::string bar_line(double done, std::string_view title, std::string_view details, int columns, bool utf8)
{
  done = std::isfinite(done) ? std::clamp(done, 0.0, 1.0) : 0;
  std::string percent = fmt::format("{:3d} %", static_cast<int>(done * 100));
  std::string text = details.empty() ? percent : fmt::format("{}  {}", percent, details);
  int left = columns - width_of(title) - width_of(text) - 4; // a space, |, |, a space
  if (left < narrowest_bar)
    return std::string(cut(fmt::format("{} {}", title, text), std::max(columns, 1)));
  int width = std::min(left, widest_bar);
  std::string bar;
  if (utf8) {
    // Blocks in eighths: U+2588 is a full one, U+2589 to U+258F are 7/8 to 1/8.
    auto eighths = static_cast<int>(done * width * 8);
    for (int i = 0; i < width; ++i) {
      int part = std::clamp(eighths - 8 * i, 0, 8);
      if (part == 0)
        bar += ' ';
      else
        bar += {'\xe2', '\x96', static_cast<char>(0x88 + 8 - part)};
    }
  } else {
    auto full = static_cast<int>(done * width);
    bar = std::string(static_cast<size_t>(full), '#') + std::string(static_cast<size_t>(width - full), '-');
  }
  return fmt::format("{} |{}| {}", title, bar, text);
}

void ProgressBar::update(double done, std::string_view title, std::string_view details)
{
  if (title != title_) {
    end();
    title_ = title;
    last_tenth_ = -1;
    last_drawn_ = -1;
  }
  if (!screen_.is_terminal) {
    int tenth = static_cast<int>(std::clamp(std::isfinite(done) ? done : 0.0, 0.0, 1.0) * 10 + 1e-9);
    const double now = screen_.seconds();
    if (last_line_ < 0)
      last_line_ = now;
    // The start says nothing yet.
    if (tenth <= std::max(last_tenth_, 0) || now - last_line_ < line_seconds)
      return;
    screen_.write(fmt::format("{} {:3d} %  {}\n", title, tenth * 10, details));
    last_tenth_ = tenth;
    last_line_ = now;
    return;
  }
  // One column stays free: a full line makes some terminals go to the next.
  std::string line = bar_line(done, title, details, screen_.columns() - 1, screen_.utf8);
  double now = screen_.seconds();
  if (last_drawn_ >= 0 && now - last_drawn_ < redraw_seconds) {
    pending_ = std::move(line);
    return;
  }
  last_drawn_ = now;
  draw(std::move(line));
}

void ProgressBar::draw(std::string line)
{
  pending_.clear();
  screen_.write("\r\x1b[K" + line);
  drawn_ = true;
}

void ProgressBar::print(std::string_view line)
{
  std::string text = drawn_ ? "\r\x1b[K" : "";
  pending_.clear();
  drawn_ = false;
  text += line;
  text += '\n';
  if (!screen_.is_terminal)
    last_line_ = screen_.seconds();
  screen_.write(text);
}

void ProgressBar::end()
{
  if (!pending_.empty())
    draw(pending_);
  if (drawn_)
    screen_.write("\n");
  drawn_ = false;
}

std::string duration_text(double seconds)
{
  if (!(seconds >= 0) || seconds > 1e9)
    return "-";
  auto s = static_cast<int64_t>(std::lround(seconds));
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string count_text(double count)
{
  if (!(std::abs(count) < 1e18))
    return "-";
  std::string digits = std::to_string(std::llround(std::abs(count)));
  for (size_t at = digits.size(); at > 3; at -= 3)
    digits.insert(at - 3, " ");
  return (count <= -0.5 ? "-" : "") + digits;
}

} // namespace cnnc
