// A line on the terminal that says how far a long job is.
//
//   epoch 2/5 |████████▌           |  43 %  loss 0.412  21 800 images/s  0:41 left
//
// Where stderr is no terminal: plain lines instead, at most one every ten seconds and one a tenth of the job, and no
// control characters.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace cnnc {

// Where the line goes. The functions are settings so that tests need no terminal and no clock.
struct Screen {
  bool is_terminal = false;
  bool utf8 = false;               // else the bar is of # and -
  std::function<int()> columns;    // asked before each line: a window may change its size
  std::function<double()> seconds; // of a clock that only goes on
  std::function<void(std::string_view)> write;

  static Screen standard_error();
};

// Does the environment (LC_ALL, else LC_CTYPE, else LANG) say that text is UTF-8?
bool is_utf8_locale();

class ProgressBar {
public:
  explicit ProgressBar(Screen screen = Screen::standard_error()) : screen_(std::move(screen)) {}
  // An unfinished line is ended, so that what comes next starts on its own.
  ~ProgressBar() { end(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `done` is in [0, 1]; `title` stands before the bar and `details` behind. Drawn at most ten times a second. A new
  // job starts when the title changes.
  void update(double done, std::string_view title, std::string_view details);
  // The bar, if there is one, makes room for a line that stays.
  void print(std::string_view line);
  // The bar stays as it was drawn last.
  void end();

private:
  void draw(std::string line);

  Screen screen_;
  std::string title_;
  bool drawn_ = false; // a bar stands on the terminal's current line
  double last_drawn_ = -1;
  int last_tenth_ = -1;
  double last_line_ = -1; // where it is no terminal
  std::string pending_; // the newest line, where it was too early to draw it
};

// One line of at most `columns` characters: the bar takes what title and details leave, and gives way to them.
std::string bar_line(double done, std::string_view title, std::string_view details, int columns, bool utf8);

// "0:41", "12:05", "1:02:33"; "-" below 0.
std::string duration_text(double seconds);
// "21 800": digits in threes.
std::string count_text(double count);

} // namespace cnnc
