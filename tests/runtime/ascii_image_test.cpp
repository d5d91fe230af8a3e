#include "runtime/ascii_image.h"

#include <doctest/doctest.h>

using namespace cnnc;

namespace {

// Left half black, right half white; the lowest quarter gray.
Tensor halves()
{
  Tensor t(DType::u8, {1, 8, 8});
  for (int i = 0; i < 64; ++i)
    t.set(i, i >= 48 ? 128 : i % 8 < 4 ? 0 : 255);
  return t;
}

} // namespace

TEST_CASE("a picture is drawn in shades, two pixels high for each character")
{
  CHECK(ascii_image(halves(), 8, false) == std::vector<std::string>{"    @@@@", "    @@@@", "    @@@@", "====++++"});
  CHECK(ascii_image(halves(), 8, true) == std::vector<std::string>{"    ████", "    ████", "    ████", "▒▒▒▒▒▒▒▒"});
  CHECK(ascii_image(halves(), 4, false) == std::vector<std::string>{" .%@", "::##"}); // a soft edge
  CHECK(ascii_image(Tensor(DType::u8, {1, 1, 1}), 1, true) == std::vector<std::string>{" "});
  CHECK(ascii_image(Tensor(DType::u8, {1, 1, 50}), 10, true).size() == 1);
}

TEST_CASE("pictures stand beside each other as far as the width goes, with captions")
{
  Picture a{halves(), {"trouser", "sure: 97 %"}}, b{halves(), {"bäg"}};
  std::string two = picture_rows({a, b}, 8, 18, false);
  CHECK(two == "    @@@@      @@@@\n    @@@@      @@@@\n    @@@@      @@@@\n====++++  ====++++\n"
               "trouser   bäg\nsure: 97\n");
  std::string stacked = picture_rows({a, b}, 8, 17, false);
  CHECK(stacked == "    @@@@\n    @@@@\n    @@@@\n====++++\ntrouser\nsure: 97\n\n"
                   "    @@@@\n    @@@@\n    @@@@\n====++++\nbäg\n");
  CHECK(picture_rows({}, 8, 80, true).empty());
  CHECK(picture_rows({a}, 8, 1, false).size() > 0);
}
