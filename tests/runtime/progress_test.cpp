#include "runtime/progress.h"

#include <cstdlib>
#include <doctest/doctest.h>

using namespace cnnc;

namespace {

// A terminal of strings, with a clock that is set by hand.
struct Fake {
  std::string text;
  int columns = 60, writes = 0;
  double now = 0;

  Screen screen(bool is_terminal, bool utf8 = false)
  {
    return {is_terminal, utf8, [this] { return columns; }, [this] { return now; },
            [this](std::string_view t) {
              text += t;
              ++writes;
            }};
  }
};

int characters(std::string_view text)
{
  int n = 0;
  for (char c : text)
    n += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return n;
}

} // namespace

TEST_CASE("bar: it takes the room that is there, and gives way to the text")
{
  CHECK(bar_line(0.5, "epoch 1/2", "loss 1.0", 40, false) == "epoch 1/2 |######------|  50 %  loss 1.0");
  CHECK(bar_line(0, "t", "", 19, false) == "t |---------|   0 %");
  CHECK(bar_line(1, "t", "", 19, false) == "t |#########| 100 %");
  CHECK(bar_line(0.5, "t", "", 20, true) == "t |█████     |  50 %");
  CHECK(bar_line(0.475, "t", "", 20, true) == "t |████▊     |  47 %");
  CHECK(bar_line(7, "t", "", 21, true) == bar_line(1, "t", "", 21, true));
  CHECK(bar_line(0.0 / 0.0, "t", "", 20, false) == bar_line(0, "t", "", 20, false));
  for (int columns = 1; columns < 200; ++columns)
    for (bool utf8 : {false, true}) {
      CHECK(characters(bar_line(0.6, "épochs", "loss 0.5", columns, utf8)) <= columns);
      CHECK(characters(bar_line(0.6, "épochs", "loss 0.5", columns, utf8)) >= std::min(columns, 21));
    }
  CHECK(bar_line(0.6, "epoch", "loss", 8, false) == "epoch  6");
}

TEST_CASE("bar: on a terminal it is redrawn in place, at most ten times a second, and follows the width")
{
  Fake fake;
  {
    ProgressBar bar(fake.screen(true));
    for (int i = 0; i <= 1000; ++i, fake.now += 0.001)
      bar.update(i / 1000.0, "job", "");
    CHECK(fake.writes >= 9);
    CHECK(fake.writes <= 11);
    CHECK(fake.text.find('\n') == std::string::npos);
    CHECK(fake.text.starts_with("\r\x1b[Kjob |"));
    fake.now += 1;
    fake.columns = 25;
    fake.text.clear();
    bar.update(1, "job", "");
    CHECK(fake.text == "\r\x1b[Kjob |############| 100 %");
  }
  CHECK(fake.text.ends_with("100 %\n"));
}

TEST_CASE("bar: the last state is drawn at the end, and a line that stays takes its place")
{
  Fake fake;
  ProgressBar bar(fake.screen(true));
  bar.update(0.1, "job", "a");
  bar.update(0.9, "job", "b"); // too early
  fake.text.clear();
  bar.end();
  CHECK(fake.text.find("90 %  b") != std::string::npos);
  CHECK(fake.text.ends_with("b\n"));
  bar.update(0.1, "second", "");
  bar.update(0.2, "second", "");
  fake.text.clear();
  bar.print("accuracy 90 %");
  CHECK(fake.text == "\r\x1b[Kaccuracy 90 %\n");
  fake.text.clear();
  bar.end();
  bar.end();
  CHECK(fake.text.empty());
}

TEST_CASE("bar: elsewhere it is a plain line now and then, without control characters")
{
  Fake fake;
  {
    ProgressBar bar(fake.screen(false));
    for (int i = 1; i <= 938; ++i) { // 94 s
      fake.now += 0.1;
      bar.update(i / 938.0, "epoch 1/2", "loss 0.5");
    }
    CHECK(fake.writes == 9);
    bar.print("accuracy 80 %");
    fake.now += 9;
    bar.update(0.55, "epoch 2/2", "loss 0.4");
    CHECK(fake.writes == 10);
    fake.now += 2;
    bar.update(0.58, "epoch 2/2", "loss 0.4");
    fake.now += 50;
    bar.update(0.59, "epoch 2/2", "loss 0.4"); // the same tenth
  }
  CHECK(fake.text.starts_with("epoch 1/2  10 %  loss 0.5\n"));
  CHECK(fake.text.ends_with("accuracy 80 %\nepoch 2/2  50 %  loss 0.4\n"));
  for (char c : fake.text)
    CHECK((c == '\n' || static_cast<unsigned char>(c) >= 32));

  // A quick job says nothing but its own lines.
  Fake quick;
  ProgressBar bar(quick.screen(false));
  for (int i = 1; i <= 100; ++i)
    bar.update(i / 100.0, "epoch 1/1", "loss 0.5");
  CHECK(quick.writes == 0);
}

TEST_CASE("bar: the locale decides on blocks")
{
  const char* names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
  std::string saved[3];
  bool had[3];
  for (int i = 0; i < 3; ++i) {
    const char* value = getenv(names[i]);
    had[i] = value;
    saved[i] = value ? value : "";
    unsetenv(names[i]);
  }
  CHECK_FALSE(is_utf8_locale());
  setenv("LANG", "en_US.UTF-8", 1);
  CHECK(is_utf8_locale());
  setenv("LC_ALL", "C", 1);
  CHECK_FALSE(is_utf8_locale());
  setenv("LC_ALL", "C.utf8", 1);
  CHECK(is_utf8_locale());
  for (int i = 0; i < 3; ++i)
    had[i] ? setenv(names[i], saved[i].c_str(), 1) : unsetenv(names[i]);
}

TEST_CASE("numbers for people")
{
  CHECK(duration_text(0) == "0:00");
  CHECK(duration_text(59.6) == "1:00");
  CHECK(duration_text(725) == "12:05");
  CHECK(duration_text(3753) == "1:02:33");
  CHECK(duration_text(-1) == "-");
  CHECK(duration_text(0.0 / 0.0) == "-");
  CHECK(duration_text(1e300) == "-");
  CHECK(count_text(0) == "0");
  CHECK(count_text(999) == "999");
  CHECK(count_text(21800.4) == "21 800");
  CHECK(count_text(-1234567) == "-1 234 567");
  CHECK(count_text(1.0 / 0.0) == "-");
}
