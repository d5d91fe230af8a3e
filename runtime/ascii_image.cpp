#include "runtime/ascii_image.h"

#include "ir/location.h"
#include "runtime/image.h"

#include <algorithm>
#include <string_view>

namespace cnnc {

namespace {

constexpr std::string_view blocks[] = {" ", "░", "▒", "▓", "█"};
constexpr std::string_view letters[] = {" ", ".", ":", "-", "=", "+", "*", "#", "%", "@"};
constexpr int64_t gap = 2;

// The beginning of a text that is one byte a character or UTF-8, filled up with spaces: exactly `columns` characters.
std::string fitted(std::string_view text, int64_t columns)
{
  std::string line;
  int64_t seen = 0;
  for (char c : text) {
    bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (starts && seen == columns)
      break;
    seen += starts;
    line += c;
  }
  return line.append(static_cast<size_t>(columns - seen), ' ');
}

} // namespace

std::vector<std::string> ascii_image(const Tensor& gray, int64_t columns, bool utf8)
{
  if (gray.dtype != DType::u8 || gray.dims.size() != 3 || gray.dims[0] != 1 || gray.size() == 0 || columns < 1)
    throw InternalError("ascii_image: u8 [1,H,W] is wanted");
  int64_t rows = std::max<int64_t>(1, (gray.dims[1] * columns + gray.dims[2]) / (2 * gray.dims[2]));
  Tensor small = resize(gray, rows, columns);
  int64_t shades = utf8 ? std::ssize(blocks) : std::ssize(letters);
  std::vector<std::string> lines(static_cast<size_t>(rows));
  const auto* pixel = small.data<uint8_t>();
  for (std::string& line : lines)
    for (int64_t x = 0; x < columns; ++x) {
      auto shade = static_cast<size_t>(*pixel++ * shades / 256);
      line += utf8 ? blocks[shade] : letters[shade];
    }
  return lines;
}

std::string picture_rows(const std::vector<Picture>& pictures, int64_t columns, int64_t width, bool utf8)
{
  auto across = static_cast<size_t>(std::max<int64_t>(1, (width + gap) / (columns + gap)));
  std::string text;
  for (size_t first = 0; first < pictures.size(); first += across) {
    size_t count = std::min(across, pictures.size() - first), height = 0;
    std::vector<std::vector<std::string>> lines(count);
    for (size_t i = 0; i < count; ++i) {
      lines[i] = ascii_image(pictures[first + i].gray, columns, utf8);
      for (const std::string& caption : pictures[first + i].caption)
        lines[i].push_back(fitted(caption, columns));
      height = std::max(height, lines[i].size());
    }
    if (first > 0)
      text += '\n';
    for (size_t y = 0; y < height; ++y) {
      std::string line;
      for (size_t i = 0; i < count; ++i) {
        if (i > 0)
          line.append(gap, ' ');
        line += y < lines[i].size() ? lines[i][y] : std::string(static_cast<size_t>(columns), ' ');
      }
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + '\n';
    }
  }
  return text;
}

} // namespace cnnc
